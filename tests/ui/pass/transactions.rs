//! Handlers that take a transaction.

#![deny(warnings)]

use axum::{
    Json, Router,
    extract::{FromRef, Path},
    http::Method,
    routing::post,
};
use idem::{Attempt, Idem, Tx, idempotent};
use sqlx::{Connection, Database, Postgres, Sqlite, Transaction};

#[derive(Clone, FromRef)]
struct OnPostgres {
    idem: Idem<Postgres>,
}

#[derive(Clone, FromRef)]
struct OnSqlite {
    idem: Idem<Sqlite>,
}

#[idempotent(scope = "global")]
async fn only(_: Tx<Postgres>) {}

#[idempotent(scope = "body")]
async fn first(mut tx: Tx<Postgres>, _: Method, body: String) -> Result<String, String> {
    let query = sqlx::query("SELECT 1").execute(&mut *tx);
    query.await.map_err(|error| error.to_string())?;
    Ok(body)
}

#[idempotent(scope = "(id, order.to)", fingerprint = "order")]
async fn middle(
    Path(id): Path<u64>,
    mut tx: Tx<Postgres>,
    Json(order): Json<Order>,
) -> Result<String, &'static str> {
    let mut savepoint = tx.begin().await.map_err(|_| "no savepoint")?;
    by_transaction(&mut savepoint);
    drop(savepoint);
    by_transaction(tx.transaction());
    Ok(format!("{id} {}", order.to))
}

#[idempotent(scope = "id")]
async fn last(attempt: Attempt, Path(id): Path<u64>, ref mut tx: Tx<Sqlite>) -> String {
    by_connection(tx);
    format!("{id} {}", attempt.number())
}

fn by_transaction(_: &mut Transaction<'_, Postgres>) {}

fn by_connection(_: &mut <Sqlite as Database>::Connection) {}

#[derive(Clone, serde::Deserialize, serde::Serialize)]
struct Order {
    to: String,
}

type Transactional = Tx<Db>;
type Db = Sqlite;

#[idempotent(scope = "global", commit_on_error = true)]
async fn alias(tx: Transactional) {
    drop(tx);
}

#[idempotent(scope = "global")]
async fn alias_of_the_database(_: idem::Tx<Db>, _: String) {}

#[idempotent(scope = "global", required = false)]
async fn without_key(attempt: Option<Attempt>, _: Tx<Postgres>) -> String {
    attempt.map(|it| it.key()).unwrap_or_default()
}

#[idempotent(scope = "order.to", retries = 3)]
async fn retries(Path(_): Path<u64>, _: Tx<Postgres>, _: Attempt, Json(mut order): Json<Order>) {
    order.to.push('x');
}

#[idempotent(scope = "global", retries = 1)]
async fn retries_without_other_arguments(_: Tx<Sqlite>) -> Result<(), ()> {
    Err(())
}

#[idempotent(
    scope = "global",
    ttl = "1h",
    operation = "everything",
    header = "X-Request-Id",
    required = true,
    key_format = "uuid",
    fingerprint = "json",
    keep = "2xx",
    query = true,
    max_body = "1MiB",
    max_response = "1MiB",
    on_store_error = "refuse",
    isolation = "serializable",
    lock_timeout = "500ms",
    statement_timeout = "10s",
    idle_timeout = "1m",
    commit_on_error = false,
    retries = 10
)]
async fn every_option(_: Tx<Postgres>, _: String) {}

#[idempotent(scope = "global", isolation = "read committed")]
async fn read_committed(_: Tx<Postgres>) {}

#[idempotent(scope = "global", isolation = "repeatable read")]
async fn repeatable_read(_: Tx<Postgres>) {}

fn main() {
    let _: Router<OnPostgres> = Router::new()
        .route("/1", post(only))
        .route("/2", post(first))
        .route("/3", post(middle))
        .route("/4", post(without_key))
        .route("/5", post(retries))
        .route("/6", post(every_option))
        .route("/7", post(read_committed))
        .route("/8", post(repeatable_read));
    let _: Router<OnSqlite> = Router::new()
        .route("/1", post(last))
        .route("/2", post(alias))
        .route("/3", post(alias_of_the_database))
        .route("/4", post(retries_without_other_arguments));
}
