//! Collects every error of one attribute, so that they are reported in one compile.

use proc_macro2::Span;
use syn::{Error, Result};

/// The errors found so far.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            none => *none = Some(error),
        }
    }

    pub(crate) fn at(&mut self, span: Span, message: impl std::fmt::Display) {
        self.push(Error::new(span, message));
    }

    /// The value, or `None` with its error taken down.
    pub(crate) fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn append(&mut self, others: Self) {
        if let Some(error) = others.0 {
            self.push(error);
        }
    }

    /// The value if nothing went wrong anywhere.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T> {
        match (self.0, value) {
            (None, Some(value)) => Ok(value),
            (Some(error), _) => Err(error),
            (None, None) => Err(Error::new(Span::call_site(), "the attribute is not complete")),
        }
    }
}

/// The nearest of the names, if one is so near that it was probably meant.
pub(crate) fn nearest<'a>(name: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    among
        .into_iter()
        .map(|it| (strsim::damerau_levenshtein(name, it), it))
        .min()
        .filter(|(distance, it)| {
            *distance <= (it.len().max(name.len()) / 3).max(1) && *distance < it.len()
        })
        .map(|(_, it)| it)
}

/// ``; did you mean `x`?`` if one of the names is near, and nothing otherwise.
pub(crate) fn hint<'a>(name: &str, among: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, among).map(|it| format!("; did you mean `{it}`?")).unwrap_or_default()
}
