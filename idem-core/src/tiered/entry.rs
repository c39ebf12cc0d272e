//! What is kept in a cache: a completed record, and everything that is checked before it is replayed.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::StatusCode;

use super::origin::Origin;
use crate::{
    cache::Found,
    fingerprint::Fingerprint,
    record::{RECORD_VERSION, RecordId, StoredResponse},
    store::{Claimed, Judged},
};

/// What all entries begin with, whatever their format.
const MAGIC: &[u8; 4] = b"idem";

/// The version of the format that this build writes and reads.
const FORMAT: u16 = 1;

/// Magic, format, checksum.
const HEAD: usize = 4 + 2 + 4;

/// A completed record, as far as a replay needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) fingerprint: Fingerprint,
    /// How old the record is when the entry's time has passed.
    pub(super) age_at_end: Duration,
    /// For how long the record lives on after that.
    pub(super) left_at_end: Duration,
    pub(super) response: StoredResponse,
}

impl Entry {
    /// The verdict of the store that this is a copy of, on a claim with that fingerprint.
    pub(super) fn judge(self, fingerprint: &Fingerprint, expires_in: Duration) -> Judged {
        let age = Some(self.age_at_end.saturating_sub(expires_in));
        if self.fingerprint != *fingerprint {
            return Judged::new(Claimed::Mismatch, age);
        }
        let expires_in = Some(self.left_at_end + expires_in);
        Judged { claimed: Claimed::Completed(self.response), age, expires_in }
    }

    /// The bytes of the entry for a record.
    pub(super) fn encode(&self, origin: Origin, id: &RecordId) -> Bytes {
        let Self { fingerprint, age_at_end, left_at_end, response } = self;
        let lines = response.header_lines();
        let mut bytes = BytesMut::with_capacity(HEAD + 128 + lines.len() + response.size());
        bytes.put_slice(MAGIC);
        bytes.put_u16(FORMAT);
        bytes.put_u32(0);
        bytes.put_i16(RECORD_VERSION);
        bytes.put_slice(origin.as_bytes());
        bytes.put_slice(id.digest());
        bytes.put_slice(fingerprint.as_bytes());
        bytes.put_u64(milliseconds(*age_at_end));
        bytes.put_u64(milliseconds(*left_at_end));
        bytes.put_u16(response.status.as_u16());
        bytes.put_u64(lines.len() as u64);
        bytes.put_slice(&lines);
        bytes.put_u8(u8::from(response.body.is_some()));
        bytes.put_slice(response.body.as_deref().unwrap_or_default());
        let checksum = crc32fast::hash(&bytes[HEAD..]);
        bytes[HEAD - 4..HEAD].copy_from_slice(&checksum.to_be_bytes());
        bytes.freeze()
    }

    /// Reads an entry for a record.
    ///
    /// # Errors
    ///
    /// Says why it cannot be used.
    pub(super) fn decode(bytes: &Bytes, origin: Origin, id: &RecordId) -> Result<Self, Unusable> {
        let mut bytes = bytes.clone();
        let head = bytes.get(..HEAD).ok_or(Unusable::Foreign)?;
        if !head.starts_with(MAGIC) {
            return Err(Unusable::Foreign);
        }
        if head[4..6] != FORMAT.to_be_bytes() {
            return Err(Unusable::Version);
        }
        if head[6..] != crc32fast::hash(&bytes[HEAD..]).to_be_bytes() {
            return Err(Unusable::Damaged);
        }
        bytes.advance(HEAD);
        if bytes.try_get_i16()? != RECORD_VERSION {
            return Err(Unusable::Version);
        }
        if Origin::from_bytes(array(&mut bytes)?) != origin {
            return Err(Unusable::OfAnotherStore);
        }
        if array(&mut bytes)? != *id.digest() {
            return Err(Unusable::Foreign);
        }
        let fingerprint = Fingerprint::from_bytes(array(&mut bytes)?);
        let age_at_end = Duration::from_millis(bytes.try_get_u64()?);
        let left_at_end = Duration::from_millis(bytes.try_get_u64()?);
        let status = StatusCode::from_u16(bytes.try_get_u16()?).map_err(|_| Unusable::Damaged)?;
        let length = usize::try_from(bytes.try_get_u64()?).map_err(|_| Unusable::Damaged)?;
        if length > bytes.len() {
            return Err(Unusable::Damaged);
        }
        let headers = StoredResponse::parse_header_lines(&bytes.split_to(length));
        let headers = headers.ok_or(Unusable::Damaged)?;
        let body = match bytes.try_get_u8()? {
            0 if bytes.is_empty() => None,
            1 => Some(bytes),
            _ => return Err(Unusable::Damaged),
        };
        let response = StoredResponse { status, headers, body };
        Ok(Self { fingerprint, age_at_end, left_at_end, response })
    }

