//! What only the compiler can tell.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{ext::IdentExt, spanned::Spanned};

use super::argument::Argument;
use crate::{handler::Handler, spec::Spec};

/// An `Attempt` where there can be none.
pub(super) fn about_types(spec: &Spec, arguments: &[Argument<'_>]) -> TokenStream {
    let in_expression = spec.mentioned.iter().map(|i| {
        let span = spec.handler.arguments[*i].ty.span();
        arguments[*i].refuse_if(
            "COMES_WITH_CLAIM",
            span,
            "an `Attempt` exists only after the claim, so `scope` and `fingerprint` cannot use it; \
             name another argument",
        )
    });
    let optional = spec.options.without_attempt.iter().flat_map(|(option, span)| {
        let message = format!(
            "with `{option}` the handler can run without an attempt; take an `Option<Attempt>` \
             instead of an `Attempt`"
        );
        arguments.iter().map(move |it| it.refuse_if("IS_ATTEMPT", *span, &message))
    });
    let checks: TokenStream = in_expression.chain(optional).collect();
    if checks.is_empty() {
        return checks;
    }
    quote! {
        #[allow(unused_imports, reason = "an inherent constant may hide it")]
        use ::idem::__private::NoAttempt as _;
        #checks
    }
}

/// `#[axum::debug_handler]` above ours is gone before our macro runs, and calls the function that it
/// saw. It leaves a function behind of which the name is known: that hides what a glob imports.
pub(super) fn about_debug_handler(handler: &Handler) -> TokenStream {
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
