//! Executions in transactions.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use idem_core::{Begun, Ended, Isolation, Store};
use idem_sqlx::{MySqlStore, Tx};
use idem_testkit::Harness;
use sqlx::{MySql, mysql::MySqlPoolOptions};
use tokio::time::{sleep, timeout};

use crate::{
    common::{ENDS, End, TTL, assert_begins_after, begin_of, begun, recorded},
    database::Database,
};

#[tokio::test]
async fn an_execution_follows_whatever_its_record_was() {
    for isolation in [
        None,
        Some(Isolation::ReadCommitted),
        Some(Isolation::RepeatableRead),
        Some(Isolation::Serializable),
    ] {
        let database = Database::fresh().await;
        assert_begins_after(&database.store().await, &database, isolation).await;
    }
}

/// Also while they are swept.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_executions_at_once_one_counts() {
    let database = Database::fresh().await;
    let stores = [database.store().await, database.store().await];
    for round in 0..20 {
        let key = (round / 4).to_string();
        if round % 4 == 0 {
            database.elapse(TTL).await;
        }
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..20 {
            let (store, key) = (stores[number % 2].clone(), key.clone());
            tasks.spawn(async move {
                if number == 7 {
                    store.sweep(10).await.unwrap();
                }
                match store.begin(&begin_of(&key, None)).await.unwrap() {
                    Begun::Won { transaction, .. } => {
                        let end = ENDS[number % 2];
                        matches!(end.of(transaction, "done").await.unwrap(), Ended::Done)
                    }
                    Begun::Refused(_) => false,
                }
            });
        }
        let done = tasks.join_all().await.into_iter().filter(|it| *it).count();
        assert_eq!(done, usize::from(round % 4 == 0), "{round}");
    }
}

/// A begin that nobody waits for leaves its session in order, however far it came.
#[tokio::test(flavor = "multi_thread")]
async fn a_begin_that_is_given_up_leaves_its_connection_as_it_was() {
    let database = Database::fresh().await;
    let pool = MySqlPoolOptions::new().max_connections(2).connect(&database.url).await.unwrap();
    let store = MySqlStore::beside(&pool).connect().await.unwrap();
    database.execute("CREATE TABLE t (n int)").await;
    for polls in 0..20 {
        let key = polls.to_string();
        let begin = begin_of(&key, None);
        let mut begin = pin!(store.begin(&begin));
        let mut left = polls;
        let given_up = poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(None);
            }
            left -= 1;
            begin.as_mut().poll(context).map(Some)
        });
        drop(timeout(Duration::from_secs(20), given_up).await.expect("it is woken"));
        for _ in 0..4 {
            let mut connection = pool.acquire().await.unwrap();
            sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *connection).await.unwrap();
            let state = "SELECT CONCAT_WS(' ', @@autocommit, @@completion_type,
                @@idle_transaction_timeout, @@in_transaction)";
            let state: String =
                sqlx::query_scalar(state).fetch_one(&mut *connection).await.unwrap();
            assert_eq!(state, "ON NO_CHAIN 0 0", "{polls}");
        }
        assert_eq!(database.number("SELECT count(*) FROM t").await, 4 * (i64::from(polls) + 1));
    }
    // What was begun is rolled back, sooner or later.
    for polls in 0..20 {
        let key = polls.to_string();
        let begun = async {
            loop {
                match store.begin(&begin_of(&key, None)).await.unwrap() {
                    Begun::Won { transaction, .. } => return transaction,
                    Begun::Refused(_) => sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let transaction = timeout(Duration::from_secs(30), begun).await.expect("nobody has it");
        transaction.roll_back().await.unwrap();
    }
}

#[tokio::test]
async fn a_transaction_is_lent_as_a_tx_of_this_database() {
    let database = Database::fresh().await;
    let store = database.store().await;
    database.execute("CREATE TABLE t (n int)").await;
    for (number, end) in ENDS.into_iter().enumerate() {
        let key = number.to_string();
        let mut transaction = begun(&store, &key).await;
        let mut tx = transaction.lend().downcast::<Tx<MySql>>().unwrap();
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut **tx).await.unwrap();
        drop(tx);
        assert!(matches!(end.of(transaction, "done").await.unwrap(), Ended::Done));
        assert_eq!(recorded(&store, &key).await.is_some(), end.records());
    }
    assert_eq!(database.number("SELECT count(*) FROM t").await, 1, "{:?}", End::Commit);
}
