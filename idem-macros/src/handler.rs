//! Tokens → [`Handler`]: the function below the attribute, if a guarded handler can be made of it.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{
    Attribute, Error, FnArg, Ident, Lifetime, Meta, Pat, PatType, Path, Result, Safety, Signature,
    Token, Type, TypeFnPtr, TypeReference, Visibility,
    parse::{ParseStream, Parser},
    visit::Visit,
};

use crate::errors::Errors;

/// As many as axum's own handlers may have.
const MAX_ARGUMENTS: usize = 16;

/// A function whose body stays tokens, so that an editor completes in a half-typed one.
pub(crate) struct Handler {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: TokenStream,
    pub(crate) arguments: Vec<PatType>,
    /// Whether nothing is wrong with the function.
    pub(crate) is_sound: bool,
}

impl Handler {
    pub(crate) fn parse(item: TokenStream, errors: &mut Errors) -> Option<Self> {
        let handler = errors.take(
            (|input: ParseStream<'_>| {
                Ok(Self {
                    attrs: input.call(Attribute::parse_outer)?,
                    vis: input.parse()?,
                    sig: input.parse().map_err(|error| {
                        Error::new(error.span(), "`#[idempotent]` belongs above an `async fn`")
                    })?,
                    body: input.parse()?,
                    arguments: Vec::new(),
                    is_sound: false,
                })
            })
            .parse2(item),
        )?;
        Some(handler.checked(errors))
    }

    fn checked(mut self, all_errors: &mut Errors) -> Self {
        // What is missing is added, so that nothing else is said of a function that is routed.
        self.sig.asyncness.get_or_insert_with(|| {
            all_errors.push(Error::new_spanned(
                self.sig.fn_token,
                "an idempotent handler must be async; write `async fn`",
            ));
            syn::token::Async(self.sig.fn_token.span)
        });
        let mut own_errors = Errors::default();
        let errors = &mut own_errors;
        self.check_signature(errors);
        self.check_attributes(errors);
        for input in &self.sig.inputs {
            match input {
                FnArg::Receiver(receiver) => errors.push(Error::new_spanned(
                    receiver,
                    "an idempotent handler is a free function; take what `self` holds from the \
                     state, by an argument `State(…): State<…>`",
                )),
                FnArg::Typed(argument) => {
                    check_type(&argument.ty, errors);
                    self.arguments.push(argument.clone());
                }
            }
        }
        if let Some(one_too_many) = self.arguments.get(MAX_ARGUMENTS) {
            errors.push(Error::new_spanned(
                one_too_many,
                format!(
                    "a handler takes at most {MAX_ARGUMENTS} arguments; put several extractors \
                     into a tuple or a struct with `#[derive(FromRequestParts)]`"
                ),
            ));
        }
        self.is_sound = own_errors.is_empty();
        all_errors.append(own_errors);
        self
    }

    fn check_signature(&self, errors: &mut Errors) {
        let sig = &self.sig;
        if let Some(constness) = &sig.constness {
            errors.push(Error::new_spanned(constness, "a handler cannot be `const`; remove it"));
        }
        if !matches!(sig.safety, Safety::Default) {
            errors.push(Error::new_spanned(&sig.safety, "a handler cannot be `unsafe`; remove it"));
        }
        if let Some(abi) = &sig.abi {
            errors.push(Error::new_spanned(abi, "a handler cannot be `extern`; remove it"));
        }
        if let Some(variadic) = &sig.variadic {
            errors.push(Error::new_spanned(variadic, "a handler has a fixed number of arguments"));
        }
        let generics = &sig.generics;
        if !generics.params.is_empty() || generics.where_clause.is_some() {
            let tokens = if generics.params.is_empty() {
                generics.where_clause.to_token_stream()
            } else {
                generics.params.to_token_stream()
            };
            errors.push(Error::new_spanned(
                tokens,
                "an idempotent handler cannot be generic; write it for the concrete types, and let \
                 it call a generic function",
            ));
        }
    }

    fn check_attributes(&self, errors: &mut Errors) {
        for attr in &self.attrs {
            if is(attr.path(), &["utoipa", "path"]) {
                errors.push(Error::new_spanned(
                    attr,
                    "`#[utoipa::path]` documents the arguments that clients see: put it above \
                     `#[idempotent]`",
                ));
            }
            if is_debug_handler(attr)
                && let Err(error) = state_of_debug_handler(attr)
            {
                let message = "below `#[idempotent]` it can say which state the router has; write \
                               `#[axum::debug_handler(state = AppState)]`";
                errors.push(Error::new(error.span(), message));
            }
            if is(attr.path(), &["idempotent"]) || is(attr.path(), &["idem", "idempotent"]) {
                errors.push(Error::new_spanned(
                    attr,
                    "the handler is already idempotent; remove one",
                ));
            }
        }
    }
}

fn is(path: &Path, segments: &[&str]) -> bool {
    path.segments.len() == segments.len()
        && path.segments.iter().zip(segments).all(|(segment, name)| segment.ident == name)
}

/// Whether it is axum's check of handlers.
pub(crate) fn is_debug_handler(attr: &Attribute) -> bool {
    attr.path().segments.last().is_some_and(|it| it.ident == "debug_handler")
}

/// The state that `#[debug_handler(state = AppState)]` names, if it does.
pub(crate) fn state_of_debug_handler(attr: &Attribute) -> Result<Option<Type>> {
    if let Meta::Path(_) = attr.meta {
        return Ok(None);
    }
    attr.parse_args_with(|input: ParseStream<'_>| {
        let option: Ident = input.parse()?;
        if option != "state" {
            return Err(Error::new(option.span(), "another option"));
        }
        input.parse::<Token![=]>()?;
        let state = input.parse()?;
        input.parse::<Option<Token![,]>>()?;
        Ok(Some(state))
    })
}

fn check_type(ty: &Type, errors: &mut Errors) {
    struct Borrows(Option<TokenStream>);
    impl<'ast> Visit<'ast> for Borrows {
        fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
            if reference.lifetime.as_ref().is_none_or(|it| it.ident != "static") {
                self.0.get_or_insert(reference.to_token_stream());
            }
        }

        fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
            if lifetime.ident != "static" {
                self.0.get_or_insert(lifetime.to_token_stream());
            }
        }

        /// `fn(&str)` borrows nothing.
        fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {}
    }
    if let Type::ImplTrait(ty) = ty {
        errors.push(Error::new_spanned(
            ty,
            "an idempotent handler cannot take `impl Trait`; name the extractor's type",
        ));
        return;
    }
    let mut borrows = Borrows(None);
    borrows.visit_type(ty);
    if let Some(tokens) = borrows.0 {
        errors.push(Error::new_spanned(
            tokens,
            "an idempotent handler owns its arguments, because it runs on when its client is gone; \
             take an owned type, `String` instead of `&str`",
        ));
    }
}

/// The names that the arguments' patterns bind.
pub(crate) fn bindings(pattern: &Pat) -> Vec<String> {
    struct Names(Vec<String>);
    impl<'ast> Visit<'ast> for Names {
        fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
            self.0.push(pattern.ident.to_string());
            syn::visit::visit_pat_ident(self, pattern);
        }
    }
    let mut names = Names(Vec::new());
    names.visit_pat(pattern);
    names.0
}
