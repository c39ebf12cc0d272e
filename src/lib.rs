//! Makes [axum](https://docs.rs/axum) handlers safe to retry.
//!
//! ```
//! use axum::{Router, extract::FromRef, http::StatusCode, routing::post};
//! use idem::{Attempt, Idem, idempotent};
//!
//! #[derive(Clone, FromRef)]
//! struct AppState {
//!     idem: Idem,
//! }
//!
//! #[idempotent(scope = "global", ttl = "24h")]
//! async fn create(attempt: Attempt) -> (StatusCode, String) {
//!     (StatusCode::CREATED, attempt.key())
//! }
//!
//! # #[cfg(feature = "memory")] {
//! let idem = Idem::builder(idem::MemoryStore::new()).build().unwrap();
//! let app: Router = Router::new().route("/things", post(create)).with_state(AppState { idem });
//! # }
//! ```
//!
//! - [`idempotent`] is the attribute, with all its options.
//! - [`Idem`] is the engine; one in each router state. [`Builder`] has its settings.
//! - [`Scope`] says whose key it is.
//! - [`Attempt`] is what a handler may know of its own execution.
//! - `Tx` is the database transaction that a handler may run in, so that its writes and the record
//!   commit together (features `postgres`, `mysql`, `sqlite`).
//! - A [`Store`] keeps the records: `PostgresStore` (feature `postgres`, the default),
//!   `MySqlStore` (`mysql`: MariaDB), `SqliteStore` (`sqlite`), `RedisStore` (`redis`), `MemoryStore`
//!   (`memory`), or your own.
//! - [`Tiered`] reads completed records from a [`Cache`] in front of a store: `MemoryCache` (`memory`),
//!   `RedisCache` (`redis`), or your own.
//! - [`Held`] records wait for somebody to decide; a [`Reconciler`] does so by itself.
//! - [`Problem`] is what a client is told instead of an answer.
//! - Events with the target `idem`, and the feature `metrics`, tell operators what becomes of requests;
//!   `docs/observability.md` has them all.
//!
//! The README has the whole picture: what is promised, what clients do, how to operate it.

mod edge;
mod extract;
mod key;
mod not_final;
mod state;
#[cfg(any(feature = "postgres", feature = "sqlite", feature = "mysql"))]
mod tx;

