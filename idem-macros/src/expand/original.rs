//! The handler as it was written.

use std::collections::BTreeSet;

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Attribute, FnArg, Meta, Signature, parse_quote};

use super::{argument::Argument, debug_handler};
use crate::handler::{Handler, is_debug_handler};

/// The name under which tests call the handler.
pub(super) fn unguarded(handler: &Handler) -> Ident {
    format_ident!("{}_unguarded", handler.sig.ident)
}

/// The handler as it was written, under its own name, inside of a function that tests can call.
pub(super) fn original(
    handler: &Handler,
    mentioned: &BTreeSet<usize>,
    quiet: &TokenStream,
) -> TokenStream {
    let (vis, body, output) = (&handler.vis, &handler.body, &handler.sig.output);
    let unguarded = unguarded(handler);
    let sig = quieted(handler, mentioned);
    let name = &sig.ident;
    let outer = handler.attrs.iter().filter_map(on_unguarded);
    let inner = handler.attrs.iter().filter(|it| on_original(it));
    let arguments = Argument::all(handler);
    let (types, vars): (Vec<_>, Vec<_>) = arguments.iter().map(|it| (it.ty, &it.var)).unzip();
    quote! {
        #(#outer)*
        #[doc(hidden)]
        #[allow(clippy::too_many_arguments, reason = "a handler may take 16")]
        #vis async fn #unguarded(#(#vars: #types),*) #output {
            #quiet
            #[allow(clippy::unused_async, reason = "a handler is async")]
            #(#inner)*
            #sig #body
            #name(#(#vars),*).await
        }
    }
}

/// An argument may be there only for the scope's sake.
fn quieted(handler: &Handler, mentioned: &BTreeSet<usize>) -> Signature {
    let mut sig = handler.sig.clone();
    for (i, input) in sig.inputs.iter_mut().enumerate() {
        if let (FnArg::Typed(argument), true) = (input, mentioned.contains(&i)) {
            argument
                .attrs
                .push(parse_quote!(#[allow(unused_variables, reason = "the scope uses it")]));
        }
    }
    sig
}

/// What stands in for a handler whose attribute has errors, so that they are reported alone: the
/// function stays in place for the editor, and its name stays routable.
pub(crate) fn fallback(handler: &Handler) -> TokenStream {
    let quiet = quote!(#[allow(unused, reason = "the attribute has errors")]);
    let Handler { attrs, vis, sig, body, .. } = handler;
    let debug_handler_below = debug_handler::below(handler, None);
    if !handler.is_sound {
        let sig = Signature { constness: None, ..sig.clone() };
        let attrs = attrs.iter().filter(|it| !is_debug_handler(it));
        return quote!(#debug_handler_below #quiet #(#attrs)* #vis #sig #body);
    }
    let (original, name) = (original(handler, &BTreeSet::new(), &quiet), &sig.ident);
    let cfgs = attrs.iter().filter(|it| it.path().is_ident("cfg"));
    quote! {
        #debug_handler_below
        #quiet
        #original
        #(#cfgs)*
        #quiet
        #[doc(hidden)]
        #vis fn #name<__S: ::core::marker::Send + 'static>(_: ::idem::__private::Guarded<__S>)
            -> impl ::core::future::Future<Output = ::idem::__private::Response> + ::core::marker::Send
        {
            async { ::core::unreachable!() }
        }
    }
}

/// Attributes about the item as others see it; what its author allows, he allows us too.
pub(super) fn on_guarded(attr: &Attribute) -> Option<Attribute> {
    let about_item = ["doc", "deprecated"].iter().any(|it| attr.path().is_ident(it));
    if about_item { Some(attr.clone()) } else { on_unguarded(attr) }
}

fn on_unguarded(attr: &Attribute) -> Option<Attribute> {
    let mut attr = attr.clone();
    if attr.path().is_ident("expect")
        && let Meta::List(list) = &mut attr.meta
    {
        list.path = parse_quote!(allow);
    }
    ["cfg", "allow"].iter().any(|it| attr.path().is_ident(it)).then_some(attr)
}

/// Everything else is about the function that was written.
fn on_original(attr: &Attribute) -> bool {
    let about_item = ["doc", "deprecated", "cfg"].iter().any(|it| attr.path().is_ident(it));
    !about_item && !is_debug_handler(attr)
}
