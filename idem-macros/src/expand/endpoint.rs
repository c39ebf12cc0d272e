//! The options → a `const` expression of an `Endpoint`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};

use super::argument::{Argument, takes};
use crate::{
    key::Key,
    spec::{Fingerprint, Options, Spec},
};

pub(super) fn endpoint(spec: &Spec, arguments: &[Argument<'_>]) -> TokenStream {
    let private = quote!(::idem::__private);
    let Options {
        ttl,
        failed_ttl,
        lease,
        operation,
        header,
        required,
        query,
        key_format,
        recover,
        on_store_error,
        on_conflict,
        wait,
        keep,
        max_body,
        max_response,
        isolation,
        lock_timeout,
        statement_timeout,
        idle_timeout,
        commit_on_error,
        retries,
        bound: _,
        without_attempt: _,
    } = &spec.options;
    let set = |name: &str, value: Option<TokenStream>| {
        let name = Ident::new(name, Span::call_site());
        value.map(|value| quote!(.#name(#value)))
    };
    let plain = |value: &dyn ToTokens| quote!(#value);
    let duration = |it: &std::time::Duration| {
        let (seconds, nanos) = (it.as_secs(), it.subsec_nanos());
        quote!(::core::time::Duration::new(#seconds, #nanos))
    };
    let variant = |of: &str, name: &str| {
        let (of, name) = (Ident::new(of, Span::call_site()), Ident::new(name, Span::call_site()));
        quote!(#private::#of::#name)
    };
    let keep = keep.as_ref().map(|steps| {
        let steps = steps.iter().map(|it| {
            let (first, last) = (it.first, it.last);
            if it.is_final { quote!(.with(#first, #last)) } else { quote!(.without(#first, #last)) }
        });
        quote!(#private::Keep::NONE #(#steps)*)
    });
    let body = match &spec.fingerprint {
        Fingerprint::Body(kind) => kind,
        Fingerprint::Expression(_) => "None",
    };
    let keys = match &spec.key {
        Key::Sent => None,
        Key::Derived(_) => Some("Derived"),
        Key::Fallback(_) => Some("SentOrFallback"),
    };
    let setters = [
        set("ttl", ttl.as_ref().map(duration)),
        set("failed_ttl", failed_ttl.as_ref().map(duration)),
        set("lease", lease.as_ref().map(duration)),
        set("operation", operation.as_ref().map(|it| plain(it))),
        set("keys", keys.map(|it| variant("KeySource", it))),
        set("header", header.as_ref().map(|it| plain(it))),
        set("required", required.as_ref().map(|it| plain(it))),
        set("query", query.as_ref().map(|it| plain(it))),
        set("key_format", key_format.map(|it| variant("KeyFormat", it))),
        set("recover", recover.map(|it| variant("Recover", it))),
        set("on_store_error", on_store_error.map(|it| variant("OnStoreError", it))),
        set("on_conflict", on_conflict.map(|it| variant("OnConflict", it))),
        set("wait", wait.as_ref().map(duration)),
        set("keep", keep),
        set("max_body", max_body.as_ref().map(|it| plain(it))),
        set("max_response", max_response.as_ref().map(|it| plain(it))),
        set("isolation", isolation.map(|it| variant("Isolation", it))),
        set("lock_timeout", lock_timeout.as_ref().map(duration)),
        set("statement_timeout", statement_timeout.as_ref().map(duration)),
        set("idle_timeout", idle_timeout.as_ref().map(duration)),
        set("commit_on_error", commit_on_error.as_ref().map(|it| plain(it))),
        set("retries", retries.as_ref().map(|it| plain(it))),
        set("transactional", Some(takes(arguments, "IS_TX"))),
        set("fingerprint", Some(variant("BodyFingerprint", body))),
    ];
    let setters = setters.iter().flatten();
    quote!(#private::Endpoint::new() #(#setters)*)
}
