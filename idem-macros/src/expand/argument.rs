//! The arguments of the handler.

use std::iter;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Index, Pat, PatIdent, PatType, Type,
    spanned::Spanned,
    visit_mut::{self, VisitMut},
};

use super::local;
use crate::{handler::Handler, spec::Options};

/// One argument of the handler, on its way through the two halves of extraction.
pub(super) struct Argument<'a> {
    pub(super) ty: &'a Type,
    pub(super) var: Ident,
    marker: Ident,
    /// The marker of how it is copied for another run.
    repeats: Ident,
    index: Index,
    /// `ExtractsPart`, or `ExtractsLast` for the last one.
    extracts: TokenStream,
}

impl<'a> Argument<'a> {
    pub(super) fn all(handler: &'a Handler) -> Vec<Self> {
        let arguments = &handler.arguments;
        let last = arguments.len().wrapping_sub(1);
        let argument = |(i, argument): (usize, &'a PatType)| Self {
            ty: &argument.ty,
            var: format_ident!("arg{i}", span = local()),
            marker: format_ident!("__M{i}"),
            repeats: format_ident!("__R{i}"),
            index: Index::from(i),
            extracts: if i == last { quote!(ExtractsLast) } else { quote!(ExtractsPart) },
        };
        arguments.iter().enumerate().map(argument).collect()
    }

    /// The type parameters that the guarded function has for the argument.
    pub(super) fn markers(&self, options: &Options) -> impl Iterator<Item = &Ident> {
        iter::once(&self.marker).chain(options.retries.map(|_| &self.repeats))
    }

    /// Spanned from the type's first token to its last, so that the whole type is underlined.
    pub(super) fn bound(&self) -> TokenStream {
        let Self { ty, marker, extracts, .. } = self;
        let bound = quote_spanned!(ty.span()=> __S: ::idem::__private::#extracts<#ty, __D, #marker);
        let close = quote_spanned!(self.end()=> >);
        quote!(#bound #close)
    }

    /// What the handler needs of the argument if it may run again; spanned as [`Self::bound`].
    pub(super) fn repeatable(&self) -> TokenStream {
        let (span, through, repeats) = (self.ty.span(), self.through(), &self.repeats);
        let retries = quote_spanned!(span=> ::idem::__private::Retries);
        let bound =
            quote_spanned!(span=> #retries: ::idem::__private::Repeats<#through::Early, #repeats);
        let close = quote_spanned!(self.end()=> >);
        quote!(#bound #close)
    }

    fn end(&self) -> Span {
        let last = self.ty.to_token_stream().into_iter().last();
        last.map_or_else(|| self.ty.span(), |it| it.span())
    }

    fn through(&self) -> TokenStream {
        let Self { ty, marker, extracts, .. } = self;
        quote!(<__S as ::idem::__private::#extracts<#ty, __D, #marker>>)
    }

    pub(super) fn early_head(&self) -> TokenStream {
        self.early(&quote_spanned!(local()=> edge.head()))
    }

    pub(super) fn early_last(&self) -> TokenStream {
        self.early(&quote_spanned!(local()=> request))
    }

    fn early(&self, from: &TokenStream) -> TokenStream {
        let (var, through) = (&self.var, self.through());
        quote_spanned! {local()=>
            let #var = match #through::early(&state, #from).await {
                ::core::result::Result::Ok(value) => value,
                ::core::result::Result::Err(response) => return response,
            };
        }
    }

    pub(super) fn late(&self) -> TokenStream {
        let (var, index, through) = (&self.var, &self.index, self.through());
        quote_spanned!(local()=> let #var = #through::late(args.#index, &mut granted);)
    }

    /// The argument's pattern, over a reference.
    pub(super) fn view(&self, handler: &Handler) -> TokenStream {
        struct ByReference;
        impl VisitMut for ByReference {
            fn visit_pat_ident_mut(&mut self, pattern: &mut PatIdent) {
                pattern.by_ref = None;
                pattern.mutability = None;
                visit_mut::visit_pat_ident_mut(self, pattern);
            }
        }
        let Self { index, .. } = self;
        let mut pattern: Pat = (*handler.arguments[index.index as usize].pat).clone();
        ByReference.visit_pat_mut(&mut pattern);
        let through = self.through();
        quote_spanned! {local()=>
            #[allow(unused_variables, non_snake_case, reason = "the pattern is the user's")]
            let #pattern = #through::view(&args.#index);
        }
    }

    /// The argument's early half, for a handler that may run again.
    pub(super) fn repeat(&self) -> TokenStream {
        let (index, through, repeats) = (&self.index, self.through(), &self.repeats);
        let retries = quote!(::idem::__private::Retries);
        quote_spanned! {local()=>
            <#retries as ::idem::__private::Repeats<#through::Early, #repeats>>::copy(&args.#index)
        }
    }
}

/// Whether a constant of the probe is true for the type of one of the arguments.
pub(super) fn takes(arguments: &[Argument<'_>], constant: &str) -> TokenStream {
    let constant = Ident::new(constant, Span::call_site());
    let types = arguments.iter().map(|it| it.ty);
    quote!((false #(|| ::idem::__private::Probe::<#types>::#constant)*))
}

/// Fails to compile, with this message at this place, unless the condition holds.
pub(super) fn require(condition: &TokenStream, span: Span, message: &str) -> TokenStream {
    quote_spanned!(span=> const _: () = ::core::assert!(#condition, #message);)
}
