//! What operators see of executions in transactions.

use std::time::Duration;

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use idem::{TransactionConflict, Tx, idempotent};
use sqlx::Postgres;
use tracing::Level;

use crate::{
    commits::Wired,
    documentation::assert_documented,
    log::{Event, Log},
    proxy::Fault,
    support::{Hold, Runs, on_each_database, patiently},
};

/// The events since the last time. Nothing in the log is what a client sent.
fn events() -> Vec<Event> {
    let text = Log::text();
    assert!(!text.contains("secret"), "{text}");
    let events = Log::take_events();
    events.iter().for_each(assert_documented);
    events
}

#[track_caller]
fn event() -> Event {
    let events = events();
    assert_eq!(events.len(), 1, "{events:#?}");
    events.into_iter().next().unwrap()
}

/// The outcomes of all events since the last time.
fn outcomes() -> Vec<String> {
    events().iter().map(|it| it.field("outcome").unwrap().to_owned()).collect()
}

on_each_database! {
    #[idempotent(scope = "global", on_conflict = "wait", wait = "60s", operation = "wait")]
    async fn wait(Extension(hold): Extension<Hold>, tx: Tx<Db>) -> StatusCode {
        drop(tx);
        hold.here().await;
        StatusCode::CREATED
    }

    #[idempotent(scope = "global")]
    pub(super) async fn create(Extension(hold): Extension<Hold>, mut tx: Tx<Db>, body: String) -> (StatusCode, String) {
        sqlx::query(INSERT_NOTE).bind(&body).execute(&mut *tx).await.unwrap();
        hold.here().await;
        let status = if body == "secret-later" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CREATED };
        (status, body)
    }

    #[tokio::test]
    async fn an_execution_and_its_duplicates_are_told() {
        Log::capture();
        let service = service().await;
        let hold = Hold::new();
        let router = Router::new().route("/notes", post(create)).layer(Extension(hold.clone()));

        hold.release();
        patiently(service.post(&router, "secret-key", "secret-later")).await;
        hold.arrival().await;
        let not_final = event();
        let message = "executed, without a final answer";
        assert_eq!(not_final.gist(), (Level::DEBUG, message, "not_final"));

        let first = service.sending(&router, "secret-key");
        hold.arrival().await;
        assert_eq!(service.send(&router, "secret-key").await.problem(), "in-flight");
        let conflict = event();
        assert_eq!(conflict.gist(), (Level::INFO, "refused: in flight", "in_flight"));
        assert!(conflict.seconds("age").is_some(), "within a process it is known");
        hold.release();
        assert_eq!(patiently(first).await.unwrap().status, StatusCode::CREATED);
        let executed = event();
        assert_eq!(executed.gist(), (Level::DEBUG, "executed", "executed"));
        assert!(executed.seconds("age") >= conflict.seconds("age"));

        assert!(service.send(&router, "secret-key").await.is_replay());
        let replay = event();
        assert_eq!(replay.gist(), (Level::INFO, "replayed", "replayed"));
        assert!(replay.seconds("age").unwrap() < 60.0);
        let other = service.post(&router, "secret-key", "secret-other").await;
        assert_eq!(other.problem(), "mismatch");
        let mismatch = event();
        assert_eq!(mismatch.gist(), (Level::WARN, "refused: mismatch", "mismatch"));

        for event in [&conflict, &executed, &replay, &mismatch] {
            assert_eq!(event.field("operation"), Some("POST /notes"));
            assert_eq!(event.field("key_hash"), not_final.field("key_hash"));
        }
    }

    #[tokio::test]
    async fn a_wait_in_the_same_process_is_told() {
        Log::capture();
        let service = service().await;
        let hold = Hold::new();
        let router = Router::new().route("/notes", post(wait)).layer(Extension(hold.clone()));
        let first = service.sending(&router, "k");
        hold.arrival().await;
        let waiter = service.sending(&router, "k");
        // There is one thread, so it is waiting when nothing else is left to do.
        tokio::time::sleep(Duration::from_millis(50)).await;
        hold.release();
        first.await.unwrap();
        assert!(patiently(waiter).await.unwrap().is_replay());
        let events = events();
        let wait = events.iter().find(|it| it.message == "waited").unwrap();
        assert_eq!(wait.gist(), (Level::INFO, "waited", "replayed"));
        assert!(wait.seconds("age") >= wait.seconds("waited"));
        let mut outcomes: Vec<_> = events.iter().map(|it| it.field("outcome").unwrap()).collect();
        outcomes.sort_unstable();
        assert_eq!(outcomes, ["executed", "replayed", "replayed"]);
    }
}

