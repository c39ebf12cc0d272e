//! Generated code names everything in full.

#![no_implicit_prelude]

use ::axum::extract::Path;
use ::idem::{Attempt, Idem, Scope, Tx, idempotent};

#[derive(Scope)]
struct Org(u64);

#[derive(Scope)]
enum Owner {
    Org(Org),
    Pair {
        #[scope]
        org: u64,
        #[scope]
        user: u64,
    },
    Nobody,
}

#[derive(Scope)]
struct Id<T> {
    #[scope]
    org: u64,
    #[scope]
    value: T,
}

#[idempotent(scope = "global")]
async fn nothing() {}

#[idempotent(
    scope = "(owner(*id), Id { org: 1, value: *id })",
    fingerprint = "(id, 1)",
    ttl = "1h",
    keep = "2xx",
    recover = "hold"
)]
async fn everything(_: Attempt, Path(id): Path<u64>, body: ::std::string::String) {
    ::std::mem::drop((id, body));
}

fn owner(id: u64) -> Owner {
    match id {
        0 => Owner::Nobody,
        1 => Owner::Org(Org(id)),
        _ => Owner::Pair { org: id, user: id },
    }
}

#[idempotent(scope = "global", required = false, fingerprint = "none")]
async fn optional(_: ::std::option::Option<Attempt>) {}

#[idempotent(scope = "id", retries = 2, isolation = "serializable", commit_on_error = true)]
#[::axum::debug_handler(state = Idem<::sqlx::Postgres>)]
async fn transaction(Path(id): Path<u64>, tx: Tx<::sqlx::Postgres>) {
    ::std::mem::drop((id, tx));
}

#[idempotent(scope = "global")]
async fn transaction_that_runs_once(_: Tx<::sqlx::Postgres>) {}

fn main() {
    let _: ::axum::Router<Idem<::sqlx::Postgres>> = ::axum::Router::new()
        .route("/1", ::axum::routing::post(transaction))
        .route("/2", ::axum::routing::post(transaction_that_runs_once));
    let _: ::axum::Router<Idem> = ::axum::Router::new()
        .route("/1", ::axum::routing::post(nothing))
        .route("/2", ::axum::routing::post(everything))
        .route("/3", ::axum::routing::post(optional));
}
