//! Duplicates at the same time: one execution, whatever the number of processes.

use std::time::Duration;

use axum::{Extension, Router, extract::State, http::StatusCode, routing::post};
use idem::{Idem, SqliteStore, Tx, idempotent};
use tokio::task::JoinSet;

use crate::support::{Answer, Hold, Runs, Service, on_each_database, patiently};

const DUPLICATES: usize = 200;

on_each_database! {
    #[idempotent(scope = "global")]
    async fn create(State(runs): State<Runs>, mut tx: Tx<Db>, body: String) -> (StatusCode, String) {
        let run = runs.count();
        sqlx::query(INSERT_NOTE).bind(&body).execute(&mut *tx).await.unwrap();
        (StatusCode::CREATED, format!("{body} by run {run}"))
    }

    #[idempotent(scope = "global")]
    pub(super) async fn wait(
        State(runs): State<Runs>,
        Extension(hold): Extension<Hold>,
        mut tx: Tx<Db>,
    ) -> (StatusCode, String) {
        let run = runs.count();
        sqlx::query("INSERT INTO notes VALUES ('held')").execute(&mut *tx).await.unwrap();
        hold.here().await;
        (StatusCode::CREATED, format!("run {run}"))
    }

    pub(super) fn waiting(hold: &Hold) -> Router<Service<Db>> {
        Router::new().route("/notes", post(wait)).layer(Extension(hold.clone()))
    }

    fn sending(
        tasks: &mut JoinSet<(String, Answer)>,
        service: &Service<Db>,
        router: &Router<Service<Db>>,
        key: &str,
    ) {
        let (service, router, key) = (service.clone(), router.clone(), key.to_owned());
        tasks.spawn(async move {
            let answer = service.post(&router, &key, key.clone()).await;
            (key, answer)
        });
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_duplicates_one_executes_and_all_the_others_learn_its_answer() {
        let service = service().await;
        let router = Router::new().route("/notes", post(create));
        let mut tasks = JoinSet::new();
        for _ in 0..DUPLICATES {
            sending(&mut tasks, &service, &router, "k");
        }
        let answers = patiently(tasks.join_all()).await;
        let mut executed = 0;
        for (_, answer) in answers {
            if answer.status == StatusCode::CREATED {
                assert_eq!(answer.body, "k by run 1");
                executed += usize::from(!answer.is_replay());
            } else {
                assert_eq!((answer.status, &*answer.problem()), (StatusCode::CONFLICT, "in-flight"));
                assert!(answer.is_transient());
            }
        }
        assert_eq!((executed, service.runs.so_far()), (1, 1));
        assert_eq!(service.notes().await, ["k"]);
        for _ in 0..20 {
            let replay = service.post(&router, "k", "k").await;
            assert!(replay.is_replay());
            assert_eq!((replay.status, &*replay.body), (StatusCode::CREATED, "k by run 1"));
        }
        assert_eq!((service.notes().await.len(), service.records().await), (1, 1));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_duplicate_in_the_same_process_is_refused_at_once() {
        let service = service().await;
        let hold = Hold::new();
        let router = waiting(&hold);
        let first = service.sending(&router, "k");
        hold.arrival().await;
        let duplicate = patiently(service.send(&router, "k")).await;
        assert!(!first.is_finished());
        assert_eq!((duplicate.status, &*duplicate.problem()), (StatusCode::CONFLICT, "in-flight"));
        hold.release();
        assert_eq!(first.await.unwrap().body, "run 1");
        assert!(service.send(&router, "k").await.is_replay());
        assert_eq!(service.notes().await, ["held"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_processes_with_many_keys_execute_each_key_once() {
        const KEYS: usize = 20;
        let one = service().await;
        let processes = [one.clone(), other_process(&one).await];
        let router = Router::new().route("/notes", post(create));
        let mut tasks = JoinSet::new();
        for number in 0..KEYS * 10 {
            let key = format!("key {}", number % KEYS);
            for process in &processes {
                sending(&mut tasks, process, &router, &key);
            }
        }
        let mut executed = Vec::new();
        while let Some(ended) = patiently(tasks.join_next()).await {
            let (key, answer) = ended.unwrap();
            if answer.status == StatusCode::CREATED {
                if !answer.is_replay() {
                    executed.push(key);
                }
            } else {
                assert!(answer.is_transient(), "{answer:?}");
                sending(&mut tasks, &processes[usize::from(executed.len() % 2 == 0)], &router, &key);
            }
        }
        executed.sort();
        let mut keys: Vec<String> = (0..KEYS).map(|number| format!("key {number}")).collect();
        keys.sort();
        assert_eq!(executed, keys);
        assert_eq!(one.notes().await, keys);
        assert_eq!(one.records().await, i64::try_from(KEYS).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_in_another_process_is_refused_without_waiting_for_the_first() {
    let one = crate::support::postgres::service().await;
    let other = crate::support::postgres::other_process(&one).await;
    let hold = Hold::new();
    let router = postgres::waiting(&hold);
    let first = one.sending(&router, "k");
    hold.arrival().await;
    for _ in 0..10 {
        let duplicate = patiently(other.send(&router, "k")).await;
        assert_eq!((duplicate.status, &*duplicate.problem()), (StatusCode::CONFLICT, "in-flight"));
        assert!(duplicate.is_transient());
    }
    assert!(!first.is_finished());
    hold.release();
    assert_eq!(first.await.unwrap().body, "run 1");
    let replay = other.send(&router, "k").await;
    assert!(replay.is_replay());
    assert_eq!(replay.body, "run 1");
    assert_eq!((one.notes().await.len(), one.runs.so_far()), (1, 1));
}

/// On SQLite a handler has the file's write lock. Another process cannot tell a duplicate from
/// another request before it has that lock, too: so it waits, and gives up after its busy timeout.
#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_duplicate_in_another_process_gives_up_while_the_first_holds_the_file() {
    let one = crate::support::sqlite::service().await;
    let store = SqliteStore::builder(format!("sqlite://{}", path(&one)).parse().unwrap())
        .busy_timeout(Duration::from_millis(100))
        .open()
        .await
        .unwrap();
    let other = one.clone().with(Idem::builder(store).build().unwrap());
    let hold = Hold::new();
    let router = sqlite::waiting(&hold);
    let first = one.sending(&router, "k");
    hold.arrival().await;
    let duplicate = patiently(other.send(&router, "k")).await;
    assert_eq!(duplicate.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(duplicate.problem(), "store-unavailable");
    assert!(duplicate.is_transient());
    assert!(!first.is_finished());
    hold.release();
    assert_eq!(first.await.unwrap().body, "run 1");
    assert!(other.send(&router, "k").await.is_replay());
    assert_eq!((one.notes().await.len(), one.runs.so_far()), (1, 1));
}

/// Whether it comes to wait or not.
#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_duplicate_that_waits_for_the_file_gets_the_answer() {
    let one = crate::support::sqlite::service().await;
    let other = crate::support::sqlite::other_process(&one).await;
    let hold = Hold::new();
    let router = sqlite::waiting(&hold);
    let first = one.sending(&router, "k");
    hold.arrival().await;
    let duplicate = other.sending(&router, "k");
    tokio::task::yield_now().await;
    hold.release();
    assert_eq!(first.await.unwrap().body, "run 1");
    let duplicate = patiently(duplicate).await.unwrap();
    assert!(duplicate.is_replay());
    assert_eq!(duplicate.body, "run 1");
    assert_eq!((one.notes().await.len(), one.runs.so_far()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_replay_does_not_wait_for_whoever_writes() {
    let service = crate::support::sqlite::service().await;
    let hold = Hold::new();
    let router = sqlite::waiting(&hold);
    hold.release();
    assert_eq!(service.send(&router, "done").await.body, "run 1");
    hold.arrival().await;
    let writing = service.sending(&router, "writing");
    hold.arrival().await;
    let processes = [service.clone(), crate::support::sqlite::other_process(&service).await];
    for process in processes {
        assert!(patiently(process.send(&router, "done")).await.is_replay());
    }
    assert!(!writing.is_finished());
    hold.release();
    assert_eq!(writing.await.unwrap().body, "run 2");
}

fn path(service: &Service<sqlx::Sqlite>) -> String {
    crate::support::sqlite::path_of(service).to_str().unwrap().to_owned()
}
