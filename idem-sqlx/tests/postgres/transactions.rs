//! Executions in transactions that meet, where the lock does not keep them apart.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use idem_core::{Begun, Claimed, Ended, Isolation, Judged, OpenTransaction, Store};
use idem_sqlx::{PostgresStore, Tx};
use idem_testkit::Harness;
use sqlx::{PgPool, Postgres, postgres::PgPoolOptions};
use tokio::time::{sleep, timeout};

use crate::{
    common::{ENDS, End, LEASE, assert_begins_after, begin_of, begun, claim, recorded},
    database::Database,
};

/// Two stores on the same records that do not see each other's locks: one of them knows the table
/// as a view. Only the record's own statement keeps them apart.
async fn blind_stores() -> (Database, [PostgresStore; 2]) {
    let database = Database::fresh().await;
    database
        .execute(
            "CREATE SCHEMA alias;
            CREATE VIEW alias.idem AS SELECT * FROM public.idem;
            CREATE SEQUENCE alias.idem_fence START 1000",
        )
        .await;
    let alias = PostgresStore::builder(database.url.parse().unwrap()).schema("alias");
    let stores = [database.store().await, alias.connect().await.unwrap()];
    (database, stores)
}

#[tokio::test]
async fn of_two_executions_the_first_that_records_counts_in_every_order() {
    let (_database, [one, other]) = blind_stores().await;
    let mut number = 0;
    for first in ENDS {
        for second in ENDS {
            for is_swapped in [false, true] {
                number += 1;
                let key = number.to_string();
                let mut transactions = [begun(&one, &key).await, begun(&other, &key).await];
                if is_swapped {
                    transactions.reverse();
                }
                let [earlier, later] = transactions;
                let case = format!("{first:?}, {second:?}, {is_swapped}");
                let ended = first.of(earlier, "first").await.unwrap();
                assert!(matches!(ended, Ended::Done), "{case}: {ended:?}");
                let ended = second.of(later, "second").await.unwrap();
                if first.records() && second.records() {
                    assert!(matches!(ended, Ended::Superseded), "{case}: {ended:?}");
                } else {
                    assert!(matches!(ended, Ended::Done), "{case}: {ended:?}");
                }
                let expected = match (first.records(), second.records()) {
                    (true, _) => Some("first"),
                    (false, true) => Some("second"),
                    (false, false) => None,
                };
                assert_eq!(recorded(&one, &key).await.as_deref(), expected, "{case}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_executions_that_end_at_once_one_counts() {
    let (_database, [one, other]) = blind_stores().await;
    let levels = [None, Some(Isolation::RepeatableRead), Some(Isolation::Serializable)];
    for (level, isolation) in levels.into_iter().enumerate() {
        for round in 0..15 {
            let (first, second) = (ENDS[round % 2], ENDS[round / 2 % 2]);
            let key = format!("{level} {round}");
            let mut transactions = Vec::new();
            for store in [&one, &other] {
                match store.begin(&begin_of(&key, isolation)).await.unwrap() {
                    Begun::Won { transaction, .. } => transactions.push(transaction),
                    refused @ Begun::Refused(_) => panic!("{refused:?}"),
                }
            }
            let [later, earlier] = [transactions.pop().unwrap(), transactions.pop().unwrap()];
            let ends = tokio::join!(
                tokio::spawn(first.of(earlier, "first")),
                tokio::spawn(second.of(later, "second")),
            );
            let ends = [ends.0.unwrap().unwrap(), ends.1.unwrap().unwrap()];
            let winner = match &ends {
                [Ended::Done, Ended::Superseded | Ended::Conflict] => "first",
                [Ended::Superseded | Ended::Conflict, Ended::Done] => "second",
                _ => panic!("{first:?}, {second:?}, {isolation:?}: {ends:?}"),
            };
            assert_eq!(recorded(&one, &key).await.as_deref(), Some(winner));
        }
    }
}

#[tokio::test]
async fn who_begins_while_another_is_at_it_is_refused() {
    let database = Database::fresh().await;
    let (one, other) = (database.store().await, database.store().await);
    let transaction = begun(&one, "k").await;
    let refused = other.begin(&begin_of("k", None)).await.unwrap();
    let unseen = Judged::new(Claimed::InFlight, None);
    assert!(matches!(&refused, Begun::Refused(it) if *it == unseen), "{refused:?}");
    begun(&other, "another").await.roll_back().await.unwrap();
    transaction.roll_back().await.unwrap();
    begun(&other, "k").await.roll_back().await.unwrap();
}

#[tokio::test]
async fn a_beginning_says_what_it_follows_and_the_age_of_the_record() {
    for isolation in [None, Some(Isolation::Serializable)] {
        let database = Database::fresh().await;
        assert_begins_after(&database.store().await, &database, isolation).await;
    }
}

#[tokio::test]
async fn a_record_that_is_committed_over_a_lapsed_one_says_so() {
    let database = Database::fresh().await;
    let store = database.store().await;
    for key in ["lapsed", "new"] {
        if key == "lapsed" {
            store.claim(&claim(key)).await.unwrap();
            database.elapse(LEASE * 2).await;
        }
        End::Commit.of(begun(&store, key).await, "done").await.unwrap();
    }
    assert_eq!(database.number("SELECT count(*) FROM idem WHERE takeover").await, 1);
    assert_eq!(
        database.number("SELECT count(*) FROM idem WHERE key = 'lapsed' AND takeover").await,
        1
    );
}

/// Polls a future as often as it is woken, but not more often than this, and then drops it.
async fn poll_up_to<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A store whose transactions have a pool that we can look into.
async fn open_store() -> (Database, PgPool, PostgresStore) {
    let database = Database::fresh().await;
    database.execute("CREATE TABLE notes (key text); CREATE TABLE checks (number int)").await;
    let pool = PgPoolOptions::new().max_connections(2).test_before_acquire(false);
    let pool = pool.connect(&database.url).await.unwrap();
    let store = PostgresStore::beside(&pool).connect().await.unwrap();
    (database, pool, store)
}

async fn write(transaction: &mut Box<dyn OpenTransaction>, key: &str) {
    let mut tx: Box<Tx<Postgres>> = transaction.lend().downcast().unwrap();
    sqlx::query("INSERT INTO notes VALUES ($1)").bind(key).execute(&mut **tx).await.unwrap();
}

/// What every connection acknowledges is there for all.
async fn check(database: &Database, pool: &PgPool) {
    let mut connections = Vec::new();
    for _ in 0..2 {
        connections.push(pool.acquire().await.unwrap());
    }
    for connection in &mut connections {
        let before = database.number("SELECT count(*) FROM checks").await;
        sqlx::query("INSERT INTO checks VALUES (1)").execute(&mut **connection).await.unwrap();
        assert_eq!(database.number("SELECT count(*) FROM checks").await, before + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_at_any_await_is_done_or_not_done() {
    let (database, pool, store) = open_store().await;
    for end in ENDS {
        for polls in 0.. {
            let key = format!("{end:?} {polls}");
            let begin = begin_of(&key, None);
            let is_begun = poll_up_to(polls, store.begin(&begin)).await.is_some();
            check(&database, &pool).await;
            let mut transaction = patient_begin(&store, &key).await.expect("nothing is recorded");
            write(&mut transaction, &key).await;
            let ended = poll_up_to(polls, end.of(transaction, "done")).await;
            let is_recorded = match patient_begin(&store, &key).await {
                None => true,
                Some(transaction) => {
                    transaction.roll_back().await.unwrap();
                    false
                }
            };
            check(&database, &pool).await;
            let notes = "SELECT count(*) FROM notes WHERE key = $1";
            let notes: i64 =
                sqlx::query_scalar(notes).bind(&key).fetch_one(&database.outside).await.unwrap();
            match end {
                End::Commit => assert_eq!(notes, i64::from(is_recorded), "{key}"),
                End::Reject => assert_eq!(notes, 0, "{key}"),
                End::RollBack => assert!(notes == 0 && !is_recorded, "{key}"),
            }
            if let Some(ended) = &ended {
                assert!(matches!(ended, Ok(Ended::Done)), "{ended:?}");
                assert_eq!(is_recorded, end.records());
            }
            if is_begun && ended.is_some() {
                break;
            }
        }
    }
}

/// `None` if the record is completed.
async fn patient_begin(store: &PostgresStore, key: &str) -> Option<Box<dyn OpenTransaction>> {
    let patient = timeout(Duration::from_mins(1), async {
        loop {
            match store.begin(&begin_of(key, None)).await.unwrap() {
                Begun::Won { transaction, .. } => return Some(transaction),
                Begun::Refused(Judged { claimed: Claimed::Completed(_), .. }) => return None,
                Begun::Refused(Judged { claimed: Claimed::InFlight, .. }) => {
                    sleep(Duration::from_millis(2)).await;
                }
                refused @ Begun::Refused(_) => panic!("{refused:?}"),
            }
        }
    });
    patient.await.expect("this takes too long")
}
