//! Expressions over the handler's own arguments: `scope = "(org.id, user.id)"`.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Expr, PatType, Result, spanned::Spanned};

use crate::{
    errors::{Errors, hint},
    handler::{Handler, bindings},
    value::string,
};

/// What an option over the arguments says.
pub(crate) enum Value {
    /// One of the option's keywords.
    Keyword(&'static str),
    /// An expression over the arguments.
    Expression(Expr),
}

/// Reads a keyword or an expression; quotes around it make no difference.
pub(crate) fn parse(
    option: &str,
    expr: &Expr,
    keywords: &[&'static str],
    handler: &Handler,
    errors: &mut Errors,
) -> Option<Value> {
    let parsed = errors.take(unquoted(option, expr))?;
    let Some(keyword) = keyword(&parsed, keywords) else {
        check_names(option, &parsed, keywords, handler, errors);
        return Some(Value::Expression(parsed));
    };
    if handler.arguments.iter().any(|it| bindings(&it.pat).iter().any(|name| name == keyword)) {
        errors.at(
            expr.span(),
            format_args!(
                "`{keyword}` is a keyword of `{option}` and the name of an argument; write \
                 `{option} = \"({keyword})\"` for the argument, or rename it"
            ),
        );
        return None;
    }
    Some(Value::Keyword(keyword))
}

/// Reads the expression of an option that has no keywords.
pub(crate) fn parse_plain(
    option: &str,
    expr: &Expr,
    handler: &Handler,
    errors: &mut Errors,
) -> Option<Expr> {
    let parsed = errors.take(unquoted(option, expr))?;
    check_names(option, &parsed, &[], handler, errors);
    Some(parsed)
}

fn unquoted(option: &str, expr: &Expr) -> Result<Expr> {
    let example = match option {
        "scope" => "user.id",
        "fingerprint" => "(&order.to, order.amount)",
        _ => "(&order.to, order.number)",
    };
    match string(expr) {
        Some(text) => text.parse().map_err(|error| {
            let message = format!(
                "`{option}` is an expression over the handler's arguments, like \"{example}\" \
                 ({error})"
            );
            syn::Error::new(text.span(), message)
        }),
        None => Ok(expr.clone()),
    }
}

fn keyword(expr: &Expr, keywords: &[&'static str]) -> Option<&'static str> {
    let name = single_name(expr)?;
    keywords.iter().copied().find(|it| *it == name)
}

/// The name that the expression is, if it is nothing else.
pub(crate) fn single_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
        Expr::Group(group) => single_name(&group.expr),
        _ => None,
    }
}

/// Suggests the nearest binding for a name that is none. What cannot be told apart from a constant
/// or a function is left to the compiler.
fn check_names(
    option: &str,
    expr: &Expr,
    keywords: &[&'static str],
    handler: &Handler,
    errors: &mut Errors,
) {
    let known: Vec<String> = handler.arguments.iter().flat_map(|it| bindings(&it.pat)).collect();
    for (name, span) in roots(expr) {
        let constant = name.starts_with(|c: char| c.is_uppercase());
        if constant || known.contains(&name) {
            continue;
        }
        let hint = hint(&name, known.iter().map(String::as_str).chain(keywords.iter().copied()));
        let list = match known.as_slice() {
            [] => "the handler binds no argument to a name".to_owned(),
            names => format!("the handler's arguments are `{}`", names.join("`, `")),
        };
        let handler = &handler.sig.ident;
        errors.at(
            span,
            format_args!(
                "`{option}` names `{name}`, which is no argument of `{handler}`{hint} ({list})"
            ),
        );
    }
}

/// The names that an expression starts from: `a` and `b` in `(a.id, f(&b))`.
fn roots(expr: &Expr) -> Vec<(String, proc_macro2::Span)> {
    match expr {
        Expr::Path(path) => {
            let ident = path.path.get_ident();
            ident.map(|it| (it.to_string(), it.span())).into_iter().collect()
        }
        Expr::Tuple(tuple) => tuple.elems.iter().flat_map(roots).collect(),
        Expr::Array(array) => array.elems.iter().flat_map(roots).collect(),
        // A name alone may be a function that is passed on.
        Expr::Call(call) => {
            let arguments = call.args.iter().filter(|it| single_name(it).is_none());
            arguments.flat_map(roots).collect()
        }
        Expr::Paren(inner) => roots(&inner.expr),
        Expr::Group(inner) => roots(&inner.expr),
        Expr::Reference(inner) => roots(&inner.expr),
        Expr::Unary(inner) => roots(&inner.expr),
        Expr::Field(inner) => roots(&inner.base),
        Expr::MethodCall(inner) => roots(&inner.receiver),
        Expr::Index(inner) => roots(&inner.expr),
        _ => Vec::new(),
    }
}

/// Which arguments the expressions mention, by position.
pub(crate) fn mentioned<'a>(
    expressions: impl IntoIterator<Item = &'a Expr>,
    arguments: &[PatType],
) -> BTreeSet<usize> {
    let mut names = BTreeSet::new();
    for expr in expressions {
        collect_idents(expr.to_token_stream(), &mut names);
    }
    let mentions = |it: &PatType| bindings(&it.pat).iter().any(|name| names.contains(name));
    (0..arguments.len()).filter(|i| mentions(&arguments[*i])).collect()
}

/// All names but those of fields and methods; those in strings, too, for `format!("{user}")`.
fn collect_idents(tokens: TokenStream, names: &mut BTreeSet<String>) {
    let (mut after_dot, mut after_joint_dot) = (false, false);
    for token in tokens {
        let is_member = after_dot && !after_joint_dot;
        after_joint_dot = after_dot;
        after_dot = matches!(&token, TokenTree::Punct(it) if it.as_char() == '.');
        match token {
            TokenTree::Ident(_) if is_member => {}
            TokenTree::Ident(ident) => drop(names.insert(ident.to_string())),
            TokenTree::Group(group) => collect_idents(group.stream(), names),
            TokenTree::Literal(literal) => {
                for part in literal.to_string().split('{').skip(1) {
                    let end = part.find(|c: char| !c.is_alphanumeric() && c != '_');
                    names.insert(part[..end.unwrap_or(part.len())].to_owned());
                }
            }
            TokenTree::Punct(_) => {}
        }
    }
}

/// The parts of a tuple, or the expression itself.
pub(crate) fn tuple_parts(expr: &Expr) -> Option<impl Iterator<Item = &Expr>> {
    match expr {
        Expr::Tuple(tuple) => Some(tuple.elems.iter()),
        _ => None,
    }
}

/// The expression without parentheses around the whole of it.
pub(crate) fn peeled(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(inner) => peeled(&inner.expr),
        Expr::Group(inner) => peeled(&inner.expr),
        expr => expr,
    }
}
