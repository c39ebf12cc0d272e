//! Replies as they come back, and what they mean.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use idem_core::{
    After, AttemptId, Claimed, Fence, Fingerprint, Held, Judged, Record, RecordId, State,
    StoreError, StoredResponse, Written,
};
use redis::{Value, from_redis_value};
use uuid::Uuid;

const STRANGE: &str = "a script gave an answer that it cannot give";
const VERSION: &str = "a key of ours holds a hash without a version of ours";
const FENCE: &str = "the fence is no number";
const NUMBER: &str = "the number of executions is no number";
const ATTEMPT: &str = "the attempt is no id";

/// What a script answered: when it ran, how it decided, and more by the verdict.
pub(crate) struct Reply {
    pub(crate) server_time: i64,
    pub(crate) verdict: String,
    fields: std::vec::IntoIter<Option<Vec<u8>>>,
}

impl Reply {
    pub(crate) fn parse(value: Value) -> Result<Self, StoreError> {
        let fields: Vec<Option<Vec<u8>>> =
            from_redis_value(value).map_err(|_| StoreError::Damaged(STRANGE))?;
        let mut fields = fields.into_iter();
        let mut header = || text(fields.next().flatten(), STRANGE);
        let (server_time, verdict) = (number(&header()?, STRANGE)?, header()?);
        Ok(Self { server_time, verdict, fields })
    }

    /// Whether somebody goes on as if it were there to stay.
    pub(crate) fn needs_replicas(&self) -> bool {
        matches!(self.verdict.as_str(), "won" | "completed" | "accepted" | "gone")
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        self.fields.next().flatten()
    }

    fn text(&mut self, otherwise: &'static str) -> Result<String, StoreError> {
        text(self.bytes(), otherwise)
    }

    fn is_empty(&self) -> bool {
        self.fields.len() == 0
    }

    fn number<T: std::str::FromStr>(&mut self, otherwise: &'static str) -> Result<T, StoreError> {
        number(&self.text(otherwise)?, otherwise)
    }

    fn after(&mut self) -> Result<After, StoreError> {
        const AFTER: &str = "what the execution follows is unknown";
        match self.text(AFTER)?.as_str() {
            "nothing" => Ok(After::Nothing),
            "failure" => Ok(After::Failure),
            "lapse" => Ok(After::Lapse),
            _ => Err(StoreError::Damaged(AFTER)),
        }
    }

    /// A millisecond less than the server says: its script does not know its own time more exactly.
    fn expires_in(&mut self) -> Result<Option<Duration>, StoreError> {
        match self.text(STRANGE)?.as_str() {
            "" => Ok(None),
            text => {
                let milliseconds: u64 = number(text, STRANGE)?;
                Ok(Some(Duration::from_millis(milliseconds.saturating_sub(1))))
            }
        }
    }

    fn fence(&mut self) -> Result<Fence, StoreError> {
        self.number(FENCE).map(Fence::new)
    }

    fn attempt(&mut self) -> Result<AttemptId, StoreError> {
        let attempt = Uuid::try_parse(&self.text(ATTEMPT)?);
        attempt.map(AttemptId::from_uuid).map_err(|_| StoreError::Damaged(ATTEMPT))
    }

    fn digest(&mut self) -> Result<[u8; 32], StoreError> {
        let digest = self.bytes().and_then(|it| it.try_into().ok());
        digest.ok_or(StoreError::Damaged("the index has what is no digest"))
    }

    fn response(&mut self) -> Result<StoredResponse, StoreError> {
        const STATUS: &str = "the status is not one of HTTP";
        let status = StatusCode::from_u16(self.number(STATUS)?);
        let status = status.map_err(|_| StoreError::Damaged(STATUS))?;
        let headers = self
            .bytes()
            .and_then(|it| StoredResponse::parse_header_lines(&it))
            .ok_or(StoreError::Damaged("the headers are not field lines"))?;
        Ok(StoredResponse { status, headers, body: self.bytes().map(Bytes::from) })
    }

