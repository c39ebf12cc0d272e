//! Spec → tokens.
//!
//! The handler's name becomes a function over the whole request, generic over the router's state,
//! with one bound per argument that is spanned at the argument's type. The state is `Self` in every
//! bound, so that the compiler names the very thing that is missing. The original moves inside of
//! `<name>_unguarded`, unchanged.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Attribute, Expr, FnArg, Index, Pat, ReturnType, Signature, Type, spanned::Spanned,
    visit_mut::VisitMut,
};

use crate::{
    expression::{peeled, tuple_parts},
    spec::{Fingerprint, Options, Scope, Spec},
};

pub(crate) fn expand(spec: &Spec) -> TokenStream {
    let private = quote!(::idem::__private);
    let (name, vis) = (&spec.handler.sig.ident, &spec.handler.vis);
    let unguarded = format_ident!("{name}_unguarded");
    let arguments = Argument::all(spec);
    let vars: Vec<_> = arguments.iter().map(|it| &it.var).collect();
    let markers = arguments.iter().map(|it| &it.marker);
    let bounds = arguments.iter().map(Argument::bound);
    let lates = arguments.iter().map(Argument::late);
    let views = spec.mentioned.iter().map(|i| arguments[*i].view(spec));
    let (last, heads) = arguments.split_last().map_or_else(
        || (quote!(::core::mem::drop(request);), Vec::new()),
        |(last, heads)| (last.early_last(), heads.iter().map(Argument::early_head).collect()),
    );
    let [edge, args, print, answer] = ["edge", "args", "print", "answer"].map(local);
    let answer_at_return = Ident::new("answer", Span::mixed_site().located_at(return_span(spec)));
    let endpoint = endpoint(spec);
    let checks = checks(spec, &arguments);
    let scope = scope(&spec.scope);
    let fingerprint = fingerprint(&spec.fingerprint, &print);
    let original = original(spec, &unguarded, &arguments);
    let outer = spec.handler.attrs.iter().filter(|it| on_guarded(it));
    let guarded = Ident::new("guarded", Span::mixed_site().located_at(name.span()));
    let respond = quote_spanned!(return_span(spec)=> #private::respond(#answer_at_return));
    let head = quote_spanned! {name.span()=>
        #vis fn #name<__S, __D, #(#markers),*>(#guarded: #private::Guarded<__S>)
            -> impl ::core::future::Future<Output = #private::Response> + ::core::marker::Send
    };
    quote! {
        #original
        #(#outer)*
        #head
        where
            __D: 'static,
            __S: #private::HasEngine<__D> + ::core::marker::Send + ::core::marker::Sync + 'static,
            #(#bounds,)*
        {
            static ENDPOINT: #private::Endpoint = #endpoint;
            #checks
            async move {
                let #private::Guarded { request, state } = #guarded;
                let engine = #private::HasEngine::<__D>::engine(&state);
                let mut #edge = match #private::Edge::begin(engine, &ENDPOINT, request) {
                    ::core::result::Result::Ok(edge) => edge,
                    ::core::result::Result::Err(response) => return response,
                };
                #(#heads)*
                let request = match #edge.request().await {
                    ::core::result::Result::Ok(request) => request,
                    ::core::result::Result::Err(response) => return response,
                };
                #last
                let #args = (#(#vars,)*);
                let asked = #edge.ask(|#print| {
                    #(#views)*
                    (#scope, #fingerprint)
                });
                #edge.answer(asked, move |attempt| async move {
                    #(#lates)*
                    let #answer = #unguarded(#(#vars),*).await;
                    #respond
                }).await
            }
        }
    }
}

/// Generated locals cannot be seen from the user's expressions.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

fn return_span(spec: &Spec) -> Span {
    match &spec.handler.sig.output {
        ReturnType::Default => spec.handler.sig.ident.span(),
        ReturnType::Type(_, ty) => ty.span(),
    }
}

/// One argument of the handler, on its way through the two halves of extraction.
struct Argument<'a> {
    ty: &'a Type,
    var: Ident,
    marker: Ident,
    index: Index,
    /// `ExtractsPart`, or `ExtractsLast` for the last one.
    extracts: TokenStream,
}

