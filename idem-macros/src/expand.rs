//! Spec → tokens.
//!
//! The handler's name becomes a function over the whole request, generic over the router's state,
//! with one bound per argument that is spanned at the argument's type. The state is `Self` in every
//! bound, so that the compiler names the very thing that is missing. The original moves inside of
//! `<name>_unguarded`, unchanged.

mod argument;
mod checks;
mod debug_handler;
mod endpoint;
mod original;
mod values;

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::{ReturnType, spanned::Spanned};

pub(crate) use self::original::fallback;
use self::{
    argument::Argument,
    checks::about_types,
    endpoint::endpoint,
    original::{on_guarded, original, unguarded},
    values::{fingerprint, key, scope},
};
use crate::spec::Spec;

pub(crate) fn expand(spec: &Spec) -> TokenStream {
    let handler = &spec.handler;
    let arguments = Argument::all(handler);
    let original = original(handler, &spec.mentioned, &TokenStream::new());
    let debug_handler_above = debug_handler::above(handler);
    let debug_handler_below = debug_handler::below(handler, Some((&arguments, &spec.options)));
    let outer = handler.attrs.iter().filter_map(on_guarded);
    let head = head(spec, &arguments);
    let endpoint = endpoint(spec, &arguments);
    let about_types = about_types(spec, &arguments);
    let vars = arguments.iter().map(|it| &it.var);
    let (last, heads) = arguments.split_last().map_or_else(
        || (quote_spanned!(local()=> ::core::mem::drop(request);), Vec::new()),
        |(last, heads)| (last.early_last(), heads.iter().map(Argument::early_head).collect()),
    );
    let views = spec.mentioned.iter().map(|i| arguments[*i].view(handler));
    let scope = scope(&spec.scope, handler);
    let key = key(&spec.key, handler);
    let fingerprint = fingerprint(&spec.fingerprint, handler);
    let answer = answer(spec, &arguments);
    quote_spanned! {local()=>
        #original
        #debug_handler_above
        #debug_handler_below
        #(#outer)*
        #head {
            #[allow(unused_imports, reason = "an inherent constant may hide it")]
            use ::idem::__private::NothingSpecial as _;
            static __IDEM_ENDPOINT: ::idem::__private::Endpoint = #endpoint;
            #about_types
            async move {
                let ::idem::__private::Guarded { request, state } = guarded;
                let engine = ::idem::__private::HasEngine::<__D>::engine(&state);
                let begun = ::idem::__private::Edge::begin(engine, &__IDEM_ENDPOINT, request);
                let mut edge = match begun {
                    ::core::result::Result::Ok(edge) => edge,
                    ::core::result::Result::Err(response) => return response,
                };
                #(#heads)*
                let request = match edge.request().await {
                    ::core::result::Result::Ok(request) => request,
                    ::core::result::Result::Err(response) => return response,
                };
                #last
                let args = (#(#vars,)*);
                let asked = edge.ask(|print, sent| {
                    #(#views)*
                    (#scope, #key, #fingerprint)
                });
                #answer
            }
        }
    }
}

/// The guarded function without its body.
fn head(spec: &Spec, arguments: &[Argument<'_>]) -> TokenStream {
    let handler = &spec.handler;
    let (name, vis) = (&handler.sig.ident, &handler.vis);
    let guarded = Ident::new("guarded", local().located_at(name.span()));
    let markers = arguments.iter().flat_map(|it| it.markers(&spec.options));
    let bounds = arguments.iter().map(Argument::bound);
    let repeatable = spec.options.retries.map(|_| arguments.iter().map(Argument::repeatable));
    let repeatable = repeatable.into_iter().flatten();
    quote_spanned! {name.span()=>
        #vis fn #name<__S, __D, #(#markers),*>(#guarded: ::idem::__private::Guarded<__S>)
            -> impl ::core::future::Future<Output = ::idem::__private::Response>
                + ::core::marker::Send
        where
            __D: 'static,
            __S: ::idem::__private::HasEngine<__D>,
            __S: ::core::marker::Send + ::core::marker::Sync + 'static,
            #(#bounds,)*
            #(#repeatable,)*
    }
}

/// Runs the handler; at its name, so that a future that is not `Send` is reported there.
fn answer(spec: &Spec, arguments: &[Argument<'_>]) -> TokenStream {
    let handler = &spec.handler;
    let unguarded = unguarded(handler);
    let lates = arguments.iter().map(Argument::late);
    let vars = arguments.iter().map(|it| &it.var);
    let at_return = match &handler.sig.output {
        ReturnType::Default => handler.sig.ident.span(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    let returned = Ident::new("__idem_returned", at_return);
    let conflict = Ident::new("conflict", local());
    let answered = quote_spanned!(at_return=> ::idem::__private::handled(&__IDEM_ENDPOINT, #returned, #conflict));
    let at_name = local().located_at(handler.sig.ident.span());
    let (keep, next) = if spec.options.retries.is_some() {
        let copies = arguments.iter().map(Argument::repeat);
        (TokenStream::new(), quote_spanned!(at_name=> (#(#copies,)*)))
    } else {
        let keep = quote_spanned!(at_name=> let mut args = ::idem::__private::Once::new(args););
        (keep, quote_spanned!(at_name=> args.take()))
    };
    quote_spanned! {at_name=>
        #keep
        edge.answer(asked, move |mut granted| {
            let args = #next;
            async move {
                #(#lates)*
                let #returned = #unguarded(#(#vars),*).await;
                let #conflict = {
                    #[allow(unused_imports, reason = "only one of them is found")]
                    use ::idem::__private::{SeesConflict as _, SeesNothing as _};
                    (&&::idem::__private::Returned(&#returned)).is_conflict()
                };
                #answered
            }
        }).await
    }
}

/// Generated locals cannot be seen from the user's expressions.
fn local() -> Span {
    Span::mixed_site()
}
