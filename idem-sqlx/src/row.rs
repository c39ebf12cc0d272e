//! Rows as they come back, and what they mean.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use idem_core::{
    After, AttemptId, Claimed, Fence, Fingerprint, Held, Judged, RECORD_VERSION, Record, RecordId,
    State, StoreError, StoredResponse, Written,
};
use uuid::Uuid;

/// What a write answers for each row that it hit.
pub(crate) type Hit = (i32,);

/// Verdict, version, fence, number, status, headers, body, whether it is a takeover, age in
/// milliseconds, in how many milliseconds it expires.
pub(crate) type ClaimRow = (
    String,
    i16,
    i64,
    i32,
    Option<i16>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    bool,
    Option<i64>,
    Option<i64>,
);

/// Version, fingerprint, state, attempt, fence, number, status, headers, body.
pub(crate) type RecordRow =
    (i16, Vec<u8>, i16, Uuid, i64, i32, Option<i16>, Option<Vec<u8>>, Option<Vec<u8>>);

/// Id, operation, scope, key, attempt, fence, number, held for milliseconds.
pub(crate) type HeldRow = (Vec<u8>, String, String, String, Uuid, i64, i32, i64);

pub(crate) const IN_FLIGHT: i16 = 1;
pub(crate) const COMPLETED: i16 = 2;
pub(crate) const FAILED: i16 = 3;
pub(crate) const HELD: i16 = 4;

/// Whether an owner's write was accepted, from its rows and, if there is none, from a look at
/// whether the owner wrote the same before.
pub(crate) async fn settled(
    write: impl Future<Output = Result<Vec<Hit>, StoreError>>,
    look: impl Future<Output = Result<Vec<Hit>, StoreError>>,
) -> Result<Written, StoreError> {
    if !write.await?.is_empty() {
        return Ok(Written::Accepted);
    }
    Ok(Written::from_hit(!look.await?.is_empty()))
}

/// The engine's form of a verdict; `None` when the record may be won by writing it.
pub(crate) fn judged(row: ClaimRow) -> Result<Option<Judged>, StoreError> {
    let (verdict, version, fence, number, status, headers, body, takeover, age, expires_in) = row;
    let claimed = match verdict.as_str() {
        "won" => Claimed::Won {
            fence: Fence::new(fence),
            number: executions(number)?,
            after: match number {
                _ if takeover => After::Lapse,
                ..=1 => After::Nothing,
                _ => After::Failure,
            },
        },
        "completed" => Claimed::Completed(response(status, headers, body)?),
        "mismatch" => Claimed::Mismatch,
        "in flight" => Claimed::InFlight,
        "held" => Claimed::Held,
        "expired" | "failed" | "lapsed" => return Ok(None),
        "version" => return Err(StoreError::UnknownVersion(version)),
        _ => return Err(StoreError::Damaged("the state is unknown")),
    };
    let expires_in = match claimed {
        Claimed::Completed(_) => expires_in.map(remaining),
        _ => None,
    };
    Ok(Some(Judged { claimed, age: age.map(elapsed), expires_in }))
}

/// A clock that was set back makes nothing younger than new.
fn elapsed(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default())
}

/// A millisecond less than the database says, which may have rounded up.
fn remaining(milliseconds: i64) -> Duration {
    elapsed(milliseconds.saturating_sub(1))
}

pub(crate) fn record(row: RecordRow) -> Result<Record, StoreError> {
    let (version, fingerprint, state, attempt, fence, number, status, headers, body) = row;
    if version != RECORD_VERSION {
        return Err(StoreError::UnknownVersion(version));
    }
    let fingerprint = fingerprint
        .try_into()
        .map_err(|_| StoreError::Damaged("the fingerprint does not have 32 bytes"))?;
    let state = match state {
        IN_FLIGHT => State::InFlight,
        COMPLETED => State::Completed,
        FAILED => State::Failed,
        HELD => State::Held,
        _ => return Err(StoreError::Damaged("the state is unknown")),
    };
    let response = match state {
        State::Completed => Some(response(status, headers, body)?),
        _ => None,
    };
    Ok(Record::new(
        Fingerprint::from_bytes(fingerprint),
        state,
        AttemptId::from_uuid(attempt),
        Fence::new(fence),
        executions(number)?,
        response,
    ))
}

pub(crate) fn held(row: HeldRow) -> Result<Held, StoreError> {
    let (id, operation, scope, key, attempt, fence, number, held_for) = row;
    let digest = id.try_into().map_err(|_| StoreError::Damaged("the id does not have 32 bytes"))?;
    Ok(Held::new(
        RecordId::from_stored(digest, operation, scope, key),
        AttemptId::from_uuid(attempt),
        Fence::new(fence),
        executions(number)?,
        elapsed(held_for),
    ))
}

fn response(
    status: Option<i16>,
    headers: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
) -> Result<StoredResponse, StoreError> {
    let status = status
        .and_then(|it| u16::try_from(it).ok())
        .and_then(|it| StatusCode::from_u16(it).ok())
        .ok_or(StoreError::Damaged("the status is not one of HTTP"))?;
    let headers = headers
        .and_then(|it| StoredResponse::parse_header_lines(&it))
        .ok_or(StoreError::Damaged("the headers are not field lines"))?;
    Ok(StoredResponse { status, headers, body: body.map(Bytes::from) })
}

fn executions(number: i32) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| StoreError::Damaged("the number of executions is negative"))
}