#[tokio::test]
async fn of_what_another_process_executes_no_age_is_to_be_seen() {
    Log::capture();
    let service = crate::support::postgres::service().await;
    let other = crate::support::postgres::other_process(&service).await;
    let hold = Hold::new();
    let layer = Extension(hold.clone());
    let router = Router::new().route("/notes", post(postgres::create)).layer(layer);
    let first = service.sending(&router, "k");
    hold.arrival().await;
    assert_eq!(other.send(&router, "k").await.problem(), "in-flight");
    let conflict = event();
    assert_eq!(conflict.gist(), (Level::INFO, "refused: in flight", "in_flight"));
    assert_eq!(conflict.field("age"), None);
    hold.release();
    first.await.unwrap();
}

#[idempotent(scope = "global")]
async fn misbehave(State(runs): State<Runs>, mut tx: Tx<Postgres>, body: String) -> Response {
    let sql = |sql| sqlx::raw_sql(sql);
    match (body.as_str(), runs.count()) {
        ("transaction_conflict", _) => {
            let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
            response.extensions_mut().insert(TransactionConflict);
            return response;
        }
        ("not_committed", _) => drop(sql("SELECT 1 / 0").execute(&mut *tx).await),
        ("transaction_ended", _) => drop(sql("COMMIT").execute(&mut *tx).await),
        ("transaction_escaped", _) => {
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                drop(tx);
            });
        }
        ("handler_panicked", _) => panic!("on purpose"),
        (_, _) => {}
    }
    StatusCode::CREATED.into_response()
}

#[tokio::test]
async fn whatever_keeps_a_transaction_from_committing_has_a_name() {
    Log::capture();
    let (service, proxy) = Postgres::proxied().await;
    let router = Router::new().route("/notes", post(misbehave));
    for expected in [
        "transaction_conflict",
        "not_committed",
        "transaction_ended",
        "transaction_escaped",
        "handler_panicked",
        "commit_unknown",
        "store_unavailable",
    ] {
        match expected {
            "commit_unknown" => proxy.on_commit_and_down(Fault::CutAfter),
            "store_unavailable" => assert!(proxy.faults() > 0, "the server is out of reach"),
            _ => {}
        }
        let answer = patiently(service.post(&router, expected, expected)).await;
        assert_eq!(answer.problem().replace('-', "_"), expected);
        assert_eq!(outcomes(), [expected]);
    }
}

#[cfg(feature = "metrics")]
#[test]
fn a_transaction_is_measured() {
    use crate::meters::{Meters, measured};

    measured(&mut tokio::runtime::Builder::new_current_thread(), async |mut meters: Meters| {
        let service = crate::support::sqlite::service().await;
        let hold = Hold::new();
        let layer = Extension(hold.clone());
        let router = Router::new().route("/notes", post(sqlite::create)).layer(layer);
        let first = service.sending(&router, "k");
        hold.arrival().await;
        let in_flight = "idem_executions_in_flight{operation=POST /notes}";
        assert_eq!(meters.sum(in_flight), 1);
        // It was promised to a client that has left.
        first.abort();
        hold.release();
        service.idem.drain().await;
        assert_eq!(meters.sum(in_flight), 0);
        assert!(service.settle(&router, "k").await.is_replay());
        for outcome in ["executed", "replayed"] {
            let count = format!("idem_requests_total{{operation=POST /notes,outcome={outcome}}}");
            assert_eq!(meters.sum(&count), 1, "{outcome}");
        }
        assert_eq!(meters.values("idem_store_duration_seconds{call=begin}").len(), 2);
        assert_eq!(meters.values("idem_store_duration_seconds{call=commit}").len(), 1);
    });
}
