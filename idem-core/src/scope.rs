//! The scope: whose key it is.

use std::{borrow::Cow, fmt::Write, sync::Arc};

use uuid::Uuid;

/// A value that says whose key a request carries: a user, a tenant, a pair of both.
///
/// Two scopes never see each other's records, so a scope should be what the application has
/// *authenticated*, never a value that a client can choose freely.
///
/// Strings, integers, [`Uuid`]s and tuples of scopes are scopes. A type of your own becomes one by
/// `#[derive(Scope)]`, or by an impl that writes what identifies it:
///
/// ```
/// use idem_core::{Scope, ScopeWriter};
///
/// struct User {
///     id: u64,
///     display_name: String,
/// }
///
/// impl Scope for User {
///     fn write(&self, out: &mut ScopeWriter) {
///         self.id.write(out);
///     }
/// }
/// # let _ = User { id: 1, display_name: String::new() }.display_name;
/// ```
///
/// `Option` is not a scope, on purpose: anonymous callers must never share one by accident.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a scope",
    label = "not a `Scope`",
    note = "a scope is a string, an integer, a `Uuid`, a tuple of scopes, or a type of yours with \
            `#[derive(idem::Scope)]`",
    note = "`Option` is no scope, so that anonymous callers never share one by accident; give them \
            a scope of their own"
)]
pub trait Scope {
    /// Writes the identity of this value.
    fn write(&self, out: &mut ScopeWriter);
}

/// Takes the parts of a scope and encodes them without ambiguity: `("a", "bc")` differs from
/// `("ab", "c")`, and `1` from `"1"`.
#[derive(Debug, Default)]
pub struct ScopeWriter {
    bytes: Vec<u8>,
    text: String,
}

impl ScopeWriter {
    fn leaf(&mut self, tag: u8, bytes: &[u8]) {
        self.bytes.push(tag);
        self.bytes.extend((bytes.len() as u64).to_be_bytes());
        self.bytes.extend(bytes);
    }

    /// Writes a string.
    pub fn str(&mut self, value: &str) {
        self.leaf(b's', value.as_bytes());
        self.text.push_str(value);
    }

    /// Writes an integer; its width is no part of the scope, so that a column may grow later.
    pub fn integer(&mut self, value: impl std::fmt::Display) {
        let text = value.to_string();
        self.leaf(b'i', text.as_bytes());
        self.text.push_str(&text);
    }

    /// Writes a UUID.
    pub fn uuid(&mut self, value: &Uuid) {
        self.leaf(b'u', value.as_bytes());
        let _ = write!(self.text, "{value}");
    }

    /// Writes several scopes as one, in their order, each with its length before it.
    pub fn tuple(&mut self, parts: &[&dyn Scope]) {
        self.leaf(b't', &(parts.len() as u64).to_be_bytes());
        self.text.push('(');
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                self.text.push_str(", ");
            }
            let ScopeValue { bytes, text } = ScopeValue::of(*part);
            self.leaf(b'p', &bytes);
            self.text.push_str(&text);
        }
        self.text.push(')');
    }

    /// Writes the variant of an enum and what it holds.
    pub fn variant(&mut self, name: &str, parts: &[&dyn Scope]) {
        self.leaf(b'v', name.as_bytes());
        self.text.push_str(name);
        self.tuple(parts);
    }
}

/// An encoded scope, ready to become part of a record id.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ScopeValue {
    bytes: Vec<u8>,
    text: String,
}

impl ScopeValue {
    /// Encodes a scope.
    pub fn of(scope: &(impl Scope + ?Sized)) -> Self {
        let mut out = ScopeWriter::default();
        scope.write(&mut out);
        Self { bytes: out.bytes, text: out.text }
    }

    /// The one scope that all callers share: `scope = "global"`. No value of a type encodes to it.
    pub fn global() -> Self {
        Self { bytes: vec![b'g'], text: "global".to_owned() }
    }

    /// What record ids are made of.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The scope as an operator reads it. It is not unambiguous; the record id is.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Debug for ScopeValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScopeValue(…)")
    }
}

#[diagnostic::do_not_recommend]
impl Scope for str {
    fn write(&self, out: &mut ScopeWriter) {
        out.str(self);
    }
}

#[diagnostic::do_not_recommend]
impl Scope for String {
    fn write(&self, out: &mut ScopeWriter) {
        out.str(self);
    }
}

#[diagnostic::do_not_recommend]
impl Scope for Cow<'_, str> {
    fn write(&self, out: &mut ScopeWriter) {
        out.str(self);
    }
}

#[diagnostic::do_not_recommend]
impl Scope for Uuid {
    fn write(&self, out: &mut ScopeWriter) {
        out.uuid(self);
    }
}

#[diagnostic::do_not_recommend]
impl<T: Scope + ?Sized> Scope for &T {
    fn write(&self, out: &mut ScopeWriter) {
        (**self).write(out);
    }
}

#[diagnostic::do_not_recommend]
impl<T: Scope + ?Sized> Scope for Box<T> {
    fn write(&self, out: &mut ScopeWriter) {
        (**self).write(out);
    }
}

#[diagnostic::do_not_recommend]
impl<T: Scope + ?Sized> Scope for Arc<T> {
    fn write(&self, out: &mut ScopeWriter) {
        (**self).write(out);
    }
}

macro_rules! integers {
    ($($ty:ty)*) => {$(
        #[diagnostic::do_not_recommend]
        impl Scope for $ty {
            fn write(&self, out: &mut ScopeWriter) {
                out.integer(self);
            }
        }
    )*};
}
integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

macro_rules! tuples {
    ($(($($name:ident)+))*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($name: Scope),+> Scope for ($($name,)+) {
            fn write(&self, out: &mut ScopeWriter) {
                #[allow(non_snake_case, reason = "the type parameters name the bindings")]
                let ($($name,)+) = self;
                out.tuple(&[$($name),+]);
            }
        }
    )*};
}
tuples!((A)(A B)(A B C)(A B C D)(A B C D E)(A B C D E F));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_and_types_are_part_of_the_scope() {
        assert_ne!(ScopeValue::of(&("a", "bc")), ScopeValue::of(&("ab", "c")));
        assert_ne!(ScopeValue::of(&1_u8), ScopeValue::of("1"));
        assert_ne!(ScopeValue::of(&(("a", "b"), "c")), ScopeValue::of(&("a", ("b", "c"))));
        assert_ne!(ScopeValue::of("global"), ScopeValue::global());
    }

    #[test]
    fn what_one_part_writes_does_not_run_into_the_next() {
        struct List(&'static [&'static str]);
        impl Scope for List {
            fn write(&self, out: &mut ScopeWriter) {
                self.0.iter().for_each(|it| out.str(it));
            }
        }
        let bytes = |a, b| ScopeValue::of(&(List(a), List(b))).bytes;
        assert_ne!(bytes(&["a", "b"], &["c"]), bytes(&["a"], &["b", "c"]));
    }

    #[test]
    fn ownership_and_integer_width_are_not() {
        assert_eq!(ScopeValue::of(&String::from("ann")), ScopeValue::of("ann"));
        assert_eq!(ScopeValue::of(&7_u32), ScopeValue::of(&7_i64));
        assert_eq!(ScopeValue::of(&Arc::new(7_u32)), ScopeValue::of(&&7_u8));
    }

    #[test]
    fn the_text_is_readable() {
        assert_eq!(ScopeValue::of(&("acme", 7_u32)).text(), "(acme, 7)");
    }
}
