//! What the handler's answer makes of its writes and of its record.

use axum::{Router, extract::State, http::StatusCode, routing::post};
use idem::{Attempt, Tx, idempotent};
use sqlx::{Connection, Database, Transaction};

use crate::support::{Runs, Service, on_each_database};

on_each_database! {
    async fn write(connection: &mut <Db as Database>::Connection, text: &str) {
        sqlx::query(INSERT_NOTE).bind(text).execute(connection).await.unwrap();
    }

    #[idempotent(scope = "global")]
    async fn create(
        State(runs): State<Runs>,
        attempt: Attempt,
        mut tx: Tx<Db>,
        body: String,
    ) -> (StatusCode, String) {
        let run = runs.count();
        assert_eq!(attempt.number(), 1, "what was rolled back leaves no trace");
        write(&mut tx, &format!("run {run}")).await;
        match body.as_str() {
            "panic" if run == 1 => panic!("on purpose"),
            "unavailable" if run == 1 => (StatusCode::SERVICE_UNAVAILABLE, "later".into()),
            "invalid" => (StatusCode::UNPROCESSABLE_ENTITY, format!("no, {run}")),
            "see other" => (StatusCode::SEE_OTHER, format!("there, {run}")),
            _ => (StatusCode::CREATED, format!("done by {run}, fence {}", attempt.fence())),
        }
    }

    #[idempotent(scope = "global", commit_on_error = true)]
    async fn audited(State(runs): State<Runs>, mut tx: Tx<Db>) -> (StatusCode, String) {
        write(&mut tx, "attempted").await;
        match runs.count() {
            1 => (StatusCode::INTERNAL_SERVER_ERROR, "oh".into()),
            run => (StatusCode::FORBIDDEN, format!("no, {run}")),
        }
    }

    fn router() -> Router<Service<Db>> {
        Router::new().route("/notes", post(create)).route("/audited", post(audited))
    }

    async fn send(service: &Service<Db>, body: &'static str) -> crate::support::Answer {
        let request = http::Request::post("/notes").header("Idempotency-Key", "k");
        service.send_request(&router(), request.body(body.into()).unwrap()).await
    }

    #[tokio::test]
    async fn a_success_commits_once_and_is_replayed() {
        for body in ["", "see other"] {
            let service = service().await;
            let first = send(&service, body).await;
            assert!(first.status.as_u16() < 400 && !first.is_replay(), "{first:?}");
            assert_eq!((service.notes().await, service.records().await), (vec!["run 1".into()], 1));
            let again = send(&service, body).await;
            assert!(again.is_replay());
            assert_eq!((again.status, &again.body), (first.status, &first.body));
            assert_eq!(service.notes().await, ["run 1"]);
            assert_eq!(service.runs.so_far(), 1);
        }
    }

    #[tokio::test]
    async fn a_final_error_rolls_back_and_is_replayed() {
        let service = service().await;
        let first = send(&service, "invalid").await;
        assert_eq!((first.status, &*first.body), (StatusCode::UNPROCESSABLE_ENTITY, "no, 1"));
        assert!(!first.is_replay());
        let again = send(&service, "invalid").await;
        assert_eq!((again.status, &*again.body), (StatusCode::UNPROCESSABLE_ENTITY, "no, 1"));
        assert!(again.is_replay());
        assert!(service.notes().await.is_empty());
        assert_eq!((service.records().await, service.runs.so_far()), (1, 1));
    }

    #[tokio::test]
    async fn an_answer_that_is_not_final_leaves_nothing_and_a_retry_executes() {
        let service = service().await;
        let first = send(&service, "unavailable").await;
        assert_eq!((first.status, &*first.body), (StatusCode::SERVICE_UNAVAILABLE, "later"));
        assert!(service.notes().await.is_empty());
        assert_eq!(service.records().await, 0);
        let again = send(&service, "unavailable").await;
        assert_eq!(again.status, StatusCode::CREATED);
        assert_eq!(service.notes().await, ["run 2"]);
    }

    #[tokio::test]
    async fn a_panic_leaves_nothing_and_a_retry_executes() {
        let service = service().await;
        let first = send(&service, "panic").await;
        assert_eq!(first.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(first.problem(), "handler-panicked");
        assert!(service.notes().await.is_empty());
        assert_eq!(service.records().await, 0);
        assert_eq!(send(&service, "panic").await.status, StatusCode::CREATED);
        assert_eq!(service.notes().await, ["run 2"]);
    }

    #[tokio::test]
    async fn with_commit_on_error_a_final_error_commits_and_others_do_not() {
        let service = service().await;
        let send = async || {
            let request = http::Request::post("/audited").header("Idempotency-Key", "k");
            service.send_request(&router(), request.body("".into()).unwrap()).await
        };
        assert_eq!(send().await.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(service.notes().await.is_empty());
        assert_eq!(send().await.body, "no, 2");
        assert_eq!(service.notes().await, ["attempted"]);
        let replay = send().await;
        assert!(replay.is_replay());
        assert_eq!((replay.status, &*replay.body), (StatusCode::FORBIDDEN, "no, 2"));
        assert_eq!(service.notes().await, ["attempted"]);
    }

    #[tokio::test]
    async fn another_request_with_the_key_is_a_mismatch() {
        let service = service().await;
        send(&service, "one").await;
        let other = send(&service, "two").await;
        assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(other.problem(), "mismatch");
        assert_eq!(service.notes().await, ["run 1"]);
    }

    #[idempotent(scope = "global", keep = "404")]
    async fn kept_narrowly(State(runs): State<Runs>, mut tx: Tx<Db>) -> StatusCode {
        write(&mut tx, "done").await;
        runs.count();
        StatusCode::ACCEPTED
    }

    #[tokio::test]
    async fn a_success_commits_and_is_recorded_whatever_keep_says() {
        let service = service().await;
        let router = Router::new().route("/notes", post(kept_narrowly));
        assert!(!service.send(&router, "k").await.is_replay());
        assert!(service.send(&router, "k").await.is_replay());
        assert_eq!((service.notes().await, service.runs.so_far()), (vec!["done".into()], 1));
    }

    async fn by_transaction(transaction: &mut Transaction<'static, Db>) {
        write(transaction, "by transaction").await;
    }

    #[idempotent(scope = "global")]
    async fn nested(mut tx: Tx<Db>) {
        write(&mut tx, "outside").await;
        let mut kept = tx.begin().await.unwrap();
        write(&mut kept, "kept").await;
        kept.commit().await.unwrap();
        let mut dropped = tx.begin().await.unwrap();
        write(&mut dropped, "dropped").await;
        drop(dropped);
        by_transaction(tx.transaction()).await;
        let mut left_open = tx.begin().await.unwrap();
        write(&mut left_open, "rolled back at the end").await;
    }

    #[tokio::test]
    async fn savepoints_and_code_over_transactions_work_unchanged() {
        let service = service().await;
        let router = Router::new().route("/notes", post(nested));
        assert_eq!(service.send(&router, "k").await.status, StatusCode::OK);
        assert_eq!(service.notes().await, ["by transaction", "kept", "outside"]);
        assert!(service.send(&router, "k").await.is_replay());
    }
}
