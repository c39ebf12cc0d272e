//! The idempotency key: what a client sends to name one intent.

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::BareItem;
use uuid::{Uuid, Variant};

/// The longest key that is accepted, in bytes, without the quotes of a structured field string.
pub const MAX_KEY_LEN: usize = 255;

/// A validated idempotency key: 1 to 255 printable ASCII characters.
///
/// A header value that begins with `"` is read as a structured field string
/// ([RFC 8941 section 3.3.3](https://www.rfc-editor.org/rfc/rfc8941#section-3.3.3)), as
/// `draft-ietf-httpapi-idempotency-key-header` section 2.1 demands; any other value is taken as it
/// stands, because that is what most clients send. `"k"` and `k` are the same key.
///
/// The key has no `Debug` output of its value and no `Display`: it must not end up in a log.
///
/// ```
/// use http::{HeaderMap, HeaderName};
/// use idem_core::{IdempotencyKey, KeyError, KeyFormat};
///
/// let name = HeaderName::from_static("idempotency-key");
/// let mut headers = HeaderMap::new();
/// assert!(IdempotencyKey::from_headers(&headers, &name, KeyFormat::Any).unwrap().is_none());
///
/// headers.insert(&name, "\"order-42\"".parse().unwrap());
/// let key = IdempotencyKey::from_headers(&headers, &name, KeyFormat::Any).unwrap().unwrap();
/// assert_eq!(key.as_str(), "order-42");
///
/// let refused = IdempotencyKey::from_headers(&headers, &name, KeyFormat::Uuid);
/// assert_eq!(refused.unwrap_err(), KeyError::NotUuid);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads the key from a request's headers; `None` when the header is absent.
    ///
    /// # Errors
    ///
    /// A [`KeyError`] that says what is wrong with the header.
    pub fn from_headers(
        headers: &HeaderMap,
        name: &HeaderName,
        format: KeyFormat,
    ) -> Result<Option<Self>, KeyError> {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(KeyError::Repeated);
        }
        Self::from_value(value, format).map(Some)
    }

    /// Reads the key from the value of the header, quoted or not.
    ///
    /// # Errors
    ///
    /// A [`KeyError`] that says what is wrong with it.
    pub fn from_value(value: &HeaderValue, format: KeyFormat) -> Result<Self, KeyError> {
        let bytes = value.as_bytes();
        let key = if bytes.first() == Some(&b'"') {
            unquote(bytes)?
        } else if bytes.iter().all(|b| matches!(b, b' '..=b'~')) {
            bytes.iter().copied().map(char::from).collect()
        } else {
            return Err(KeyError::NotAscii);
        };
        match key.len() {
            0 => Err(KeyError::Empty),
            1..=MAX_KEY_LEN => format.accept(key).map(Self),
            len => Err(KeyError::TooLong { len }),
        }
    }

    /// The key's text, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdempotencyKey(…)")
    }
}

/// A complete structured field string, without parameters and without anything after it.
fn unquote(bytes: &[u8]) -> Result<String, KeyError> {
    let item: sfv::Item = sfv::Parser::new(bytes).parse().map_err(|_| KeyError::Unquotable)?;
    match item.bare_item {
        BareItem::String(text) if item.params.is_empty() => Ok(text.as_str().to_owned()),
        _ => Err(KeyError::Unquotable),
    }
}

/// Where an endpoint's keys come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeySource {
    /// Clients send them (the default).
    #[default]
    Sent,
    /// The endpoint derives them from its requests; what clients send is not read.
    Derived,
    /// Clients may send them, and the endpoint derives those that are not sent.
    SentOrFallback,
}

/// Which keys an endpoint accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyFormat {
    /// Any key (the default).
    #[default]
    Any,
    /// A UUID of any version, in its hyphenated form of 36 characters. Capital and small letters are
    /// the same key.
    Uuid,
    /// A random UUID ([RFC 9562 section 5.4](https://www.rfc-editor.org/rfc/rfc9562#section-5.4)),
    /// in its hyphenated form, likewise.
    Uuid4,
}

impl KeyFormat {
    fn accept(self, key: String) -> Result<String, KeyError> {
        let uuid = || match key.len() {
            uuid::fmt::Hyphenated::LENGTH => Uuid::try_parse(&key).ok(),
            _ => None,
        };
        let is_random =
            |id: &Uuid| id.get_version_num() == 4 && id.get_variant() == Variant::RFC4122;
        let id = match self {
            Self::Any => return Ok(key),
            Self::Uuid => uuid().ok_or(KeyError::NotUuid)?,
            Self::Uuid4 => uuid().filter(is_random).ok_or(KeyError::NotUuid4)?,
        };
        Ok(id.hyphenated().to_string())
    }
}

