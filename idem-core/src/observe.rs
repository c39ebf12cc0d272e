//! What operators see of requests and of the store: events, and measurements where the feature
//! `metrics` is on.

#[cfg(feature = "metrics")]
mod meters;
#[cfg(not(feature = "metrics"))]
#[path = "observe/no_meters.rs"]
mod meters;

use std::{fmt, time::Duration};

use tracing::{Level, field::display};

use self::meters::Timer;
pub(crate) use self::meters::{InFlight, caches_down, describe, swept};
use crate::{error::StoreError, problem::Problem, record::RecordId, store::Claimed};

/// The operation of a request whose route has no template.
pub(crate) const UNKNOWN_OPERATION: &str = "unknown";

/// What became of a request. Events and counters call it by the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Executed,
    NotFinal,
    Superseded,
    /// Of the execution that was cut off, and could not say so itself.
    TakenOver,
    Replayed,
    InFlight,
    Mismatch,
    Held,
    ResponseNotKept,
    StoreUnavailable,
    Bypassed,
    Unguarded,
    TransactionConflict,
    CommitUnknown,
    NotCommitted,
    TransactionEnded,
    TransactionEscaped,
    HandlerPanicked,
    KeyMissing,
    KeyInvalid,
    BodyTooLarge,
    BodyUnreadable,
    OperationUnknown,
    FingerprintFailed,
}

impl Outcome {
    /// Its name, and its event. What is logged as an error where it happens is only noted here.
    const fn told(self) -> (&'static str, Level, &'static str) {
        const NOTED: Level = Level::DEBUG;
        match self {
            Self::Executed => ("executed", Level::DEBUG, "executed"),
            Self::NotFinal => ("not_final", Level::DEBUG, "executed, without a final answer"),
            Self::Superseded => ("superseded", NOTED, "executed, but taken over meanwhile"),
            Self::TakenOver => ("taken_over", Level::WARN, "took over a lapsed lease"),
            Self::Replayed => ("replayed", Level::INFO, "replayed"),
            Self::InFlight => ("in_flight", Level::INFO, "refused: in flight"),
            Self::Mismatch => ("mismatch", Level::WARN, "refused: mismatch"),
            Self::Held => ("held", Level::WARN, "refused: outcome unknown"),
            Self::ResponseNotKept => {
                ("response_not_kept", Level::INFO, "refused: response not kept")
            }
            Self::StoreUnavailable => ("store_unavailable", NOTED, "refused: store unavailable"),
            Self::Bypassed => ("bypassed", NOTED, "ran unguarded: store unavailable"),
            Self::Unguarded => ("unguarded", Level::DEBUG, "ran unguarded: no key"),
            Self::TransactionConflict => {
                ("transaction_conflict", Level::INFO, "rolled back: transaction conflict")
            }
            Self::CommitUnknown => ("commit_unknown", NOTED, "failed: commit unknown"),
            Self::NotCommitted => ("not_committed", NOTED, "failed: not committed"),
            Self::TransactionEnded => ("transaction_ended", NOTED, "failed: transaction ended"),
            Self::TransactionEscaped => {
                ("transaction_escaped", NOTED, "failed: transaction escaped")
            }
            Self::HandlerPanicked => ("handler_panicked", NOTED, "failed: handler panicked"),
            Self::KeyMissing => ("key_missing", Level::DEBUG, "rejected: key missing"),
            Self::KeyInvalid => ("key_invalid", Level::DEBUG, "rejected: key invalid"),
            Self::BodyTooLarge => ("body_too_large", Level::DEBUG, "rejected: body too large"),
            Self::BodyUnreadable => ("body_unreadable", Level::DEBUG, "rejected: body unreadable"),
            Self::OperationUnknown => ("operation_unknown", NOTED, "rejected: operation unknown"),
            Self::FingerprintFailed => {
                ("fingerprint_failed", NOTED, "rejected: fingerprint failed")
            }
        }
    }

    const fn name(self) -> &'static str {
        self.told().0
    }
}

impl From<&Problem> for Outcome {
    fn from(problem: &Problem) -> Self {
        match problem {
            Problem::KeyMissing { .. } => Self::KeyMissing,
            Problem::KeyInvalid { .. } => Self::KeyInvalid,
            Problem::BodyTooLarge => Self::BodyTooLarge,
            Problem::BodyUnreadable => Self::BodyUnreadable,
            Problem::Mismatch => Self::Mismatch,
            Problem::InFlight => Self::InFlight,
            Problem::OutcomeUnknown => Self::Held,
            Problem::ResponseNotKept => Self::ResponseNotKept,
            Problem::StoreUnavailable => Self::StoreUnavailable,
            Problem::TransactionConflict => Self::TransactionConflict,
            Problem::CommitUnknown { .. } => Self::CommitUnknown,
            Problem::NotCommitted => Self::NotCommitted,
            Problem::TransactionEnded => Self::TransactionEnded,
            Problem::TransactionEscaped => Self::TransactionEscaped,
            Problem::HandlerPanicked { .. } => Self::HandlerPanicked,
            Problem::OperationUnknown => Self::OperationUnknown,
            Problem::FingerprintFailed => Self::FingerprintFailed,
        }
    }
}

