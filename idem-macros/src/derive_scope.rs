//! `#[derive(Scope)]`: a type's identifying fields as a scope.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Fields, Meta, Result, ext::IdentExt, spanned::Spanned};

use crate::errors::Errors;

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let mut errors = Errors::default();
    check_marks(input, &mut errors);
    let body = match &input.data {
        Data::Struct(data) => struct_body(input, &data.fields, &mut errors),
        Data::Enum(data) if data.variants.is_empty() => {
            errors.push(Error::new_spanned(
                &input.ident,
                "an empty enum has no value to scope by; remove the derive",
            ));
            None
        }
        Data::Enum(data) => {
            let arms = data.variants.iter().map(|variant| {
                let (pattern, parts) = pattern(&variant.fields, &mut errors)?;
                let ident = &variant.ident;
                let name = ident.unraw().to_string();
                Some(quote!(Self::#ident #pattern => out.variant(#name, &[#(#parts),*]),))
            });
            let arms: Option<Vec<_>> = arms.collect();
            arms.map(|arms| quote!(match self { #(#arms)* }))
        }
        Data::Union(data) => {
            errors.push(Error::new_spanned(
                data.union_token,
                "a union cannot be a scope; derive it on a struct or an enum",
            ));
            None
        }
    };
    let body = errors.finish(body)?;
    let name = &input.ident;
    let mut generics = input.generics.clone();
    let params: Vec<_> = generics.type_params().map(|it| it.ident.clone()).collect();
    let clause = generics.make_where_clause();
    for param in params {
        clause.predicates.push(syn::parse_quote!(#param: ::idem::Scope));
    }
    let (impls, types, clause) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impls ::idem::Scope for #name #types #clause {
            fn write(&self, out: &mut ::idem::ScopeWriter) {
                #body
            }
        }
    })
}

/// `#[scope]` stands alone, and at fields only.
fn check_marks(input: &DeriveInput, errors: &mut Errors) {
    let (fields, variants): (Vec<_>, Vec<_>) = match &input.data {
        Data::Struct(data) => (data.fields.iter().collect(), Vec::new()),
        Data::Enum(data) => (
            data.variants.iter().flat_map(|it| &it.fields).collect(),
            data.variants.iter().flat_map(|it| &it.attrs).collect(),
        ),
        Data::Union(_) => return,
    };
    let misplaced = input.attrs.iter().chain(variants).filter(|it| it.path().is_ident("scope"));
    for attr in misplaced {
        errors.push(Error::new_spanned(attr, "`#[scope]` marks a field; move it to one"));
    }
    let marks = fields.iter().flat_map(|it| &it.attrs).filter(|it| it.path().is_ident("scope"));
    for attr in marks {
        if !matches!(attr.meta, Meta::Path(_)) {
            errors.push(Error::new_spanned(attr, "write `#[scope]`; it has no options"));
        }
    }
}

/// One field is the scope itself; several are a tuple.
fn struct_body(input: &DeriveInput, fields: &Fields, errors: &mut Errors) -> Option<TokenStream> {
    let (pattern, parts) = pattern(fields, errors)?;
    let write = match parts.as_slice() {
        [] => {
            let message =
                "a struct without fields has nothing to scope by; use `scope = \"global\"`";
            errors.push(Error::new_spanned(&input.ident, message));
            return None;
        }
        [part] => quote!(::idem::Scope::write(#part, out)),
        parts => quote!(out.tuple(&[#(#parts),*])),
    };
    Some(quote!(let Self #pattern = self; #write))
}

/// A pattern that binds the identifying fields, and what it binds.
fn pattern(fields: &Fields, errors: &mut Errors) -> Option<(TokenStream, Vec<TokenStream>)> {
    let marked: Vec<bool> =
        fields.iter().map(|it| it.attrs.iter().any(|it| it.path().is_ident("scope"))).collect();
    if fields.len() > 1 && !marked.contains(&true) {
        errors.push(Error::new_spanned(
            fields,
            "which of these fields identify the value? Mark them with `#[scope]`; a field that can \
             change, like a name, must not be part of the scope",
        ));
        return None;
    }
    let mut parts = Vec::new();
    let bindings: Vec<_> = fields
        .iter()
        .enumerate()
        .map(|(i, field)| {
            let identifies = fields.len() == 1 || marked[i];
            let binding = if identifies {
                let var = format_ident!("__field{i}", span = field.ty.span());
                parts.push(quote!(#var));
                quote!(#var)
            } else {
                quote!(_)
            };
            field.ident.as_ref().map_or_else(|| binding.clone(), |name| quote!(#name: #binding))
        })
        .collect();
    let pattern = match fields {
        Fields::Named(_) => quote!({ #(#bindings),* }),
        Fields::Unnamed(_) => quote!((#(#bindings),*)),
        Fields::Unit => quote!(),
    };
    Some((pattern, parts))
}