pub use idem_core::{
    After, Announced, Announcements, Announcer, Attempt, AttemptId, Begin, Begun, Builder, Cache,
    CacheError, CacheHealth, Claim, Claimed, ConfigError, DerivedKey, Ended, Fence, Fingerprint,
    Found, Health, Held, Idem, IdempotencyKey, Isolation, Judged, Keep, KeyError, KeyFormat,
    Migrating, NoTransactions, OpenTransaction, Outcome, Owner, Problem, ProblemContext,
    RECORD_VERSION, Reconciler, Record, RecordId, Recorded, Recover, Resolution, ResolveError,
    Scope, ScopeValue, ScopeWriter, State, Store, StoreError, StoredResponse, Tiered,
    TransactionSettings, Written, async_trait,
};
/// Makes a type a [`Scope`](trait@Scope).
///
/// A type with one field is that field. Of several fields, those that identify the value are marked
/// with `#[scope]`; a field that can change, like a name, must not be part of the scope, or a retry
/// after the change would be another request. Of an enum, the variant counts too.
///
/// ```
/// use idem::Scope;
///
/// #[derive(Scope)]
/// struct UserId(u64);
///
/// #[derive(Scope)]
/// struct Member {
///     #[scope]
///     tenant: String,
///     #[scope]
///     user: UserId,
///     display_name: String,
/// }
///
/// #[derive(Scope)]
/// enum Principal {
///     Person(UserId),
///     Service { name: String },
/// }
/// # let _ = Member { tenant: String::new(), user: UserId(1), display_name: String::new() }.display_name;
/// ```
pub use idem_macros::Scope;
/// Makes an axum handler safe to retry.
///
/// The handler stays a function of its name, for `post(create)` and the like. The function that was
/// written is there too, as `<name>_unguarded`, for unit tests.
///
/// # Options
///
/// Every option but `scope` has a default. Those of `ttl`, `failed_ttl`, `lease`, `keep`, `max_body`,
/// `max_response`, `header`, `wait` and `idle_timeout` can be set for the whole engine on [`Idem::builder`].
/// Durations are written as `"24h"`, `"30s"`, `"1h 30m"`; sizes as `"2MiB"` or a number of bytes.
///
/// - `scope`, required: whose key it is. An expression over the handler's arguments whose value is
///   a [`Scope`](trait@Scope), such as `"user"`, `"user.tenant_id"`, `"(org.id, user.id)"`; or
///   `"global"`. It sees references to the arguments, after extraction.
/// - `ttl`, default `"24h"`: how long a completed record is replayed; or `"forever"`, which is 100
///   years.
/// - `operation`, default method and route template: which operation it is. Handlers with the same
///   name share their keys: one that was used at one route is a mismatch at the other.
/// - `key`: an expression over the arguments that says which intent a request is, where clients send no
///   key; no header is read then. See [below](#keys-that-nobody-sends).
/// - `fallback_key`: the same for requests that come without a key. With it, `required` means nothing.
/// - `header`, default `"Idempotency-Key"`: the header that carries the key.
/// - `required`, default `true`: `false` lets requests without a key pass through unguarded.
/// - `key_format`, default `"any"`: or `"uuid"`, `"uuid4"`, which are the same key in capital and in
///   small letters.
/// - `fingerprint`, default `"json"`: what must be the same in a retry. `"json"` is canonical JSON
///   (RFC 8785) for JSON bodies and bytes for others; `"bytes"`, `"none"`, or an expression over the
///   arguments whose value is `serde::Serialize`. Method and full path always count.
/// - `query`, default `true`: `false` leaves the query out of the fingerprint.
/// - `lease`, default `"30s"` and at most the ttl: how long a claim holds without renewal; it is
///   renewed at a third of that.
/// - `recover`, default `"retry"`: what happens to an execution that was cut off. `"hold"`: it is
///   not executed again without a decision.
/// - `keep`, default `"<500, !408, !425, !429"`: which statuses are final. Also `"2xx"`,
///   `"200-299"`, `"404"`; `!` takes away. [`NotFinal`] says so of one answer.
/// - `failed_ttl`, default `"24h"`: how long a failed attempt is remembered. Until then another
///   request with its key is a mismatch, and [`Attempt::number`] goes on counting.
/// - `max_body`, default the router's `DefaultBodyLimit`: the largest request body.
/// - `max_response`, default `"1MiB"`: the largest response body that is kept.
/// - `on_conflict`, default `"reject"`: a request whose key is in use is refused at once. `"wait"`: it
///   waits for the running execution's answer, in whichever process that is, and executes if there
///   will be none.
/// - `wait`, default `"10s"`: how long a request waits before it is refused.
/// - `on_store_error`, default `"refuse"`: `"bypass"` runs the handler unguarded when the store
///   cannot answer, with a warning in the log each time.
///
/// # In a transaction
///
/// A handler that takes a `Tx<Postgres>`, a `Tx<MySql>` or a `Tx<Sqlite>` runs in a transaction of that
/// database, which must be the one of the engine's store. What it writes through the `Tx` and the record of
/// its answer commit together, so that the effect in the database is there exactly once, whatever
/// crashes when:
///
/// - an answer below 400 commits both, whatever `keep` says, unless it is [`NotFinal`];
/// - a final answer from 400 on rolls the handler's writes back and is recorded and replayed;
/// - an answer that is not final, a panic, or a lost connection rolls everything back, and a retry
///   executes.
///
/// A request that meets a running one is refused before its fingerprint is compared.
/// `lease`, `recover`, `failed_ttl` and `on_store_error = "bypass"` make no sense then. Instead
/// there are:
///
/// - `commit_on_error`, default `false`: `true` commits final answers from 400 on, too.
/// - `retries`, default none: how many times the handler runs again when its transaction met another
///   one (serialization failure, deadlock). All its arguments must be `Clone`, or a `Path` of what is.
///   Without it, or after that many, the client gets a 503 and may retry.
/// - `isolation`, default the connection's own: `"read committed"`, `"repeatable read"` or
///   `"serializable"`. Not on SQLite, like the timeouts that follow. MariaDB counts `lock_timeout` and
///   `idle_timeout` in whole seconds; they are rounded up.
/// - `lock_timeout`, `statement_timeout`, default the connection's own: how long a statement of the
///   transaction waits for a lock, and may take.
/// - `idle_timeout`, default `"60s"`: how long the transaction may be open without a statement,
///   before the server ends it. So long a process that was cut off can hold locks.
///
/// On SQLite the transaction has the file's only writer from its beginning to its end: keep it short.
///
/// # Keys that nobody sends
///
/// Some requests say themselves which intent they are: opening the conversation of these people,
/// importing the file of this digest. `key` names that, so that clients need no header, and one that
/// they send is not read:
///
/// ```
/// # use axum::Json;
/// use idem::{Scope, idempotent};
///
/// # #[derive(Scope)]
/// # struct User(u64);
/// #[derive(serde::Deserialize)]
/// struct Opening {
///     participants: Vec<String>,
/// }
///
/// /// The same for the same people, in whichever order they are named.
/// fn participants_key(participants: &[String]) -> String {
///     let mut participants = participants.to_vec();
///     participants.sort();
///     format!("{participants:?}")
/// }
///
/// #[idempotent(scope = "user", key = "participants_key(&opening.participants)")]
/// async fn open_conversation(user: User, Json(opening): Json<Opening>) -> String {
///     // …
///     # let _ = user;
///     opening.participants.concat()
/// }
/// # let _ = open_conversation_unguarded;
/// ```
///
/// The value is what a [`Scope`](trait@Scope) may be: a string, an integer, a `Uuid`, a tuple, a type
/// with `#[derive(Scope)]`. It may be of any length. Since it says all that counts of a request,
/// `fingerprint` is `"none"` and `query` is `false` unless they are given; the path still counts.
/// Every request is guarded, and `header`, `key_format` and `required` mean nothing.
///
/// Where some clients send keys and others do not, `fallback_key` names the intent of those requests
/// that come without one. Put a window of time into it if the same may be wanted again:
/// `fallback_key = "(&project.name, today())"` with a function `today` of yours. It is compared as a
/// key that was sent: the same fallback key with another body is a mismatch, unless `fingerprint`
/// says otherwise. A key that was sent never is one that was derived.
///
/// # The way of a request
///
/// Key, head extractors, body (bounded), last extractor, scope and fingerprint, claim; then the
/// handler in a task of its own, the record, the answer. Extractors run on replays too, so
/// authentication is never skipped, and a request that they reject leaves nothing behind.
///
/// Task-local values do not reach the handler's task; the current tracing span does.
///
/// # Other attributes
///
/// `#[utoipa::path]` stands above `#[idempotent]`, and `#[tracing::instrument]` on either side.
/// `#[axum::debug_handler]` stands below, if at all: what it checks is checked anyway when the
/// handler is routed, and with `#[axum::debug_handler(state = AppState)]` also without a route.
///
/// # Errors
///
/// What makes no sense does not compile, with a message that says what to write.
pub use idem_macros::idempotent;