impl From<&Claimed> for Outcome {
    /// Of a request that does not run.
    fn from(refused: &Claimed) -> Self {
        match refused {
            Claimed::Completed(answer) if answer.body.is_none() => Self::ResponseNotKept,
            Claimed::Completed(_) => Self::Replayed,
            Claimed::Mismatch => Self::Mismatch,
            Claimed::Held => Self::Held,
            // Who was taken over while the claim was on its way is not to run either.
            Claimed::InFlight | Claimed::Won { .. } => Self::InFlight,
        }
    }
}

/// A request has its answer.
pub(crate) fn answered(id: &RecordId, outcome: Outcome, age: Option<Duration>) {
    request(id.operation(), Some(id), outcome, age);
}

/// A request is refused before it is asked what it wants, or needs no record.
pub(crate) fn passed(operation: Option<&str>, outcome: Outcome) {
    request(operation.unwrap_or(UNKNOWN_OPERATION), None, outcome, None);
}

fn request(operation: &str, id: Option<&RecordId>, outcome: Outcome, age: Option<Duration>) {
    let (outcome, level, message) = outcome.told();
    meters::request(operation, outcome);
    let key_hash = id.map(|id| display(KeyHash(id)));
    let age = age.map(|it| it.as_secs_f64());
    match level {
        Level::WARN => {
            tracing::warn!(target: "idem", operation, outcome, key_hash, age, "{message}");
        }
        Level::INFO => {
            tracing::info!(target: "idem", operation, outcome, key_hash, age, "{message}");
        }
        _ => tracing::debug!(target: "idem", operation, outcome, key_hash, age, "{message}"),
    }
}

/// A request has waited for another one's execution, and this is how that ended.
pub(crate) fn waited(id: &RecordId, outcome: Outcome, age: Option<Duration>, waited: Duration) {
    let operation = id.operation();
    meters::waited(operation, waited);
    let (outcome, key_hash) = (outcome.name(), display(KeyHash(id)));
    let (age, waited) = (age.map(|it| it.as_secs_f64()), waited.as_secs_f64());
    tracing::info!(target: "idem", operation, outcome, key_hash, age, waited, "waited");
}

/// The first 8 hexadecimal digits of a record's primary key: enough to find the record, and the same
/// for nobody else's key.
struct KeyHash<'a>(&'a RecordId);

impl fmt::Display for KeyHash<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.digest()[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What came of looking into the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    Hit,
    Miss,
    Failed,
    /// It was not asked.
    Skipped,
}

pub(crate) fn cache_read(looked: Looked) {
    meters::cache_read(match looked {
        Looked::Hit => "hit",
        Looked::Miss => "miss",
        Looked::Failed => "error",
        Looked::Skipped => "skipped",
    });
}

/// What became of an answer that was to be put into the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Done,
    Failed,
    /// It was not sent.
    Skipped,
}

pub(crate) fn cache_write(kept: Kept) {
    meters::cache_write(match kept {
        Kept::Done => "kept",
        Kept::Failed => "error",
        Kept::Skipped => "skipped",
    });
}

/// What the engine asks of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Claim,
    Complete,
    Fail,
    Hold,
    Renew,
    Release,
    Begin,
    BeginUnguarded,
    Commit,
    Reject,
    RollBack,
    NotInFlight,
    Sweep,
    Held,
    Resolve,
    Health,
}

impl Call {
    /// The method's name.
    const fn name(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Complete => "complete",
            Self::Fail => "fail",
            Self::Hold => "hold",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Begin => "begin",
            Self::BeginUnguarded => "begin_unguarded",
            Self::Commit => "commit",
            Self::Reject => "reject",
            Self::RollBack => "roll_back",
            Self::NotInFlight => "not_in_flight",
            Self::Sweep => "sweep",
            Self::Held => "held",
            Self::Resolve => "resolve",
            Self::Health => "health",
        }
    }

    /// The store is asked.
    pub(crate) fn asked(self) -> Asked {
        Asked { call: self, timer: Timer::start() }
    }
}

/// A call that the store is to answer.
pub(crate) struct Asked {
    call: Call,
    timer: Timer,
}

impl Asked {
    /// The store has answered, or was given up.
    pub(crate) fn answered<T>(self, answer: &Result<T, StoreError>) {
        meters::store_call(self.call.name(), &self.timer, answer.as_ref().err());
    }
}
