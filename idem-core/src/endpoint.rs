//! What one endpoint asks for, what the engine defaults to, and what follows from both.

use std::time::Duration;

use http::{
    HeaderName, StatusCode,
    header::{CONNECTION, DATE, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};

use crate::{
    key::{KeyFormat, KeySource},
    store::Recover,
    transaction::{Isolation, TransactionSettings},
};

/// A limit so that arithmetic on times never overflows, in this process or in a database.
pub(crate) const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);

/// Which statuses are final: recorded and replayed. An answer that is not final leaves a failed
/// record behind, and a retry executes again.
///
/// ```
/// use http::StatusCode;
/// use idem_core::Keep;
///
/// let keep = Keep::NONE.with(200, 499).without(429, 429);
/// assert!(keep.is_final(StatusCode::CREATED));
/// assert!(!keep.is_final(StatusCode::TOO_MANY_REQUESTS));
/// assert!(Keep::DEFAULT.is_final(StatusCode::PAYMENT_REQUIRED));
/// assert!(!Keep::DEFAULT.is_final(StatusCode::REQUEST_TIMEOUT));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep([u64; 16]);

impl Keep {
    /// No status is final.
    pub const NONE: Self = Self([0; 16]);

    /// From 200 to 499, without 408 (Request Timeout), 425 (Too Early) and 429 (Too Many Requests).
    pub const DEFAULT: Self =
        Self::NONE.with(200, 499).without(408, 408).without(425, 425).without(429, 429);

    /// Adds the statuses from `first` to `last`. Statuses above 999 do not exist and are ignored.
    #[must_use]
    pub const fn with(self, first: u16, last: u16) -> Self {
        self.set(first, last, true)
    }

    /// Takes the statuses from `first` to `last` away.
    #[must_use]
    pub const fn without(self, first: u16, last: u16) -> Self {
        self.set(first, last, false)
    }

    const fn set(mut self, first: u16, last: u16, on: bool) -> Self {
        let mut status = first;
        while status <= last && status <= 999 {
            let (word, bit) = ((status / 64) as usize, 1 << (status % 64));
            if on {
                self.0[word] |= bit;
            } else {
                self.0[word] &= !bit;
            }
            status += 1;
        }
        self
    }

    /// Whether an answer of this status is recorded and replayed.
    pub const fn is_final(&self, status: StatusCode) -> bool {
        let status = status.as_u16();
        self.0[(status / 64) as usize] & (1 << (status % 64)) != 0
    }
}

/// What happens to a request when the store cannot answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStoreError {
    /// The handler does not run; the client gets a 503.
    #[default]
    Refuse,
    /// The handler runs without protection, with a warning in the log each time.
    Bypass,
}

/// What happens to a request while another one with its key runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// It is refused at once.
    #[default]
    Reject,
    /// It waits for the other one's answer, and runs if there will be none.
    Wait,
}

/// How an endpoint's fingerprint covers the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyFingerprint {
    /// Canonical JSON for JSON bodies, bytes for others.
    #[default]
    Json,
    /// The bytes.
    Bytes,
    /// Not at all.
    None,
}

/// What one endpoint asks for; the `#[idempotent]` attribute writes it. What is not set is the
/// engine's default.
#[derive(Clone, Debug)]
#[must_use]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of the attribute")]
pub struct Endpoint {
    pub(crate) operation: Option<&'static str>,
    pub(crate) keys: KeySource,
    pub(crate) header: Option<&'static str>,
    pub(crate) required: bool,
    pub(crate) key_format: KeyFormat,
    pub(crate) fingerprint: BodyFingerprint,
    pub(crate) query: bool,
    pub(crate) ttl: Option<Duration>,
    pub(crate) failed_ttl: Option<Duration>,
    pub(crate) lease: Option<Duration>,
    pub(crate) recover: Recover,
    pub(crate) keep: Option<Keep>,
    pub(crate) max_body: Option<usize>,
    pub(crate) max_response: Option<usize>,
    pub(crate) on_store_error: OnStoreError,
    pub(crate) on_conflict: OnConflict,
    pub(crate) wait: Option<Duration>,
    pub(crate) transactional: bool,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) lock_timeout: Option<Duration>,
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) commit_on_error: bool,
    pub(crate) retries: u32,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $ty:ty = $value:expr;)*) => {$(
        $(#[$doc])*
        pub const fn $name(mut self, $name: $ty) -> Self {
            self.$name = $value;
            self
        }
    )*};
}