    /// Reads what a cache has found, and judges a claim by it.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub(super) fn judged(
        found: &Found,
        origin: Origin,
        id: &RecordId,
        fingerprint: &Fingerprint,
    ) -> Result<Judged, Unusable> {
        let entry = Self::decode(&found.value, origin, id)?;
        Ok(entry.judge(fingerprint, found.expires_in))
    }
}

/// Why a cached value cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it is no entry for this record")]
    Foreign,
    #[error("it has the format of another version")]
    Version,
    #[error("it is damaged")]
    Damaged,
    #[error("it is of another store: give each a cache, or a prefix, of its own")]
    OfAnotherStore,
}

/// Nothing is cut off where the checksum is right.
impl From<bytes::TryGetError> for Unusable {
    fn from(_: bytes::TryGetError) -> Self {
        Self::Damaged
    }
}

fn array<const N: usize>(bytes: &mut Bytes) -> Result<[u8; N], Unusable> {
    let mut array = [0; N];
    bytes.try_copy_to_slice(&mut array)?;
    Ok(array)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::test_support::{fingerprint, record_id};

    const ORIGIN: Origin = Origin::from_bytes([7; 16]);

    fn entry(body: Option<&'static [u8]>) -> Entry {
        let headers = vec![
            (http::header::LINK, HeaderValue::from_static("<a>; rel=x")),
            (http::header::ETAG, HeaderValue::from_bytes(b"\"caf\xe9: \"").expect("a value")),
            (http::header::LINK, HeaderValue::from_static("")),
        ];
        Entry {
            fingerprint: fingerprint("a"),
            age_at_end: Duration::from_secs(5),
            left_at_end: Duration::from_hours(23),
            response: StoredResponse {
                status: StatusCode::CREATED,
                headers,
                body: body.map(Bytes::from_static),
            },
        }
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let id = record_id("k");
        for body in [None, Some(&b""[..]), Some(b"\0\xff\r\n")] {
            let entry = entry(body);
            assert_eq!(Entry::decode(&entry.encode(ORIGIN, &id), ORIGIN, &id), Ok(entry));
        }
    }

    #[test]
    fn of_an_entry_every_bit_counts() {
        let id = record_id("k");
        let bytes = entry(Some(b"body")).encode(ORIGIN, &id);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Entry::decode(&changed.into(), ORIGIN, &id).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Entry::decode(&bytes.slice(..length), ORIGIN, &id).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn an_entry_is_of_one_record_in_one_store() {
        let id = record_id("k");
        let bytes = entry(None).encode(ORIGIN, &id);
        let other = record_id("other");
        assert_eq!(Entry::decode(&bytes, ORIGIN, &other), Err(Unusable::Foreign));
        let elsewhere = Origin::from_bytes([8; 16]);
        assert_eq!(Entry::decode(&bytes, elsewhere, &id), Err(Unusable::OfAnotherStore));
    }

    #[test]
    fn what_another_version_wrote_is_told_from_damage() {
        let id = record_id("k");
        let mut bytes = entry(None).encode(ORIGIN, &id).to_vec();
        bytes[5] += 1;
        assert_eq!(Entry::decode(&bytes.into(), ORIGIN, &id), Err(Unusable::Version));
        let mut bytes = entry(None).encode(ORIGIN, &id).to_vec();
        bytes[HEAD + 1] += 1;
        let checksum = crc32fast::hash(&bytes[HEAD..]).to_be_bytes();
        bytes[HEAD - 4..HEAD].copy_from_slice(&checksum);
        assert_eq!(Entry::decode(&bytes.into(), ORIGIN, &id), Err(Unusable::Version));
    }

    #[test]
    fn age_and_expiry_go_on_in_the_cache() {
        let judged = entry(None).judge(&fingerprint("a"), Duration::from_secs(3));
        assert_eq!(judged.age, Some(Duration::from_secs(2)));
        let expires_in = Duration::from_hours(23) + Duration::from_secs(3);
        assert_eq!(judged.expires_in, Some(expires_in));
        let other = entry(None).judge(&fingerprint("b"), Duration::from_secs(3));
        assert_eq!(other, Judged::new(Claimed::Mismatch, Some(Duration::from_secs(2))));
    }
}
