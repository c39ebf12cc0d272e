//! `#[axum::debug_handler]`, on either side of ours.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{ext::IdentExt, spanned::Spanned};

use super::argument::Argument;
use crate::{
    handler::{Handler, is_debug_handler, state_of_debug_handler},
    spec::Options,
};

/// Above ours it is gone before our macro runs, and calls the function that it saw. It leaves a
/// function behind of which the name is known: that hides what a glob imports.
pub(super) fn above(handler: &Handler) -> TokenStream {
    let name = &handler.sig.ident;
    let left_behind = format_ident!("__axum_macros_check_{}_future", name.unraw());
    let module = format_ident!("__idem_{}", name.unraw());
    let cfgs = handler.attrs.iter().filter(|it| it.path().is_ident("cfg"));
    let cfgs = quote!(#(#cfgs)*);
    let check = quote_spanned!(name.span()=> ::idem::__private::only_below(&#left_behind));
    quote! {
        #cfgs
        #[doc(hidden)]
        mod #module {
            #[allow(non_upper_case_globals, reason = "it has the name of a function")]
            pub(super) const #left_behind: ::idem::__private::NoDebugHandler =
                ::idem::__private::NoDebugHandler;
        }
        #cfgs
        #[allow(unused_imports, clippy::wildcard_imports, reason = "a function may hide it")]
        use #module::*;
        #cfgs
        const _: () = #check;
    }
}

/// Below ours it would refuse what is no axum extractor, an `Attempt` or a `Tx`. So it is left out,
/// and what it says of the state is checked by the bounds of the guarded function, if there is one.
pub(super) fn below(
    handler: &Handler,
    guarded: Option<(&[Argument<'_>], &Options)>,
) -> TokenStream {
    let cfgs = handler.attrs.iter().filter(|it| it.path().is_ident("cfg"));
    let cfgs = quote!(#(#cfgs)*);
    let below = handler.attrs.iter().filter(|it| is_debug_handler(it));
    let checks = below.map(|attr| {
        let (path, state) = (attr.path(), state_of_debug_handler(attr).ok().flatten());
        let routed = guarded.zip(state).map(|((arguments, options), state)| {
            let mut name = handler.sig.ident.clone();
            name.set_span(name.span().located_at(state.span()));
            let markers = arguments.iter().flat_map(|it| it.markers(options)).map(|_| quote!(_));
            quote_spanned!(state.span()=> let _ = #name::<#state, _, #(#markers),*>;)
        });
        quote! {
            #cfgs
            #[allow(deprecated, unused_imports, reason = "its import and its state count as used")]
            const _: () = {
                use #path as _;
                #routed
            };
        }
    });
    quote!(#(#checks)*)
}
