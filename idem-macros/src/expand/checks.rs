//! What only the compiler can tell.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;

use super::argument::{Argument, require, takes};
use crate::spec::{BoundOption, Only, Spec};

/// What comes with the claim where there can be none, options for other handlers, two transactions.
pub(super) fn about_types(spec: &Spec, arguments: &[Argument<'_>]) -> TokenStream {
    let in_expression = spec.mentioned.iter().map(|i| {
        let named = takes(&arguments[*i..=*i], "COMES_WITH_CLAIM");
        let span = spec.handler.arguments[*i].ty.span();
        require(
            &quote!(!#named),
            span,
            "an `Attempt` or a `Tx` exists only after the claim, so `scope`, `key`, \
             `fallback_key` and `fingerprint` cannot use it; name another argument",
        )
    });
    let optional = spec.options.without_attempt.iter().map(|(option, span)| {
        let taken = takes(arguments, "IS_ATTEMPT");
        let message = format!(
            "with `{option}` the handler can run without an attempt; take an `Option<Attempt>` \
             instead of an `Attempt`"
        );
        require(&quote!(!#taken), *span, &message)
    });
    let bound = spec.options.bound.iter().map(|it| about_option(it, arguments));
    let only_one = arguments.iter().enumerate().skip(1).map(|(i, second)| {
        let (first, this) = (takes(&arguments[..i], "IS_TX"), takes(&arguments[i..=i], "IS_TX"));
        let message = "a handler runs in one transaction; take one `Tx`";
        require(&quote!(!(#first && #this)), second.ty.span(), message)
    });
    let always = arguments.iter().map(|it| {
        let message = "a handler that takes a `Tx` always has one; take a `Tx` instead of an \
                       `Option<Tx>`";
        let taken = takes(std::slice::from_ref(it), "IS_OPTIONAL_TX");
        require(&quote!(!#taken), it.ty.span(), message)
    });
    let checks = in_expression.chain(optional).chain(bound).chain(only_one).chain(always);
    quote!(#(#checks)*)
}

fn about_option(option: &BoundOption, arguments: &[Argument<'_>]) -> TokenStream {
    let BoundOption { name, span, only } = option;
    let is_tx = takes(arguments, "IS_TX");
    match only {
        Only::WithoutTx(why) => {
            let message =
                format!("a handler that takes a `Tx` cannot have `{name}`: {why}; remove it");
            require(&quote!(!#is_tx), *span, &message)
        }
        Only::WithTx => {
            let message =
                format!("`{name}` is for handlers that take a `Tx`; take one, or remove it");
            require(&is_tx, *span, &message)
        }
        Only::WithSettings => {
            let takes_settings = takes(arguments, "TAKES_SETTINGS");
            let only =
                format!("`{name}` is for handlers that take a `Tx<Postgres>` or `Tx<MySql>`");
            let none = require(&is_tx, *span, &format!("{only}; take one, or remove it"));
            let other = require(
                &quote!(!#is_tx || #takes_settings),
                *span,
                &format!("{only}: other databases' transactions have no such setting; remove it"),
            );
            quote!(#none #other)
        }
    }
}