/// What is wrong with an idempotency key. The messages are written for the client's developer and
/// never contain the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The header is there, but nothing is in it.
    #[error("the key is empty; send 1 to {MAX_KEY_LEN} characters")]
    Empty,
    /// More than 255 bytes.
    #[error("the key has {len} bytes; at most {MAX_KEY_LEN} are accepted")]
    TooLong {
        /// The key's length in bytes, without quotes.
        len: usize,
    },
    /// The header occurs more than once.
    #[error("the header was sent more than once; send it exactly once")]
    Repeated,
    /// A control or non-ASCII character.
    #[error("the key has a control or non-ASCII character; send printable ASCII")]
    NotAscii,
    /// The value begins with a quote and is no complete structured field string.
    #[error(
        "the key begins with a quote, but is not one complete quoted string (RFC 8941 section \
         3.3.3); close the quote, or send the key without quotes"
    )]
    Unquotable,
    /// The endpoint takes UUIDs.
    #[error("the key must be a UUID such as 8e03978e-40d5-43dd-bc93-6894a57f9324")]
    NotUuid,
    /// The endpoint takes UUIDs of version 4.
    #[error("the key must be a random (version 4) UUID")]
    NotUuid4,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &[u8], format: KeyFormat) -> Result<String, KeyError> {
        let value = HeaderValue::from_bytes(value).expect("a header value");
        IdempotencyKey::from_value(&value, format).map(|key| key.0)
    }

    #[test]
    fn quoted_and_plain_are_the_same_key() {
        assert_eq!(parse(b"k", KeyFormat::Any), parse(b"\"k\"", KeyFormat::Any));
        assert_eq!(parse(br#""a \"b\" \\""#, KeyFormat::Any).unwrap(), r#"a "b" \"#);
    }

    #[test]
    fn a_broken_quoted_string_is_refused() {
        for value in [&b"\"k"[..], b"\"", b"\"k\";p=1", b"\"a\" \"b\"", b"\"a\\n\"", b"\"a\"b"] {
            assert_eq!(parse(value, KeyFormat::Any), Err(KeyError::Unquotable), "{value:?}");
        }
    }

    #[test]
    fn length_is_counted_without_the_quotes() {
        let longest = "k".repeat(MAX_KEY_LEN);
        let quoted = format!("\"{longest}\"");
        assert_eq!(parse(quoted.as_bytes(), KeyFormat::Any).unwrap(), longest);
        let too_long = format!("{longest}k");
        assert_eq!(parse(too_long.as_bytes(), KeyFormat::Any), Err(KeyError::TooLong { len: 256 }));
        assert_eq!(parse(b"\"\"", KeyFormat::Any), Err(KeyError::Empty));
        assert_eq!(parse(b"", KeyFormat::Any), Err(KeyError::Empty));
    }

    #[test]
    fn only_printable_ascii_is_a_key() {
        for value in [&b"a\tb"[..], b"caf\xc3\xa9", b"\xff"] {
            assert_eq!(parse(value, KeyFormat::Any), Err(KeyError::NotAscii), "{value:?}");
        }
        assert_eq!(parse(b"a!~ b", KeyFormat::Any).unwrap(), "a!~ b");
    }

    #[test]
    fn uuid_formats_are_strict() {
        let v4 = b"8e03978e-40d5-43dd-bc93-6894a57f9324";
        let v7 = b"01890a5d-ac96-774b-bcce-b302099a8057";
        assert!(parse(v4, KeyFormat::Uuid).is_ok() && parse(v4, KeyFormat::Uuid4).is_ok());
        assert!(parse(v7, KeyFormat::Uuid).is_ok());
        assert_eq!(parse(v7, KeyFormat::Uuid4), Err(KeyError::NotUuid4));
        for other in [
            &b"8e03978e40d543ddbc936894a57f9324"[..],
            b"k",
            b"{8e03978e-40d5-43dd-bc93-6894a57f932}",
        ] {
            assert_eq!(parse(other, KeyFormat::Uuid), Err(KeyError::NotUuid));
        }
    }

    #[test]
    fn a_uuid_is_the_same_key_in_capital_letters() {
        for format in [KeyFormat::Uuid, KeyFormat::Uuid4] {
            let small = parse(b"8e03978e-40d5-43dd-bc93-6894a57f9324", format).unwrap();
            assert_eq!(small, "8e03978e-40d5-43dd-bc93-6894a57f9324");
            let capital = parse(b"\"8E03978E-40D5-43DD-BC93-6894A57F9324\"", format);
            assert_eq!(capital.unwrap(), small);
        }
        assert_ne!(parse(b"K", KeyFormat::Any), parse(b"k", KeyFormat::Any));
    }

    #[test]
    fn debug_output_does_not_tell_the_key() {
        let key = IdempotencyKey("secret".into());
        assert!(!format!("{key:?}").contains("secret"));
    }
}
