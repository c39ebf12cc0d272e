//! Where the key comes from, and which other options that leaves.

use syn::{Expr, spanned::Spanned};

use crate::{args::Args, errors::Errors, expression, handler::Handler};

pub(crate) enum Key {
    /// The client.
    Sent,
    /// The endpoint, whatever the client sends.
    Derived(Expr),
}

impl Key {
    pub(crate) fn check(args: &Args, handler: &Handler, errors: &mut Errors) -> Option<Self> {
        let Some(expr) = args.get("key") else {
            return Some(Self::Sent);
        };
        expression::parse_plain("key", expr, handler, errors).map(Self::Derived)
    }

    pub(crate) const fn expression(&self) -> Option<&Expr> {
        match self {
            Self::Sent => None,
            Self::Derived(expr) => Some(expr),
        }
    }
}

/// What `key` makes meaningless.
pub(crate) fn check_together(args: &Args, errors: &mut Errors) {
    if args.get("key").is_none() {
        return;
    }
    for name in ["header", "key_format", "required"] {
        if let Some(value) = args.get(name) {
            errors.at(
                value.span(),
                format_args!(
                    "`{name}` is about keys that clients send, and with `key` none is read; remove \
                     one of the two"
                ),
            );
        }
    }
}
