//! The attribute's expressions → values.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Expr, Pat, spanned::Spanned, visit::Visit};

use super::local;
use crate::{
    expression::{peeled, single_name, tuple_parts},
    handler::{Handler, bindings},
    key::Key,
    spec::{Fingerprint, Scope},
};

pub(super) fn scope(scope: &Scope, handler: &Handler) -> TokenStream {
    match scope {
        Scope::Global => quote!(::idem::__private::ScopeValue::global()),
        Scope::Expression(expr) => {
            let value = scope_part(expr, handler, |_, part| part);
            quote_spanned!(expr.span()=> ::idem::__private::scope_of(#value))
        }
    }
}

/// A tuple's parts are checked one by one, so that an error names the part.
fn scope_part(
    expr: &Expr,
    handler: &Handler,
    checked: fn(&Expr, TokenStream) -> TokenStream,
) -> TokenStream {
    let expr = peeled(expr);
    match tuple_parts(expr) {
        Some(parts) => {
            let parts = parts.map(|it| scope_part(it, handler, checked));
            quote_spanned!(expr.span()=> &::idem::__private::ScopeTuple(&[#(#parts),*]))
        }
        None => checked(expr, reference(expr, handler)),
    }
}

pub(super) fn key(key: &Key, handler: &Handler) -> TokenStream {
    let sent = Ident::new("sent", local());
    let (expr, source) = match key {
        Key::Sent => return sent.to_token_stream(),
        Key::Derived(expr) => (expr, quote!(derived)),
        Key::Fallback(expr) => (expr, quote!(fallback)),
    };
    let value = scope_part(
        expr,
        handler,
        |expr, part| quote_spanned!(expr.span()=> ::idem::__private::key_part(#part)),
    );
    quote_spanned! {local()=>
        #sent.or_else(|| ::core::option::Option::Some(::idem::__private::Key::#source(#value)))
    }
}

pub(super) fn fingerprint(fingerprint: &Fingerprint, handler: &Handler) -> TokenStream {
    match fingerprint {
        Fingerprint::Body(_) => quote_spanned!(local()=> ::core::result::Result::Ok(print.body())),
        Fingerprint::Expression(expr) => {
            let value = fingerprint_part(expr, handler);
            let print = Ident::new("print", local());
            quote_spanned!(expr.span()=> #print.value(#value))
        }
    }
}

/// `(a.x, b)` → `&(&(a.x), &*b)`: nothing is moved out of the arguments.
fn fingerprint_part(expr: &Expr, handler: &Handler) -> TokenStream {
    let expr = peeled(expr);
    if let Some(parts) = tuple_parts(expr) {
        let parts = parts.map(|it| fingerprint_part(it, handler));
        quote_spanned!(expr.span()=> &(#(#parts,)*))
    } else {
        let value = reference(expr, handler);
        quote_spanned!(expr.span()=> ::idem::__private::printable(#value))
    }
}

/// A name is a reference already, and errors should name the type behind it.
fn reference(expr: &Expr, handler: &Handler) -> TokenStream {
    let is_reference = single_name(expr).is_some_and(|name| {
        let mut patterns = handler.arguments.iter().map(|it| &it.pat);
        let pattern = patterns.find(|it| bindings(it).contains(&name));
        pattern.is_some_and(|it| !dereferences(it))
    });
    if is_reference {
        quote_spanned!(expr.span()=> &*#expr)
    } else {
        quote_spanned!(expr.span()=> &(#expr))
    }
}

/// Whether a pattern like `&id` binds values behind references.
fn dereferences(pattern: &Pat) -> bool {
    struct Dereferences(bool);
    impl<'ast> Visit<'ast> for Dereferences {
        fn visit_pat_reference(&mut self, _: &'ast syn::PatReference) {
            self.0 = true;
        }
    }
    let mut found = Dereferences(false);
    found.visit_pat(pattern);
    found.0
}