#[cfg(feature = "memory")]
pub use idem_core::{MemoryCache, MemoryStore};
#[cfg(feature = "redis")]
pub use idem_redis::{
    NotReplicated, RedisBuilder, RedisCache, RedisCacheBuilder, RedisStore,
    SetupError as RedisSetupError,
};
#[cfg(feature = "mysql")]
pub use idem_sqlx::{MySqlBuilder, MySqlStore};
#[cfg(feature = "postgres")]
pub use idem_sqlx::{PostgresBuilder, PostgresStore};
#[cfg(any(feature = "postgres", feature = "sqlite", feature = "mysql"))]
pub use idem_sqlx::{SetupError, Tx, is_conflict};
#[cfg(feature = "sqlite")]
pub use idem_sqlx::{SqliteBuilder, SqliteStore};

pub use crate::{edge::TransactionConflict, not_final::NotFinal, state::HasEngine};

/// Without a database there is nothing to conflict.
#[cfg(not(any(feature = "postgres", feature = "sqlite", feature = "mysql")))]
fn is_conflict(_: &(dyn std::error::Error + 'static)) -> bool {
    false
}

/// What the macros' output calls. No part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use axum_core::response::Response;
    pub use idem_core::{
        BodyFingerprint, Endpoint, Handled, Isolation, Keep, KeyFormat, KeySource, OnConflict,
        OnStoreError, Recover, ScopeValue,
    };

    pub use crate::{
        edge::{
            Edge, Guarded, Once, Returned, ScopeTuple, SeesConflict, SeesNothing, handled,
            printable, scope_of,
        },
        extract::{
            ExtractsLast, ExtractsPart, NoDebugHandler, NothingSpecial, Probe, Repeats, Retries,
            only_below,
        },
        key::{Key, key_part},
        state::HasEngine,
    };
}

/// The README's code.
#[cfg(all(doctest, feature = "postgres", feature = "redis"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The code of the page on growing.
#[cfg(all(doctest, feature = "postgres", feature = "sqlite"))]
#[doc = include_str!("../docs/scaling.md")]
struct Scaling;