impl Endpoint {
    /// An endpoint with nothing but defaults.
    pub const fn new() -> Self {
        Self {
            operation: None,
            keys: KeySource::Sent,
            header: None,
            required: true,
            key_format: KeyFormat::Any,
            fingerprint: BodyFingerprint::Json,
            query: true,
            ttl: None,
            failed_ttl: None,
            lease: None,
            recover: Recover::Retry,
            keep: None,
            max_body: None,
            max_response: None,
            on_store_error: OnStoreError::Refuse,
            on_conflict: OnConflict::Reject,
            wait: None,
            transactional: false,
            isolation: None,
            lock_timeout: None,
            statement_timeout: None,
            idle_timeout: None,
            commit_on_error: false,
            retries: 0,
        }
    }

    setters! {
        /// Names the operation instead of method and route template.
        operation: &'static str = Some(operation);
        /// Where the keys come from.
        keys: KeySource = keys;
        /// The request header that carries the key. It must be a valid header name in lower case.
        header: &'static str = Some(header);
        /// Whether a request without a key is refused (the default) or passes through unguarded.
        required: bool = required;
        /// Which keys are accepted.
        key_format: KeyFormat = key_format;
        /// How the fingerprint covers the body.
        fingerprint: BodyFingerprint = fingerprint;
        /// Whether the fingerprint covers the query (the default).
        query: bool = query;
        /// How long a completed record is replayed.
        ttl: Duration = Some(ttl);
        /// How long a failed record stays visible.
        failed_ttl: Duration = Some(failed_ttl);
        /// How long a claim holds without renewal.
        lease: Duration = Some(lease);
        /// What happens to an execution that was cut off.
        recover: Recover = recover;
        /// Which statuses are final.
        keep: Keep = Some(keep);
        /// The largest request body, in bytes.
        max_body: usize = Some(max_body);
        /// The largest response body that is kept, in bytes.
        max_response: usize = Some(max_response);
        /// What happens when the store cannot answer.
        on_store_error: OnStoreError = on_store_error;
        /// What happens to a request while another one with its key runs.
        on_conflict: OnConflict = on_conflict;
        /// How long a request waits for another one's answer.
        wait: Duration = Some(wait);
        /// Whether the handler runs in a transaction of the store's database.
        transactional: bool = transactional;
        /// How far that transaction is kept apart from others.
        isolation: Isolation = Some(isolation);
        /// How long a statement of that transaction waits for a lock.
        lock_timeout: Duration = Some(lock_timeout);
        /// How long a statement of that transaction may take.
        statement_timeout: Duration = Some(statement_timeout);
        /// How long that transaction may be open without a statement.
        idle_timeout: Duration = Some(idle_timeout);
        /// Whether a final answer of 400 or above commits, too.
        commit_on_error: bool = commit_on_error;
        /// How many times a handler runs again whose transaction met another one.
        retries: u32 = retries;
    }

    /// The name that replaces method and route template, if there is one.
    pub const fn operation_name(&self) -> Option<&'static str> {
        self.operation
    }

    /// Where the keys come from.
    pub const fn key_source(&self) -> KeySource {
        self.keys
    }

    /// Whether a request must carry a key.
    pub const fn is_required(&self) -> bool {
        self.required
    }

    /// Which keys are accepted.
    pub const fn accepted_keys(&self) -> KeyFormat {
        self.key_format
    }

    /// How the fingerprint covers the body.
    pub const fn body_fingerprint(&self) -> BodyFingerprint {
        self.fingerprint
    }

    /// Whether the fingerprint covers the query.
    pub const fn covers_query(&self) -> bool {
        self.query
    }

    /// Whether the handler runs in a transaction.
    pub const fn is_transactional(&self) -> bool {
        self.transactional
    }

    /// How long a request waits for another one's answer, if it does.
    pub(crate) fn patience(&self, defaults: &Defaults) -> Option<Duration> {
        match self.on_conflict {
            OnConflict::Reject => None,
            OnConflict::Wait => Some(self.wait.unwrap_or(defaults.wait).min(LONGEST)),
        }
    }

    pub(crate) fn transaction(&self, defaults: &Defaults) -> TransactionSettings {
        TransactionSettings {
            isolation: self.isolation,
            lock_timeout: self.lock_timeout,
            statement_timeout: self.statement_timeout,
            idle_timeout: self.idle_timeout.unwrap_or(defaults.idle_timeout).min(LONGEST),
        }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::new()
    }
}