    /// Of a verdict that is about no operation in particular.
    fn error(mut self) -> StoreError {
        match self.verdict.as_str() {
            "version" => match self.text(VERSION).map(|it| it.parse()) {
                Ok(Ok(version)) => StoreError::UnknownVersion(version),
                _ => StoreError::Damaged(VERSION),
            },
            "damaged" => StoreError::Damaged(match self.text(STRANGE).as_deref() {
                Ok("version") => VERSION,
                Ok("state") => "the state is unknown",
                Ok("fields") => "a field is missing",
                Ok("numbers") => "a number is none, or missing",
                Ok("fences") => "the last fence of the shard is not one",
                _ => STRANGE,
            }),
            _ => StoreError::Damaged(STRANGE),
        }
    }
}

pub(crate) fn judged(mut reply: Reply) -> Result<Judged, StoreError> {
    if !matches!(&*reply.verdict, "won" | "completed" | "mismatch" | "in flight" | "held") {
        return Err(reply.error());
    }
    let age = Some(Duration::from_millis(reply.number(STRANGE)?));
    let mut expires_in = None;
    let claimed = match reply.verdict.as_str() {
        "won" => Claimed::Won {
            fence: reply.fence()?,
            number: reply.number(NUMBER)?,
            after: reply.after()?,
        },
        "completed" => {
            expires_in = reply.expires_in()?;
            Claimed::Completed(reply.response()?)
        }
        "mismatch" => Claimed::Mismatch,
        "in flight" => Claimed::InFlight,
        _ => Claimed::Held,
    };
    Ok(Judged { claimed, age, expires_in })
}

pub(crate) fn written(reply: Reply) -> Result<Written, StoreError> {
    match reply.verdict.as_str() {
        "accepted" => Ok(Written::Accepted),
        "stale" | "gone" => Ok(Written::Stale),
        _ => Err(reply.error()),
    }
}

pub(crate) fn record(mut reply: Reply) -> Result<Option<Record>, StoreError> {
    match reply.verdict.as_str() {
        "record" => {}
        "absent" => return Ok(None),
        _ => return Err(reply.error()),
    }
    let fingerprint = reply
        .bytes()
        .and_then(|it| it.try_into().ok())
        .ok_or(StoreError::Damaged("the fingerprint does not have 32 bytes"))?;
    let state = match reply.text(STRANGE)?.as_str() {
        "in flight" => State::InFlight,
        "completed" => State::Completed,
        "failed" => State::Failed,
        "held" => State::Held,
        _ => return Err(StoreError::Damaged(STRANGE)),
    };
    let (attempt, fence, number) = (reply.attempt()?, reply.fence()?, reply.number(NUMBER)?);
    let response = match state {
        State::Completed => Some(reply.response()?),
        _ => None,
    };
    let fingerprint = Fingerprint::from_bytes(fingerprint);
    Ok(Some(Record::new(fingerprint, state, attempt, fence, number, response)))
}

/// For each record that was asked for, whether it is in flight.
pub(crate) fn in_flight(reply: Reply) -> Result<Vec<bool>, StoreError> {
    if reply.verdict != "found" {
        return Err(reply.error());
    }
    Ok(reply.fields.map(|it| it.as_deref() == Some(b"1")).collect())
}

/// Digests of records, and the draw that each fence is from.
pub(crate) fn candidates(mut reply: Reply) -> Result<Vec<([u8; 32], i64)>, StoreError> {
    if reply.verdict != "found" {
        return Err(reply.error());
    }
    let mut candidates = Vec::new();
    while !reply.is_empty() {
        candidates.push((reply.digest()?, reply.number(FENCE)?));
    }
    Ok(candidates)
}

pub(crate) fn held(mut reply: Reply) -> Result<Vec<Held>, StoreError> {
    if reply.verdict != "found" {
        return Err(reply.error());
    }
    let mut held = Vec::new();
    while !reply.is_empty() {
        let digest = reply.digest()?;
        let [operation, scope, key] = [(); 3].map(|()| reply.text("a name is no text"));
        let id = RecordId::from_stored(digest, operation?, scope?, key?);
        let (attempt, fence, number) = (reply.attempt()?, reply.fence()?, reply.number(NUMBER)?);
        let held_for = Duration::from_millis(reply.number(STRANGE)?);
        held.push(Held::new(id, attempt, fence, number, held_for));
    }
    Ok(held)
}

fn text(field: Option<Vec<u8>>, otherwise: &'static str) -> Result<String, StoreError> {
    let text = field.and_then(|it| String::from_utf8(it).ok());
    text.ok_or(StoreError::Damaged(otherwise))
}

fn number<T: std::str::FromStr>(text: &str, otherwise: &'static str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged(otherwise))
}
