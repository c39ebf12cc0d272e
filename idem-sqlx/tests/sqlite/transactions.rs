//! Executions in transactions, with others between their parts.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use idem_core::{Begun, Ended, OpenTransaction, Store};
use idem_sqlx::{SqliteStore, Tx};
use idem_testkit::Harness;
use sqlx::{Sqlite, sqlite::SqliteConnectOptions};

use crate::{
    common::{ENDS, End, LEASE, assert_begins_after, begin_of, begun, claim, recorded},
    file::File,
};

/// A store that nobody loses patience with.
async fn patient_store(file: &File) -> SqliteStore {
    let options = SqliteConnectOptions::new().filename(file.path());
    SqliteStore::builder(options).busy_timeout(Duration::from_mins(1)).open().await.unwrap()
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

/// The other one comes between the rollback and the record: it gets the file while the first one
/// queues for its writer behind us.
#[tokio::test(flavor = "multi_thread")]
async fn a_final_error_that_comes_second_does_not_count() {
    let file = File::fresh().await;
    let (one, other) = (patient_store(&file).await, patient_store(&file).await);
    for (number, end) in ENDS.into_iter().enumerate() {
        let key = number.to_string();
        let transaction = begun(&one, &key).await;
        let mut queueing = pin!(one.writer().acquire());
        let queued = poll_fn(|context| Poll::Ready(queueing.as_mut().poll(context).is_pending()));
        assert!(queued.await);
        let rejecting = tokio::spawn(End::Reject.of(transaction, "late error"));
        let writer = queueing.await.unwrap();

        let ended = end.of(begun(&other, &key).await, "in between").await.unwrap();
        assert!(matches!(ended, Ended::Done), "{ended:?}");
        assert!(!rejecting.is_finished());
        drop(writer);
        let ended = rejecting.await.unwrap().unwrap();
        if end.records() {
            assert!(matches!(ended, Ended::Superseded), "{end:?}: {ended:?}");
            assert_eq!(recorded(&one, &key).await.as_deref(), Some("in between"));
        } else {
            assert!(matches!(ended, Ended::Done), "{end:?}: {ended:?}");
            assert_eq!(recorded(&one, &key).await.as_deref(), Some("late error"));
        }
    }
}

/// A lease that was claimed in between counts, too, also when it has ended without an answer: its
/// fence is not lower than that of the execution that was rolled back.
#[tokio::test(flavor = "multi_thread")]
async fn a_final_error_that_comes_after_another_claim_does_not_count() {
    let file = File::fresh().await;
    let (one, other) = (patient_store(&file).await, patient_store(&file).await);
    for (key, does_fail) in [("claimed", false), ("failed", true)] {
        let transaction = begun(&one, key).await;
        let mut queueing = pin!(one.writer().acquire());
        let queued = poll_fn(|context| Poll::Ready(queueing.as_mut().poll(context).is_pending()));
        assert!(queued.await);
        let rejecting = tokio::spawn(End::Reject.of(transaction, "late error"));
        let writer = queueing.await.unwrap();

        let claim = claim(key);
        other.claim(&claim).await.unwrap();
        if does_fail {
            let _ = other.fail(&claim.owner, crate::common::TTL).await.unwrap();
        }
        drop(writer);
        let ended = rejecting.await.unwrap().unwrap();
        assert!(matches!(ended, Ended::Superseded), "{key}: {ended:?}");
        let completed = file.number("SELECT count(*) FROM idem WHERE state = 2").await;
        assert_eq!(completed, 0, "{key}");
    }
}

async fn write(transaction: &mut Box<dyn OpenTransaction>, key: &str) {
    let mut tx: Box<Tx<Sqlite>> = transaction.lend().downcast().unwrap();
    sqlx::query("INSERT INTO notes VALUES ($1)").bind(key).execute(&mut **tx).await.unwrap();
}

/// What the writer acknowledges is there for all.
async fn check(file: &File, store: &SqliteStore) {
    let before = file.number("SELECT count(*) FROM checks").await;
    sqlx::query("INSERT INTO checks VALUES (1)").execute(store.writer()).await.unwrap();
    assert_eq!(file.number("SELECT count(*) FROM checks").await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_at_any_await_is_done_or_not_done() {
    let file = File::fresh().await;
    file.execute("CREATE TABLE notes (key text); CREATE TABLE checks (number int)").await;
    let store = patient_store(&file).await;
    for end in ENDS {
        for polls in 0.. {
            let key = format!("{end:?} {polls}");
            let begin = begin_of(&key, None);
            let is_begun = poll_up_to(polls, store.begin(&begin)).await.is_some();
            check(&file, &store).await;
            let mut transaction = begun(&store, &key).await;
            write(&mut transaction, &key).await;
            let ended = poll_up_to(polls, end.of(transaction, "done")).await;
            check(&file, &store).await;
            let is_recorded = recorded(&store, &key).await.is_some();
            let notes = "SELECT count(*) FROM notes WHERE key = $1";
            let notes: i64 =
                sqlx::query_scalar(notes).bind(&key).fetch_one(&file.outside).await.unwrap();
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

#[tokio::test]
async fn a_beginning_says_what_it_follows_and_the_age_of_the_record() {
    let file = File::fresh().await;
    assert_begins_after(&file.store().await, &file, None).await;
}

#[tokio::test]
async fn a_record_that_is_committed_over_a_lapsed_one_says_so() {
    let file = File::fresh().await;
    let store = file.store().await;
    for key in ["lapsed", "new"] {
        if key == "lapsed" {
            store.claim(&claim(key)).await.unwrap();
            file.elapse(LEASE * 2).await;
        }
        End::Commit.of(begun(&store, key).await, "done").await.unwrap();
    }
    assert_eq!(file.number("SELECT count(*) FROM idem WHERE takeover").await, 1);
    assert_eq!(file.number("SELECT count(*) FROM idem WHERE key = 'lapsed' AND takeover").await, 1);
}

/// The writer is one connection, so the other waits for it, and then sees the record.
#[tokio::test(flavor = "multi_thread")]
async fn who_begins_while_another_is_at_it_waits_and_sees_what_came_of_it() {
    let file = File::fresh().await;
    let store = patient_store(&file).await;
    for end in [End::Commit, End::RollBack] {
        let key = format!("{end:?}");
        let transaction = begun(&store, &key).await;
        let begin = begin_of(&key, None);
        let mut waiting = pin!(store.begin(&begin));
        let mut polls = 0;
        // Until it has looked, and queues for the writer.
        while polls < 50 {
            assert!(poll_up_to(1, waiting.as_mut()).await.is_none());
            tokio::task::yield_now().await;
            polls += 1;
        }
        end.of(transaction, "done").await.unwrap();
        let verdict = waiting.await.unwrap();
        assert_eq!(matches!(verdict, Begun::Refused(_)), end.records(), "{verdict:?}");
        if let Begun::Won { transaction, .. } = verdict {
            transaction.roll_back().await.unwrap();
        }
    }
}
