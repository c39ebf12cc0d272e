//! The macros of [Idem](https://docs.rs/idem-rs). Use them through the facade crate `idem-rs`, whose
//! documentation describes them.

mod args;
mod derive_scope;
mod errors;
mod expand;
mod expression;
mod handler;
mod spec;
mod value;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as TokenStream2;
use quote::quote;
use syn::{DeriveInput, parse_macro_input};

/// Makes an axum handler safe to retry.
///
/// See the documentation of the facade crate for its options.
#[proc_macro_attribute]
pub fn idempotent(options: TokenStream, item: TokenStream) -> TokenStream {
    let item = TokenStream2::from(item);
    match try_expand(options.into(), item.clone()) {
        Ok(tokens) => tokens.into(),
        // The function stays in place, so that an editor keeps completing in it.
        Err(error) => {
            let error = error.to_compile_error();
            quote!(#error #item).into()
        }
    }
}

fn try_expand(options: TokenStream2, item: TokenStream2) -> syn::Result<TokenStream2> {
    let mut errors = errors::Errors::default();
    let args = args::Args::parse(options, &mut errors);
    let handler = handler::Handler::parse(item, &mut errors);
    let spec = spec::Spec::check(&args, handler, errors)?;
    Ok(expand::expand(&spec))
}

/// Makes a type a scope.
///
/// See the documentation of the facade crate's `Scope`.
#[proc_macro_derive(Scope, attributes(scope))]
pub fn derive_scope(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    derive_scope::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
