//! The fingerprint: a digest of what a request asks for.

use std::{collections::HashSet, fmt};

use bytes::Bytes;
use http::{HeaderMap, Method, header::CONTENT_TYPE};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use sha2::{Digest, Sha256};

/// A SHA-256 digest of what a request asks for. The same key with another fingerprint is a
/// mismatch, because it would get the answer of a request that it did not make.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The digest's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A fingerprint read back from a store.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

/// Collects a request's fingerprint. Method and path are always part of it.
///
/// ```
/// use bytes::Bytes;
/// use http::{HeaderMap, Method};
/// use idem_core::FingerprintBuilder;
///
/// let mut json = HeaderMap::new();
/// json.insert("content-type", "application/json".parse().unwrap());
/// let print = |body: &'static str| {
///     FingerprintBuilder::new(&Method::POST, "/orders").json(&json, &Bytes::from(body))
/// };
/// assert_eq!(print(r#"{"a":1,"b":2}"#), print(r#"{ "b": 2, "a": 1.0 }"#));
/// assert_ne!(print(r#"{"a":1}"#), print(r#"{"a":2}"#));
/// ```
#[derive(Clone, Debug)]
pub struct FingerprintBuilder(Sha256);

impl FingerprintBuilder {
    /// Starts with the method and the full path, the prefix of nested routers included.
    pub fn new(method: &Method, path: &str) -> Self {
        let mut builder = Self(Sha256::new());
        builder.part(b'm', method.as_str().as_bytes());
        builder.part(b'p', path.as_bytes());
        builder
    }

    /// Adds the query as it was sent. An absent query and an empty one are the same.
    #[must_use]
    pub fn query(mut self, query: Option<&str>) -> Self {
        self.part(b'q', query.unwrap_or_default().as_bytes());
        self
    }

    /// Ends without looking at the body.
    pub fn none(self) -> Fingerprint {
        self.finish()
    }

    /// Ends with the body's bytes.
    pub fn bytes(mut self, body: &Bytes) -> Fingerprint {
        self.part(b'b', body);
        self.finish()
    }

    /// Ends with the body in canonical form ([RFC 8785](https://www.rfc-editor.org/rfc/rfc8785))
    /// when its content type is JSON, so that member order and white space do not matter, and
    /// with its bytes otherwise.
    ///
    /// The canonical form turns numbers into IEEE 754 doubles. A body that holds a number which
    /// two values could share there (more than 15 significant digits, or far from 1), that names a
    /// member twice, or that is no valid JSON, is taken by its bytes: never do two different amounts
    /// or ids become the same request.
    pub fn json(mut self, headers: &HeaderMap, body: &Bytes) -> Fingerprint {
        match is_json(headers).then(|| canonical(body)).flatten() {
            Some(canonical) => {
                self.part(b'j', &canonical);
                self.finish()
            }
            None => self.bytes(body),
        }
    }

    /// Ends with a value instead of the body: what `fingerprint = "(&order.amount, &order.to)"`
    /// names. Member order does not matter, as in [`json`](Self::json). A float that is no number
    /// counts as null.
    ///
    /// # Errors
    ///
    /// When the value cannot be written as JSON: a map whose keys are no strings, or a `Serialize`
    /// impl that fails.
    pub fn value(
        mut self,
        value: &(impl Serialize + ?Sized),
    ) -> Result<Fingerprint, FingerprintError> {
        let plain = plain(value).map_err(FingerprintError)?;
        self.part(b'v', &canonical(&plain).unwrap_or(plain));
        Ok(self.finish())
    }

    /// Tag and length before each part, so that no two requests run together.
    fn part(&mut self, tag: u8, bytes: &[u8]) {
        self.0.update([tag]);
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finalize().into())
    }
}

/// The value of a fingerprint expression cannot be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be written as JSON")]
pub struct FingerprintError(#[source] serde_json::Error);

/// `application/json` and `…+json`, whatever the parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    essence.is_some_and(|it| it == "application/json" || it.ends_with("+json"))
}

/// A value as JSON, its members sorted where it fits into serde's own data model.
fn plain(value: &(impl Serialize + ?Sized)) -> serde_json::Result<Vec<u8>> {
    match serde_json::to_value(value) {
        Ok(mut sorted) => {
            sorted.sort_all_objects();
            serde_json::to_vec(&sorted)
        }
        // 128-bit integers do not fit.
        Err(_) => serde_json::to_vec(value),
    }
}

/// The canonical form, unless the text is no JSON or the form would lose something.
fn canonical(json: &[u8]) -> Option<Vec<u8>> {
    if !numbers_are_exact(json) {
        return None;
    }
    serde_json::from_slice::<UniqueMembers>(json).ok()?;
    let value: serde_json::Value = serde_json::from_slice(json).ok()?;
    serde_json_canonicalizer::to_vec(&value).ok()
}

/// Any JSON in which no object names a member twice.
struct UniqueMembers;

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for UniqueMembers {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON whose objects name each member once")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self, A::Error> {
        while elements.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, Self)) = members.next_entry::<String, Self>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a member is named twice"));
            }
        }
        Ok(self)
    }
}

