//! Tokens → [`Args`]: the options as they are written, each known and given once.

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Expr, Ident, Token,
    parse::{Parse, ParseStream, Parser},
};

use crate::errors::{Errors, nearest};

/// Every option there is.
pub(crate) const OPTIONS: [&str; 15] = [
    "scope",
    "ttl",
    "operation",
    "header",
    "required",
    "key_format",
    "fingerprint",
    "lease",
    "recover",
    "keep",
    "failed_ttl",
    "query",
    "max_body",
    "max_response",
    "on_store_error",
];

/// One `name = value`.
pub(crate) struct Arg {
    pub(crate) name: Ident,
    pub(crate) value: Expr,
}

/// The options of one attribute.
pub(crate) struct Args(Vec<Arg>);

impl Args {
    /// Takes down what is wrong and goes on after the next comma.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args: Vec<Arg> = Vec::new();
        for tokens in split_at_commas(tokens) {
            let Some(arg) = errors.take(Arg::parse.parse2(tokens)) else { continue };
            let name = arg.name.to_string();
            if !OPTIONS.contains(&name.as_str()) {
                let hint = nearest(&name, OPTIONS);
                let known = OPTIONS.join("`, `");
                errors.at(
                    arg.name.span(),
                    format_args!("unknown option `{name}`{hint} The options are `{known}`"),
                );
            } else if args.iter().any(|it| it.name == arg.name) {
                errors.at(arg.name.span(), format_args!("`{name}` is given twice; remove one"));
            } else {
                args.push(arg);
            }
        }
        Self(args)
    }

    /// The value of an option.
    pub(crate) fn get(&self, name: &str) -> Option<&Expr> {
        self.0.iter().find(|it| it.name == name).map(|it| &it.value)
    }
}

impl Parse for Arg {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name: Ident = input.parse()?;
        if input.is_empty() {
            return Err(syn::Error::new(name.span(), format!("write `{name} = …`")));
        }
        input.parse::<Token![=]>()?;
        if input.is_empty() {
            return Err(syn::Error::new(
                name.span(),
                format!("`{name}` has no value; write `{name} = …`"),
            ));
        }
        let value = input.parse()?;
        Ok(Self { name, value })
    }
}

/// Commas inside of parentheses and strings are no separators. A comma inside of `::<…>` is one:
/// put such an expression in quotes.
fn split_at_commas(tokens: TokenStream) -> Vec<TokenStream> {
    let mut parts = vec![Vec::new()];
    for token in tokens {
        match (&token, parts.last_mut()) {
            (TokenTree::Punct(punct), _) if punct.as_char() == ',' => parts.push(Vec::new()),
            (_, Some(part)) => part.push(token),
            (_, None) => {}
        }
    }
    parts.into_iter().filter(|it| !it.is_empty()).map(TokenStream::from_iter).collect()
}
