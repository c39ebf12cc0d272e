//! Records: what is stored about a key, and what identifies it.

use std::{
    borrow::{Borrow, Cow},
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    derived_key::DerivedKey,
    fingerprint::Fingerprint,
    key::{IdempotencyKey, MAX_KEY_LEN},
    scope::ScopeValue,
};

/// The version of the record format that this crate writes and reads. A record of another version
/// is refused, never guessed at.
pub const RECORD_VERSION: i16 = 1;

/// What identifies a record: operation, scope and key, encoded without ambiguity.
///
/// Cheap to clone. Two are equal if their digests are, whatever there is to read beside them. Its
/// `Debug` output shows only the operation.
#[derive(Clone)]
pub struct RecordId(Arc<Parts>);

struct Parts {
    digest: [u8; 32],
    operation: String,
    scope: String,
    key: String,
}

impl RecordId {
    /// The id of the record for a key that a client sent.
    ///
    /// ```
    /// # use http::{HeaderMap, HeaderName};
    /// # use idem_core::{IdempotencyKey, KeyFormat, RecordId, ScopeValue};
    /// # let name = HeaderName::from_static("idempotency-key");
    /// # let mut headers = HeaderMap::new();
    /// # headers.insert(&name, "k".parse().unwrap());
    /// # let key = IdempotencyKey::from_headers(&headers, &name, KeyFormat::Any).unwrap().unwrap();
    /// let ann = RecordId::sent("POST /payments", &ScopeValue::of("ann"), &key);
    /// let bob = RecordId::sent("POST /payments", &ScopeValue::of("bob"), &key);
    /// assert_ne!(ann.digest(), bob.digest());
    /// ```
    pub fn sent(operation: &str, scope: &ScopeValue, key: &IdempotencyKey) -> Self {
        let key = key.as_str();
        Self::new(b"sent", operation, scope, (key.as_bytes(), key))
    }

    /// The id of the record for a key that the endpoint derived from the request. It never is the
    /// record of a key that a client sent.
    pub fn derived(operation: &str, scope: &ScopeValue, key: &DerivedKey) -> Self {
        Self::new(b"derived", operation, scope, (key.bytes(), key.text()))
    }

    /// The id of the record for a key that the endpoint derived because the client sent none. It
    /// never is the record of any other kind of key.
    pub fn fallback(operation: &str, scope: &ScopeValue, key: &DerivedKey) -> Self {
        Self::new(b"fallback", operation, scope, (key.bytes(), key.text()))
    }

    fn new(
        source: &[u8],
        operation: &str,
        scope: &ScopeValue,
        (key, key_text): (&[u8], &str),
    ) -> Self {
        let mut digest = Sha256::new();
        for part in [source, operation.as_bytes(), scope.bytes(), key] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self(Arc::new(Parts {
            digest: digest.finalize().into(),
            operation: readable(operation),
            scope: readable(scope.text()),
            key: readable(&beginning(key_text)),
        }))
    }

    /// An id read back from a store: what [`digest`](Self::digest), [`operation`](Self::operation),
    /// [`scope`](Self::scope) and [`key`](Self::key) gave when it was stored.
    pub fn from_stored(digest: [u8; 32], operation: String, scope: String, key: String) -> Self {
        Self(Arc::new(Parts { digest, operation, scope, key }))
    }

    /// The primary key in every store: SHA-256 over the length-prefixed parts.
    pub fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }

    /// The operation, readable.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// The scope, readable. Personal data: keep it out of logs.
    pub fn scope(&self) -> &str {
        &self.0.scope
    }

    /// The key, readable; of a longer one that an endpoint derived, the first 255 characters. Keep it
    /// out of logs.
    pub fn key(&self) -> &str {
        &self.0.key
    }
}

impl PartialEq for RecordId {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Eq for RecordId {}

/// So that tables of ids are searched by what stores know of them.
impl Borrow<[u8; 32]> for RecordId {
    fn borrow(&self) -> &[u8; 32] {
        self.digest()
    }
}

impl Hash for RecordId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest().hash(state);
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordId({})", self.0.operation)
    }
}