/// Whether every number outside of strings has at most 15 significant digits, an exponent of at most
/// two digits, and 24 characters in all: doubles tell such decimals apart, and none becomes zero.
fn numbers_are_exact(json: &[u8]) -> bool {
    let mut rest = json.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => loop {
                match rest.next() {
                    Some(b'\\') => drop(rest.next()),
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            b'-' | b'0'..=b'9' => {
                let (mut length, mut digits, mut exponent, mut in_exponent) = (0, 0, 0, false);
                let mut next = Some(byte);
                while let Some(byte) = next {
                    length += 1;
                    match byte {
                        b'0' if digits == 0 && !in_exponent => {}
                        b'0'..=b'9' if in_exponent => exponent += 1,
                        b'0'..=b'9' => digits += 1,
                        b'e' | b'E' => in_exponent = true,
                        _ => {}
                    }
                    next = rest
                        .next_if(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
                }
                if digits > 15 || exponent > 2 || length > 24 {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn json(content_type: &'static str, body: &str) -> Fingerprint {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().expect("a value"));
        let body = Bytes::copy_from_slice(body.as_bytes());
        FingerprintBuilder::new(&Method::POST, "/").query(None).json(&headers, &body)
    }

    #[test]
    fn json_ignores_order_and_space_only() {
        let base = json("application/json", r#"{"a":[1,2],"b":"x"}"#);
        assert_eq!(base, json("application/json", "{ \"b\" : \"x\",\n \"a\": [1, 2] }"));
        assert_eq!(base, json("Application/JSON; charset=utf-8", r#"{"b":"x","a":[1,2]}"#));
        assert_eq!(base, json("application/vnd.api+json", r#"{"b":"x","a":[1,2]}"#));
        assert_ne!(base, json("application/json", r#"{"a":[2,1],"b":"x"}"#));
        assert_ne!(base, json("text/plain", r#"{"b":"x","a":[1,2]}"#));
    }

    #[test]
    fn neighbouring_big_numbers_differ() {
        for (a, b) in [
            ("9007199254740993", "9007199254740992"),
            ("0.1", "0.10000000000000000555"),
            ("-12345678901234567890", "-12345678901234567891"),
            ("1e400", "1e401"),
            ("1e-400", "0"),
            (&format!("0.{}1", "0".repeat(400)), "0"),
            (&format!("0.{}1e-99", "0".repeat(300)), "0"),
        ] {
            let print = |n: &str| json("application/json", &format!("{{\"n\":{n}}}"));
            assert_ne!(print(a), print(b), "{a} {b}");
        }
        assert_eq!(json("application/json", "[1.50]"), json("application/json", "[1.5]"));
        assert_eq!(json("application/json", "[100]"), json("application/json", "[1e2]"));
    }

    #[test]
    fn a_member_that_is_named_twice_is_not_dropped() {
        let once = json("application/json", r#"{"a":2,"b":[{"c":null}]}"#);
        assert_eq!(once, json("application/json", r#"{"b":[{"c":null}],"a":2}"#));
        assert_ne!(once, json("application/json", r#"{"a":1,"a":2,"b":[{"c":null}]}"#));
        assert_ne!(once, json("application/json", r#"{"a":2,"b":[{"c":true,"c":null}]}"#));
    }

    #[test]
    fn digits_in_strings_are_not_numbers() {
        let long = r#"{"b":"\"12345678901234567890","a":1}"#;
        let other = r#"{"a":1,"b":"\"12345678901234567890"}"#;
        assert_eq!(json("application/json", long), json("application/json", other));
    }

    #[test]
    fn invalid_json_is_taken_by_its_bytes() {
        assert_ne!(json("application/json", "{"), json("application/json", "{ "));
        assert_eq!(json("application/json", ""), json("application/json", ""));
    }

    #[test]
    fn values_do_not_depend_on_map_order_and_keep_big_ids_apart() {
        let start = || FingerprintBuilder::new(&Method::POST, "/");
        let big = |i: u64| (format!("k{i}"), u64::MAX - i);
        let map: HashMap<_, _> = (0..50).map(big).collect();
        let again: HashMap<_, _> = (0..50).rev().map(big).collect();
        assert_eq!(start().value(&map).unwrap(), start().value(&again).unwrap());
        assert_ne!(start().value(&u64::MAX).unwrap(), start().value(&(u64::MAX - 1)).unwrap());
        assert_ne!(start().value(&u128::MAX).unwrap(), start().value(&(u128::MAX - 1)).unwrap());
        assert!(start().value(&HashMap::from([((1, 2), 3)])).is_err());
    }

    #[test]
    fn method_path_query_and_body_never_run_together() {
        let body = Bytes::from_static(b"b");
        let of =
            |path, query| FingerprintBuilder::new(&Method::POST, path).query(query).bytes(&body);
        assert_ne!(of("/a", Some("b")), of("/ab", None));
        assert_ne!(
            of("/a", None),
            FingerprintBuilder::new(&Method::PUT, "/a").query(None).bytes(&body)
        );
        assert_ne!(of("/a", None), FingerprintBuilder::new(&Method::POST, "/a").query(None).none());
        assert_eq!(of("/a", None), of("/a", Some("")));
    }
}
