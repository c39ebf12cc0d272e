//! The key of a request: sent by its client, or derived by its endpoint.

use idem_core::{DerivedKey, IdempotencyKey, RecordId, Scope, ScopeValue};

/// A request's key. Keys of different sources never meet.
#[derive(Debug)]
pub enum Key {
    /// The client sent it.
    Sent(IdempotencyKey),
    /// `key = "…"`.
    Derived(DerivedKey),
    /// `fallback_key = "…"`, when the client sent none.
    Fallback(DerivedKey),
}

impl Key {
    /// The value of `key`.
    pub fn derived(value: &dyn Scope) -> Self {
        Self::Derived(DerivedKey::of(value))
    }

    /// The value of `fallback_key`.
    pub fn fallback(value: &dyn Scope) -> Self {
        Self::Fallback(DerivedKey::of(value))
    }

    pub(crate) fn record(&self, operation: &str, scope: &ScopeValue) -> RecordId {
        match self {
            Self::Sent(key) => RecordId::sent(operation, scope, key),
            Self::Derived(key) => RecordId::derived(operation, scope, key),
            Self::Fallback(key) => RecordId::fallback(operation, scope, key),
        }
    }
}

/// A part of a key that the attribute names.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a key",
    label = "not a `Scope`",
    note = "what can be a scope can be part of a key: a string, an integer, a `Uuid`, a tuple of \
            those, or a type of yours with `#[derive(idem::Scope)]`",
    note = "of anything else, name what tells intents apart: a date's `to_string()`, a field, or a \
            function of yours that returns a string",
    note = "an `Option` cannot, so that requests without a value never share a key by accident"
)]
pub trait KeyPart: Scope {}

#[diagnostic::do_not_recommend]
impl<T: Scope> KeyPart for T {}

/// The value, if it can be part of a key.
pub const fn key_part<T: KeyPart>(value: &T) -> &dyn Scope {
    value
}