/// Derived keys are of any length, and people need to see only so much of them.
fn beginning(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_KEY_LEN) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Escapes control characters, which text columns refuse or terminals act upon.
fn readable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A random 128-bit id that each claim draws. Every later write of the claim's owner must match it,
/// so that no deletion or sweep can ever make an old owner current again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptId(Uuid);

impl AttemptId {
    /// Draws a new id from the operating system's random source.
    pub fn draw() -> Self {
        Self(Uuid::new_v4())
    }

    /// The id as stores write it.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// An id read back from a store.
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }
}

/// A number from a store-wide sequence that grows with each claim of a record, also after the
/// record was deleted and whatever the clock does. Hand it to systems that can refuse an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(i64);

impl Fence {
    /// A fence drawn by a store.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// Who may write a record: the attempt that claimed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The record.
    pub id: RecordId,
    /// The attempt that claimed it.
    pub attempt: AttemptId,
}

impl Owner {
    /// A new attempt at a record.
    pub fn draw(id: RecordId) -> Self {
        Self { id, attempt: AttemptId::draw() }
    }
}

/// Where a record is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Claimed and not ended; its lease holds, or has lapsed and may be taken over.
    InFlight,
    /// Done; its answer is replayed.
    Completed,
    /// Ended without a final answer; a retry executes again.
    Failed,
    /// The outcome is unknown; nobody executes it again without a decision.
    Held,
}

/// A response as it is stored: the status, the kept headers in order with repeats, and the body, or
/// `None` when the body was too large or streamed and so was not kept.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// The status.
    pub status: StatusCode,
    /// The kept headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body, if it was kept.
    pub body: Option<Bytes>,
}

impl StoredResponse {
    /// The headers as HTTP/1 field lines: the same bytes come back, and people can read them.
    ///
    /// ```
    /// # use http::{HeaderValue, StatusCode, header::LOCATION};
    /// # use idem_core::StoredResponse;
    /// let headers = vec![(LOCATION, HeaderValue::from_static("/payments/1"))];
    /// let stored = StoredResponse { status: StatusCode::CREATED, headers, body: None };
    /// assert_eq!(stored.header_lines(), b"location: /payments/1\r\n");
    /// assert_eq!(StoredResponse::parse_header_lines(&stored.header_lines()).unwrap(), stored.headers);
    /// ```
    pub fn header_lines(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in &self.headers {
            out.extend(name.as_str().as_bytes());
            out.extend(b": ");
            out.extend(value.as_bytes());
            out.extend(b"\r\n");
        }
        out
    }

    /// Reads what [`header_lines`](Self::header_lines) wrote; `None` if it is anything else.
    pub fn parse_header_lines(lines: &[u8]) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let mut headers = Vec::new();
        let mut rest = lines;
        while !rest.is_empty() {
            let end = rest.windows(2).position(|it| it == b"\r\n")?;
            let (line, after) = (&rest[..end], &rest[end + 2..]);
            let colon = line.windows(2).position(|it| it == b": ")?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            let value = HeaderValue::from_bytes(&line[colon + 2..]).ok()?;
            headers.push((name, value));
            rest = after;
        }
        Some(headers)
    }

    /// About how many bytes the response takes in a store.
    pub fn size(&self) -> usize {
        let headers =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        headers.sum::<usize>() + self.body.as_ref().map_or(0, Bytes::len)
    }
}

impl fmt::Debug for StoredResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredResponse({}, …)", self.status.as_u16())
    }
}

/// What a store knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// What the first request asked for.
    pub fingerprint: Fingerprint,
    /// Where the record is in its life, by the store's clock.
    pub state: State,
    /// The attempt that claimed it last.
    pub attempt: AttemptId,
    /// That attempt's fence.
    pub fence: Fence,
    /// Executions so far, the running one included.
    pub number: u32,
    /// The answer of a completed record.
    pub response: Option<StoredResponse>,
}

impl Record {
    /// A record as a store read it.
    pub const fn new(
        fingerprint: Fingerprint,
        state: State,
        attempt: AttemptId,
        fence: Fence,
        number: u32,
        response: Option<StoredResponse>,
    ) -> Self {
        Self { fingerprint, state, attempt, fence, number, response }
    }
}

