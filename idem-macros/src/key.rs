//! Where the key comes from, and which other options that leaves.

use syn::{Expr, spanned::Spanned};

use crate::{args::Args, errors::Errors, expression, handler::Handler};

pub(crate) enum Key {
    /// The client.
    Sent,
    /// The endpoint, whatever the client sends.
    Derived(Expr),
    /// The endpoint, if the client sends none.
    Fallback(Expr),
}

impl Key {
    pub(crate) fn check(args: &Args, handler: &Handler, errors: &mut Errors) -> Option<Self> {
        let mut of =
            |name| args.get(name).map(|expr| expression::parse_plain(name, expr, handler, errors));
        match (of("key"), of("fallback_key")) {
            (Some(expr), _) => expr.map(Self::Derived),
            (None, Some(expr)) => expr.map(Self::Fallback),
            (None, None) => Some(Self::Sent),
        }
    }

    pub(crate) const fn expression(&self) -> Option<&Expr> {
        match self {
            Self::Sent => None,
            Self::Derived(expr) | Self::Fallback(expr) => Some(expr),
        }
    }
}

/// What `key` and `fallback_key` make meaningless.
pub(crate) fn check_together(args: &Args, errors: &mut Errors) {
    let span = |name| args.get(name).map(Spanned::span);
    if span("key").is_some() {
        for (name, span) in ["header", "key_format", "required"].map(|name| (name, span(name))) {
            let Some(span) = span else { continue };
            errors.at(
                span,
                format_args!(
                    "`{name}` is about keys that clients send, and with `key` none is read; remove \
                     one of the two"
                ),
            );
        }
        if let Some(span) = span("fallback_key") {
            errors.at(
                span,
                "with `key` every request has a key, and `fallback_key` is never asked for one; \
                 remove one of the two",
            );
        }
    } else if let (Some(_), Some(span)) = (span("fallback_key"), span("required")) {
        errors.at(
            span,
            "with `fallback_key` no client has to send a key, and every request has one; remove \
             `required`",
        );
    }
}
