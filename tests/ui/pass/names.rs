//! The user's names and the generated ones do not meet.

use axum::{Router, extract::Path, routing::post};
use idem::{Attempt, HasEngine, Idem, Tx, idempotent};

struct Result;
struct Option;
struct Send;
struct Sync;
struct Future;
struct Response;
struct Endpoint;
struct Scope;
struct ScopeValue;
struct Guarded;
struct Key;
struct DerivedKey;
struct Probe;
struct String;
struct Duration;
struct NoAttempt;
struct NoDebugHandler;
struct Once;
struct Retries;
struct Returned;

const ENDPOINT: &str = "the user's own";

fn engine(id: &u64) -> u64 {
    *id
}

fn request(id: &u64) -> u64 {
    *id
}

fn asked() -> u64 {
    1
}

fn edge() -> u64 {
    1
}

fn response() -> u64 {
    1
}

#[idempotent(scope = "(engine(&id), request(&id), asked(), edge(), response(), ENDPOINT)")]
async fn functions_named_like_locals(Path(id): Path<u64>) {}

#[idempotent(
    scope = "(edge, args, request, state, answer)",
    key = "(edge, print, sent)",
    fingerprint = "(edge, args, print)"
)]
async fn arguments_named_like_locals(
    Path((edge, args, request, state)): Path<(u64, u64, u64, u64)>,
    Path((answer, attempt, guarded, print)): Path<(u64, u64, u64, u64)>,
    Path((engine, asked, begun, returned)): Path<(u64, u64, u64, u64)>,
    Path((arg0, arg1, response, value)): Path<(u64, u64, u64, u64)>,
    Path((error, endpoint, idem, sent)): Path<(u64, u64, u64, u64)>,
) {
    let _ = (edge, args, request, state, answer, attempt, guarded, print, engine, asked, begun);
    let _ = (returned, arg0, arg1, response, value, error, endpoint, idem, sent);
}

#[idempotent(scope = "(engine, attempt, guarded, arg0)", fallback_key = "(engine, arg0)")]
async fn more_of_them(Path((engine, attempt, guarded, arg0)): Path<(u64, u64, u64, u64)>) {}

#[idempotent(scope = "(args, runs, granted)", retries = 1)]
async fn arguments_of_runs_named_like_locals(
    Path((args, runs, granted)): Path<(u64, u64, u64)>,
    conflict: Tx<sqlx::Sqlite>,
    Path((returned, keep, copy)): Path<(u64, u64, u64)>,
) {
    let _ = (args, runs, granted, conflict, returned, keep, copy);
}

#[idempotent(scope = "global")]
async fn args(args: Tx<sqlx::Sqlite>) {
    drop(args);
}

#[idempotent(scope = "runs", retries = 1)]
async fn runs(Path(runs): Path<u64>, _: Tx<sqlx::Sqlite>) {
    let _ = runs;
}

#[idempotent(scope = "global")]
async fn conflict(granted: Tx<sqlx::Sqlite>) -> std::result::Result<(), ()> {
    drop(granted);
    std::result::Result::Ok(())
}

#[idempotent(scope = "global")]
async fn granted(returned: Tx<sqlx::Sqlite>) {
    drop(returned);
}

#[idempotent(scope = "global")]
async fn returned() {}

#[idempotent(scope = "global", required = false)]
async fn state(edge: Tx<sqlx::Sqlite>) {
    drop(edge);
}

#[idempotent(scope = "global")]
async fn guarded() {}

/// The binding has the handler's own name.
#[idempotent(scope = "transfer")]
async fn transfer(Path(transfer): Path<u64>) -> &'static str {
    if transfer == 0 { "nothing" } else { "something" }
}

/// So has a variable of the caller.
fn local_variable_with_the_name_of_a_handler() {
    let transfer = 1;
    let _ = transfer;
}

#[idempotent(scope = "r#type")]
async fn r#move(Path(r#type): Path<u64>, r#fn: Attempt) {
    let _ = (r#type, r#fn);
}

mod other {
    use idem::idempotent;

    #[idempotent(scope = "global")]
    pub(crate) async fn transfer() {}
}

// A module may have the handler's name, too.
mod more_of_them {}

fn routes<S: HasEngine<idem::NoTransactions> + Clone + std::marker::Send + std::marker::Sync>()
-> Router<S>
where
    S: 'static,
{
    Router::new()
        .route("/1", post(functions_named_like_locals))
        .route("/2", post(arguments_named_like_locals))
        .route("/3", post(more_of_them))
        .route("/4", post(transfer))
        .route("/5", post(r#move))
        .route("/6", post(other::transfer))
}

fn main() {
    local_variable_with_the_name_of_a_handler();
    let _: Router<Idem> = routes().route("/7", post(returned)).route("/8", post(guarded));
    let _: Router<Idem<sqlx::Sqlite>> = Router::new()
        .route("/1", post(arguments_of_runs_named_like_locals))
        .route("/2", post(args))
        .route("/3", post(runs))
        .route("/4", post(conflict))
        .route("/5", post(granted))
        .route("/6", post(state));
}