/// A record whose outcome is unknown, until somebody decides: its execution panicked under
/// `recover = "hold"`, or was cut off and its lease has run out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// The record.
    pub id: RecordId,
    /// The attempt that was cut off.
    pub attempt_id: AttemptId,
    /// That attempt's fence.
    pub fence: Fence,
    /// Executions so far, the one that was cut off included.
    pub number: u32,
    /// For how long it has been held, by the store's clock: since its lease ran out, or since the
    /// panic was recorded.
    pub held_for: Duration,
}

impl Held {
    /// A held record as a store read it.
    pub const fn new(
        id: RecordId,
        attempt_id: AttemptId,
        fence: Fence,
        number: u32,
        held_for: Duration,
    ) -> Self {
        Self { id, attempt_id, fence, number, held_for }
    }

    /// The attempt that was cut off, as the owner that it was.
    pub fn owner(&self) -> Owner {
        Owner { id: self.id.clone(), attempt: self.attempt_id }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn header_lines_keep_order_repeats_and_bytes() {
        let headers = vec![
            (http::header::LINK, HeaderValue::from_static("<a>; rel=x")),
            (http::header::ETAG, HeaderValue::from_bytes(b"\"caf\xe9: \"").expect("a value")),
            (http::header::LINK, HeaderValue::from_static("")),
        ];
        let stored = StoredResponse { status: StatusCode::OK, headers, body: None };
        let parsed = StoredResponse::parse_header_lines(&stored.header_lines());
        assert_eq!(parsed.as_ref(), Some(&stored.headers));
        assert_eq!(StoredResponse::parse_header_lines(b"no line end"), None);
        assert_eq!(StoredResponse::parse_header_lines(b"no colon\r\n"), None);
    }

    #[test]
    fn control_characters_are_escaped_for_readers() {
        let odd = "a\0b\u{1b}";
        let id = RecordId::derived("op", &ScopeValue::of(odd), &DerivedKey::of(odd));
        assert_eq!(id.scope(), "a\\u{0}b\\u{1b}");
        assert_eq!(id.key(), id.scope());
    }

    #[test]
    fn of_a_long_key_every_character_counts_and_the_beginning_is_readable() {
        let of = |key: &str| RecordId::derived("op", &ScopeValue::global(), &DerivedKey::of(key));
        let longest = "ä".repeat(MAX_KEY_LEN);
        assert_eq!(of(&longest).key(), longest);
        let [one, other] = ["1", "2"].map(|last| of(&format!("{longest}{last}")));
        assert_eq!(one.key(), format!("{longest}…"));
        assert_eq!(one.key(), other.key());
        assert_ne!(one.digest(), other.digest());
    }

    #[test]
    fn keys_of_different_sources_never_meet() {
        let scope = ScopeValue::global();
        let text = "same";
        let derived = DerivedKey::of(text);
        let bytes = (derived.bytes(), text);
        let ids = [
            RecordId::new(b"sent", "op", &scope, bytes),
            RecordId::derived("op", &scope, &derived),
            RecordId::fallback("op", &scope, &derived),
        ];
        let digests: HashSet<_> = ids.iter().map(RecordId::digest).collect();
        assert_eq!(digests.len(), ids.len());
    }

    #[test]
    fn a_stored_id_is_the_id_that_was_stored() {
        let key = DerivedKey::of("k\\u{0}");
        let id = RecordId::derived("op\n", &ScopeValue::of(&("a\0b", 1)), &key);
        let [operation, scope, key] = [id.operation(), id.scope(), id.key()].map(str::to_owned);
        let stored = RecordId::from_stored(*id.digest(), operation, scope, key);
        assert_eq!(stored, id);
        let readable = |id: &RecordId| [id.operation(), id.scope(), id.key()].map(str::to_owned);
        assert_eq!(readable(&stored), readable(&id));
    }

    #[test]
    fn what_is_there_to_read_makes_no_other_id() {
        let id = RecordId::derived("op", &ScopeValue::of("ann"), &DerivedKey::of("k"));
        let blanked = RecordId::from_stored(*id.digest(), "op".into(), "-".into(), "-".into());
        assert_eq!(blanked, id);
        assert!(HashSet::from([id]).contains(&blanked));
    }
}