impl<'a> Argument<'a> {
    fn all(spec: &'a Spec) -> Vec<Self> {
        let arguments = &spec.handler.arguments;
        let last = arguments.len().wrapping_sub(1);
        let argument = |(i, argument): (usize, &'a syn::PatType)| Self {
            ty: &argument.ty,
            var: local(&format!("arg{i}")),
            marker: format_ident!("__M{i}"),
            index: Index::from(i),
            extracts: if i == last { quote!(ExtractsLast) } else { quote!(ExtractsPart) },
        };
        arguments.iter().enumerate().map(argument).collect()
    }

    fn bound(&self) -> TokenStream {
        let Self { ty, marker, extracts, .. } = self;
        quote_spanned!(ty.span()=> __S: ::idem::__private::#extracts<#ty, #marker>)
    }

    fn through(&self) -> TokenStream {
        let Self { ty, marker, extracts, .. } = self;
        quote!(<__S as ::idem::__private::#extracts<#ty, #marker>>)
    }

    fn early_head(&self) -> TokenStream {
        let edge = local("edge");
        self.early(&quote!(#edge.head()))
    }

    fn early_last(&self) -> TokenStream {
        self.early(&quote!(request))
    }

    fn early(&self, from: &TokenStream) -> TokenStream {
        let (var, through) = (&self.var, self.through());
        quote! {
            let #var = match #through::early(&state, #from).await {
                ::core::result::Result::Ok(value) => value,
                ::core::result::Result::Err(response) => return response,
            };
        }
    }

    fn late(&self) -> TokenStream {
        let (var, index, through, args) = (&self.var, &self.index, self.through(), local("args"));
        quote!(let #var = #through::late(#args.#index, &attempt);)
    }

    /// The argument's pattern, over a reference.
    fn view(&self, spec: &Spec) -> TokenStream {
        struct ByReference;
        impl VisitMut for ByReference {
            fn visit_pat_ident_mut(&mut self, pattern: &mut syn::PatIdent) {
                pattern.by_ref = None;
                pattern.mutability = None;
                syn::visit_mut::visit_pat_ident_mut(self, pattern);
            }
        }
        let Self { index, .. } = self;
        let mut pattern: Pat = (*spec.handler.arguments[index.index as usize].pat).clone();
        ByReference.visit_pat_mut(&mut pattern);
        let (through, args) = (self.through(), local("args"));
        quote! {
            #[allow(unused_variables)]
            let #pattern = #through::view(&#args.#index);
        }
    }

    /// Fails to compile, with this message at this place, if a constant of the probe is true for
    /// the argument's type.
    fn refuse_if(&self, constant: &str, span: Span, message: &str) -> TokenStream {
        let (ty, constant) = (self.ty, Ident::new(constant, span));
        quote_spanned! {span=>
            const _: () = ::core::assert!(!::idem::__private::Probe::<#ty>::#constant, #message);
        }
    }
}

/// The handler as it was written, under its own name, inside of a function that tests can call.
fn original(spec: &Spec, unguarded: &Ident, arguments: &[Argument<'_>]) -> TokenStream {
    let (vis, body, output) = (&spec.handler.vis, &spec.handler.body, &spec.handler.sig.output);
    let sig = quieted(spec);
    let name = &sig.ident;
    let inner = spec.handler.attrs.iter().filter(|it| on_original(it));
    let cfgs = spec.handler.attrs.iter().filter(|it| it.path().is_ident("cfg"));
    let (types, vars): (Vec<_>, Vec<_>) = arguments.iter().map(|it| (it.ty, &it.var)).unzip();
    quote! {
        #(#cfgs)*
        #[doc(hidden)]
        #[allow(clippy::too_many_arguments)]
        #vis async fn #unguarded(#(#vars: #types),*) #output {
            #(#inner)*
            #sig #body
            #name(#(#vars),*).await
        }
    }
}

/// An argument may be there only for the scope's sake.
fn quieted(spec: &Spec) -> Signature {
    let mut sig = spec.handler.sig.clone();
    for (i, input) in sig.inputs.iter_mut().enumerate() {
        if let (FnArg::Typed(argument), true) = (input, spec.mentioned.contains(&i)) {
            argument.attrs.push(syn::parse_quote!(#[allow(unused_variables)]));
        }
    }
    sig
}

/// Attributes about the item as others see it.
fn on_guarded(attr: &Attribute) -> bool {
    ["doc", "cfg", "deprecated"].iter().any(|it| attr.path().is_ident(it))
}

/// Everything else is about the function that was written.
fn on_original(attr: &Attribute) -> bool {
    !on_guarded(attr)
}

fn endpoint(spec: &Spec) -> TokenStream {
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
        keep,
        max_body,
        max_response,
        without_attempt: _,
    } = &spec.options;
    let set = |name: &str, value: Option<TokenStream>| {
        let name = Ident::new(name, Span::call_site());
        value.map(|value| quote!(.#name(#value)))
    };
    let plain = |value: &dyn quote::ToTokens| quote!(#value);
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
    let setters = [
        set("ttl", ttl.as_ref().map(duration)),
        set("failed_ttl", failed_ttl.as_ref().map(duration)),
        set("lease", lease.as_ref().map(duration)),
        set("operation", operation.as_ref().map(|it| plain(it))),
        set("header", header.as_ref().map(|it| plain(it))),
        set("required", required.as_ref().map(|it| plain(it))),
        set("query", query.as_ref().map(|it| plain(it))),
        set("key_format", key_format.map(|it| variant("KeyFormat", it))),
        set("recover", recover.map(|it| variant("Recover", it))),
        set("on_store_error", on_store_error.map(|it| variant("OnStoreError", it))),
        set("keep", keep),
        set("max_body", max_body.as_ref().map(|it| plain(it))),
        set("max_response", max_response.as_ref().map(|it| plain(it))),
        set("fingerprint", Some(variant("BodyFingerprint", body))),
    ];
    let setters = setters.iter().flatten();
    quote!(#private::Endpoint::new() #(#setters)*)
}

/// What only types can tell.
fn checks(spec: &Spec, arguments: &[Argument<'_>]) -> TokenStream {
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
        #[allow(unused_imports)]
        use ::idem::__private::NoAttempt as _;
        #checks
    }
}

fn scope(scope: &Scope) -> TokenStream {
    match scope {
        Scope::Global => quote!(::idem::__private::ScopeValue::global()),
        Scope::Expression(expr) => {
            let value = scope_part(expr);
            let of = quote_spanned!(expr.span()=> ::idem::__private::ScopeValue::of);
            quote!(#of(#value))
        }
    }
}

/// A tuple's parts are checked one by one, so that an error names the part.
fn scope_part(expr: &Expr) -> TokenStream {
    let expr = peeled(expr);
    match tuple_parts(expr) {
        Some(parts) => {
            let parts = parts.map(scope_part);
            quote_spanned!(expr.span()=> &::idem::__private::ScopeTuple(&[#(#parts),*]))
        }
        None => quote_spanned!(expr.span()=> &(#expr)),
    }
}

fn fingerprint(fingerprint: &Fingerprint, print: &Ident) -> TokenStream {
    match fingerprint {
        Fingerprint::Body(_) => quote!(::core::result::Result::Ok(#print.body())),
        Fingerprint::Expression(expr) => {
            let value = by_reference(expr);
            quote_spanned!(expr.span()=> #print.value(#value))
        }
    }
}

/// `(a.x, b)` → `&(&(a.x), &(b))`: nothing is moved out of the arguments.
fn by_reference(expr: &Expr) -> TokenStream {
    let expr = peeled(expr);
    match tuple_parts(expr) {
        Some(parts) => {
            let parts = parts.map(by_reference);
            quote_spanned!(expr.span()=> &(#(#parts,)*))
        }
        None => quote_spanned!(expr.span()=> &(#expr)),
    }
}
