//! A `Tx` at any place among the arguments, under any pattern and name.

use axum::{
    Json, Router,
    extract::{FromRef, Path},
    http::Method,
    routing::{MethodRouter, post},
};
use idem::{Attempt, Idem, SqliteStore, Tx, idempotent};
use sqlx::{Sqlite, SqliteConnection};

use crate::support::{Answer, call, execution, replayed};

#[derive(Clone, FromRef)]
struct App {
    idem: Idem<Sqlite>,
}

/// The handler's two answers, and the note that is committed then.
async fn replays(handler: MethodRouter<App>) -> (Answer, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("notes.db")).await.unwrap();
    store.migrate().await.unwrap();
    let create = "CREATE TABLE notes (text text NOT NULL)";
    sqlx::query(create).execute(store.writer()).await.unwrap();
    let readers = store.readers().clone();
    let app = App { idem: Idem::builder(store).build().unwrap() };
    let router = Router::new().route("/{id}", handler).with_state(app);
    let answer = replayed(&router, call("/7").json("\"x\"")).await;
    let notes = sqlx::query_scalar("SELECT text FROM notes").fetch_all(&readers).await.unwrap();
    (answer, notes)
}

async fn note(connection: &mut SqliteConnection, text: &str) -> String {
    let insert = sqlx::query("INSERT INTO notes VALUES (?)").bind(text);
    insert.execute(connection).await.unwrap();
    format!("{} {text}", execution())
}

#[idempotent(scope = "global")]
async fn first(mut tx: Tx<Sqlite>, method: Method, Path(id): Path<u8>) -> String {
    note(&mut tx, &format!("{method} {id}")).await
}

#[idempotent(scope = "id")]
async fn middle(method: Method, mut tx: Tx<Sqlite>, Path(id): Path<u8>) -> String {
    note(&mut tx, &format!("{method} {id}")).await
}

#[idempotent(scope = "id", fingerprint = "id")]
async fn last(method: Method, Path(id): Path<u8>, mut tx: Tx<Sqlite>) -> String {
    note(&mut tx, &format!("{method} {id}")).await
}

#[idempotent(scope = "global")]
async fn only(mut tx: Tx<Sqlite>) -> String {
    note(&mut tx, "POST 7").await
}

#[idempotent(scope = "body")]
async fn before_the_body(mut tx: Tx<Sqlite>, Json(body): Json<String>) -> String {
    note(&mut tx, &format!("POST {}", body.replace('x', "7"))).await
}

#[idempotent(scope = "global")]
async fn beside_an_attempt(attempt: Attempt, mut tx: Tx<Sqlite>, method: Method) -> String {
    note(&mut tx, &format!("{method} {}", attempt.number() + 6)).await
}

#[idempotent(scope = "global")]
#[expect(clippy::toplevel_ref_arg, reason = "a pattern like any other")]
async fn by_reference(ref mut tx: Tx<Sqlite>) -> String {
    note(tx, "POST 7").await
}

type Transactional = Tx<Sqlite>;

#[idempotent(scope = "global")]
async fn alias(mut transaction: Transactional) -> String {
    note(&mut transaction, "POST 7").await
}

#[idempotent(scope = "global", retries = 2)]
async fn may_run_again(method: Method, Path(id): Path<u8>, mut tx: Tx<Sqlite>) -> String {
    note(&mut tx, &format!("{method} {id}")).await
}

#[idempotent(scope = "global")]
#[axum::debug_handler(state = App)]
async fn debugged(mut tx: Tx<Sqlite>) -> String {
    note(&mut tx, "POST 7").await
}

#[tokio::test]
async fn a_transaction_stands_anywhere() {
    let handlers = [
        post(first),
        post(middle),
        post(last),
        post(only),
        post(before_the_body),
        post(beside_an_attempt),
        post(by_reference),
        post(alias),
        post(may_run_again),
        post(debugged),
    ];
    for handler in handlers {
        let (answer, notes) = replays(handler).await;
        assert!(answer.text().ends_with(" POST 7"), "{answer:?}");
        assert_eq!(notes, ["POST 7"]);
    }
}

#[idempotent(scope = "global")]
async fn unused(_: Tx<Sqlite>) -> String {
    execution().to_string()
}

#[tokio::test]
async fn a_transaction_need_not_be_used() {
    assert!(replays(post(unused)).await.1.is_empty());
}
