//! A key that an endpoint makes of the request itself.

use crate::scope::{Scope, ScopeValue};

/// What names a request's intent where its client sends no key: a value of the request, encoded like
/// a scope, without ambiguity and of any length.
///
/// It has no `Debug` output of its value: it must not end up in a log.
///
/// ```
/// use idem_core::DerivedKey;
///
/// assert_ne!(DerivedKey::of(&("ann", "bob")), DerivedKey::of(&("annbob", "")));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DerivedKey(ScopeValue);

impl DerivedKey {
    /// Encodes a value. What can be a scope can be a key.
    pub fn of(value: &(impl Scope + ?Sized)) -> Self {
        Self(ScopeValue::of(value))
    }

    /// What record ids are made of.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// The key as an operator reads it. It is not unambiguous; the record id is.
    pub(crate) fn text(&self) -> &str {
        self.0.text()
    }
}

impl std::fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DerivedKey(…)")
    }
}
