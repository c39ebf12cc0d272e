//! Tokens → [`Args`]: the options as they are written, each known and given once.

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Error, Expr, Ident, Token,
    parse::{Parse, ParseStream, Parser},
};

use crate::errors::{Errors, nearest};

/// Every option there is.
pub(crate) const OPTIONS: [&str; 25] = [
    "scope",
    "ttl",
    "operation",
    "key",
    "fallback_key",
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
    "on_conflict",
    "wait",
    "isolation",
    "lock_timeout",
    "statement_timeout",
    "idle_timeout",
    "commit_on_error",
    "retries",
];

/// One `name = value`.
pub(crate) struct Arg {
    pub(crate) name: Ident,
    pub(crate) value: Expr,
}

/// The options of one attribute.
#[derive(Default)]
pub(crate) struct Args {
    given: Vec<Arg>,
    /// Whether an option that could not be read may have been meant as the scope.
    perhaps_scope: bool,
}

impl Args {
    /// Takes down what is wrong and goes on after the next comma.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        for tokens in split_at_commas(tokens) {
            let meant = match tokens.clone().into_iter().next() {
                Some(TokenTree::Ident(name)) => name.to_string(),
                _ => "scope".to_owned(),
            };
            match errors.take(Arg::parse.parse2(tokens)) {
                Some(arg) => args.add(arg, errors),
                None => args.perhaps_scope |= meant == "scope",
            }
        }
        args
    }

    fn add(&mut self, arg: Arg, errors: &mut Errors) {
        let name = arg.name.to_string();
        if !OPTIONS.contains(&name.as_str()) {
            let nearest = nearest(&name, OPTIONS);
            self.perhaps_scope |= nearest == Some("scope");
            let hint = nearest.map_or_else(
                || format!("the options are `{}`", OPTIONS.join("`, `")),
                |it| format!("did you mean `{it}`?"),
            );
            errors.at(arg.name.span(), format_args!("unknown option `{name}`; {hint}"));
        } else if self.get(&name).is_some() {
            errors.at(arg.name.span(), format_args!("`{name}` is given twice; remove one"));
        } else {
            self.given.push(arg);
        }
    }

    /// The value of an option.
    pub(crate) fn get(&self, name: &str) -> Option<&Expr> {
        self.given.iter().find(|it| it.name == name).map(|it| &it.value)
    }

    /// Whether nothing was written that may have been meant as the scope.
    pub(crate) fn lack_scope(&self) -> bool {
        self.get("scope").is_none() && !self.perhaps_scope
    }
}

impl Parse for Arg {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name: Ident = input.parse().map_err(|error| {
            Error::new(error.span(), "write `option = value`, like `ttl = \"24h\"`")
        })?;
        let write = format!("write `{name} = …`");
        if input.is_empty() {
            return Err(Error::new(name.span(), format!("`{name}` has no value; {write}")));
        }
        input.parse::<Token![=]>().map_err(|_| Error::new(name.span(), &write))?;
        if input.is_empty() {
            return Err(Error::new(name.span(), format!("`{name}` has no value; {write}")));
        }
        let value = input.parse()?;
        if !input.is_empty() {
            return Err(input.error(format!(
                "expected a comma; options are separated by commas, and the value of `{name}` ends here"
            )));
        }
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
