//! Answers of which a handler that takes a `Tx` says that they are not final.

use axum::{
    Router,
    body::Body,
    extract::{Query, State},
    http::{HeaderName, Request, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use idem::{
    Attempt, Builder, Idem, MySqlStore, NotFinal, PostgresStore, SqliteStore, Tx, idempotent,
};
use serde::Deserialize;
use sqlx::Database;

use crate::support::{Answer, Runs, Service, on_each_database, sqlite::path_of};

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    confirm: u8,
    #[serde(default = "accepted")]
    status: u16,
}

fn accepted() -> u16 {
    202
}

on_each_database! {
    async fn work(runs: &Runs, asked: &Asked, mut tx: Tx<Db>) -> Response {
        let run = runs.count();
        let insert = sqlx::query(INSERT_NOTE).bind(format!("run {run}"));
        insert.execute(&mut *tx).await.unwrap();
        if asked.confirm == 0 {
            return NotFinal((StatusCode::from_u16(asked.status).unwrap(), "sure?")).into_response();
        }
        (StatusCode::CREATED, format!("run {run}")).into_response()
    }

    #[idempotent(scope = "global", query = false)]
    async fn confirmed(
        State(runs): State<Runs>,
        Query(asked): Query<Asked>,
        attempt: Attempt,
        tx: Tx<Db>,
    ) -> Response {
        assert_eq!(attempt.number(), 1, "what was rolled back leaves no trace");
        work(&runs, &asked, tx).await
    }

    #[idempotent(scope = "global", query = false, commit_on_error = true, required = false)]
    async fn audited(State(runs): State<Runs>, Query(asked): Query<Asked>, tx: Tx<Db>) -> Response {
        work(&runs, &asked, tx).await
    }

    async fn send(service: &Service<Db>, uri: &str, key: Option<&str>) -> Answer {
        let router =
            Router::new().route("/confirmed", post(confirmed)).route("/audited", post(audited));
        let mut request = Request::post(uri);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        service.send_request(&router, request.body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn whatever_its_status_it_is_rolled_back_and_leaves_nothing() {
        let service = service().await;
        for path in ["/confirmed", "/audited"] {
            for status in [200, 303, 402, 409, 503] {
                for _ in 0..2 {
                    let uri = format!("{path}?status={status}");
                    let answer = send(&service, &uri, Some("k")).await;
                    assert_eq!((answer.status.as_u16(), &*answer.body), (status, "sure?"));
                    assert!(!answer.is_replay());
                }
            }
        }
        assert!(service.notes().await.is_empty());
        assert_eq!((service.records().await, service.runs.so_far()), (0, 20));
    }

    #[tokio::test]
    async fn a_confirmed_request_commits_with_the_key_of_the_one_that_asked_back() {
        let service = service().await;
        assert_eq!(send(&service, "/confirmed?status=402", Some("k")).await.status, 402);
        let done = send(&service, "/confirmed?confirm=1", Some("k")).await;
        assert_eq!((done.status, &*done.body), (StatusCode::CREATED, "run 2"));
        for uri in ["/confirmed?confirm=1", "/confirmed?status=402"] {
            let replay = send(&service, uri, Some("k")).await;
            assert!(replay.is_replay());
            assert_eq!((replay.status, &*replay.body), (StatusCode::CREATED, "run 2"));
        }
        assert_eq!((service.notes().await, service.records().await), (vec!["run 2".into()], 1));
    }

    #[tokio::test]
    async fn without_a_key_it_is_rolled_back_too() {
        let service = service().await;
        for status in [200, 402] {
            let uri = format!("/audited?status={status}");
            assert_eq!(send(&service, &uri, None).await.status, status);
        }
        assert!(service.notes().await.is_empty());
        assert_eq!(send(&service, "/audited?confirm=1", None).await.status, StatusCode::CREATED);
        assert_eq!(service.notes().await, ["run 3"]);
    }

    #[tokio::test]
    async fn markers_have_the_names_that_the_application_chose() {
        let service = service().await.marking().await;
        let markers = |answer: &Answer| {
            let has = |name| answer.headers.get(name).is_some_and(|it| it == "true");
            (has("X-Idempotency-Stored"), has("X-Idempotency-Replay"))
        };
        let asked = send(&service, "/confirmed", Some("k")).await;
        assert_eq!(markers(&asked), (false, false));
        let done = send(&service, "/confirmed?confirm=1", Some("k")).await;
        assert_eq!(markers(&done), (true, false));
        let replay = send(&service, "/confirmed", Some("k")).await;
        assert_eq!(markers(&replay), (false, true));
        assert!(!replay.is_replay(), "by the name that was replaced");
        let unguarded = send(&service, "/audited?confirm=1", None).await;
        assert_eq!(markers(&unguarded), (false, false));
    }
}

fn mark<DB: Database>(builder: Builder<DB>) -> Idem<DB> {
    let builder = builder.replayed_header(HeaderName::from_static("x-idempotency-replay"));
    builder.stored_header(HeaderName::from_static("x-idempotency-stored")).build().unwrap()
}

impl Service<sqlx::Postgres> {
    async fn marking(self) -> Self {
        let store = PostgresStore::beside(&self.pool).connect().await.unwrap();
        self.with(mark(Idem::builder(store)))
    }
}

impl Service<sqlx::MySql> {
    async fn marking(self) -> Self {
        let store = MySqlStore::beside(&self.pool).connect().await.unwrap();
        self.with(mark(Idem::builder(store)))
    }
}

impl Service<sqlx::Sqlite> {
    async fn marking(self) -> Self {
        let store = SqliteStore::open(path_of(&self)).await.unwrap();
        self.with(mark(Idem::builder(store)))
    }
}