/// What the engine does where an endpoint says nothing.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    pub(crate) ttl: Duration,
    pub(crate) failed_ttl: Duration,
    pub(crate) lease: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) wait: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) keep: Keep,
    pub(crate) max_body: Option<usize>,
    pub(crate) max_response: usize,
    pub(crate) key_header: HeaderName,
    pub(crate) replayed_header: HeaderName,
    pub(crate) stored_header: Option<HeaderName>,
    pub(crate) dropped_headers: Vec<HeaderName>,
    pub(crate) store_timeout: Duration,
    pub(crate) record_deadline: Duration,
    pub(crate) retry_after: Duration,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            ttl: Duration::from_hours(24),
            failed_ttl: Duration::from_hours(24),
            lease: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(1),
            wait: Duration::from_secs(10),
            poll_interval: Duration::from_millis(100),
            keep: Keep::DEFAULT,
            max_body: None,
            max_response: 1024 * 1024,
            key_header: HeaderName::from_static("idempotency-key"),
            replayed_header: HeaderName::from_static("idempotency-replayed"),
            stored_header: None,
            dropped_headers: vec![DATE, SET_COOKIE],
            store_timeout: Duration::from_secs(5),
            record_deadline: Duration::from_mins(5),
            retry_after: Duration::from_secs(1),
        }
    }
}

/// Headers of one connection, not of the answer
/// ([RFC 9110 section 7.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1)).
pub(crate) const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The times of one endpoint, its engine's defaults included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) ttl: Duration,
    pub(crate) failed_ttl: Duration,
    /// Never longer than the ttl: a lease that outlives the answer it protects helps nobody.
    pub(crate) lease: Duration,
}

impl Times {
    pub(crate) fn of(endpoint: &Endpoint, defaults: &Defaults) -> Self {
        let ttl = endpoint.ttl.unwrap_or(defaults.ttl).min(LONGEST);
        Self {
            ttl,
            failed_ttl: endpoint.failed_ttl.unwrap_or(defaults.failed_ttl).min(LONGEST),
            lease: endpoint.lease.unwrap_or(defaults.lease).min(ttl),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_keeps_what_a_retry_cannot_change() {
        let final_at =
            |status| Keep::DEFAULT.is_final(StatusCode::from_u16(status).expect("a status"));
        for status in [200, 201, 204, 302, 400, 402, 404, 409, 422, 499] {
            assert!(final_at(status), "{status}");
        }
        for status in [101, 408, 425, 429, 500, 502, 503, 599, 999] {
            assert!(!final_at(status), "{status}");
        }
    }

    #[test]
    fn keep_covers_the_whole_range() {
        let all = Keep::NONE.with(0, u16::MAX);
        for status in 100..=999 {
            assert!(all.is_final(StatusCode::from_u16(status).expect("a status")));
        }
        assert_eq!(all.without(0, u16::MAX), Keep::NONE);
    }

    #[test]
    fn a_lease_is_never_longer_than_the_ttl() {
        let brief = Endpoint::new().ttl(Duration::from_secs(2));
        assert_eq!(Times::of(&brief, &Defaults::default()).lease, Duration::from_secs(2));
        let own = brief.lease(Duration::from_secs(1));
        assert_eq!(Times::of(&own, &Defaults::default()).lease, Duration::from_secs(1));
        let endless = Endpoint::new().ttl(Duration::MAX);
        assert_eq!(Times::of(&endless, &Defaults::default()).ttl, LONGEST);
    }
}
