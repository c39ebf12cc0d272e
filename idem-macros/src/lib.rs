//! The macros of [Idem](https://docs.rs/idem-rs). Use them through the facade crate `idem-rs`, whose
//! documentation describes them.

mod args;
mod derive_scope;
mod errors;
mod expand;
mod expression;
mod handler;
mod key;
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
    let mut errors = errors::Errors::default();
    let args = args::Args::parse(options.into(), &mut errors);
    let handler = handler::Handler::parse(item.clone(), &mut errors);
    // The function stays in place, so that an editor keeps completing in it.
    let fallback = handler.as_ref().map_or(item, expand::fallback);
    match spec::Spec::check(&args, handler, errors) {
        Ok(spec) => expand::expand(&spec).into(),
        Err(error) => {
            let error = error.to_compile_error();
            quote!(#error #fallback).into()
        }
    }
}

/// Makes a type a scope.
///
/// See the documentation of the facade crate's `Scope`.
#[proc_macro_derive(Scope, attributes(scope))]
pub fn derive_scope(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    derive_scope::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
