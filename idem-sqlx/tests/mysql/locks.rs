//! Rows that somebody else is at, and statements that meet others.

use std::time::{Duration, Instant};

use idem_core::{Begun, Claimed, Ended, Owner, Store, Written};
use idem_testkit::Harness;
use sqlx::{Connection, MySqlConnection};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    common::{ENDS, LEASE, TTL, begin_of, begun, claim, id, is_won, response},
    database::Database,
};

/// Holds the locks of all rows.
struct Blocker(MySqlConnection);

impl Blocker {
    async fn of(database: &Database) -> Self {
        let mut blocker = Self(MySqlConnection::connect(&database.url).await.unwrap());
        // Rows only, and no gaps between them.
        blocker
            .execute(
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; BEGIN;
                SELECT id FROM idem FOR UPDATE",
            )
            .await;
        blocker
    }

    async fn execute(&mut self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&mut self.0).await.unwrap();
    }
}

/// In time, however long somebody else holds the row.
async fn at_once<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), what).await.expect("nobody is waited for")
}

#[tokio::test]
async fn whatever_only_reads_waits_for_no_lock() {
    let database = Database::fresh().await;
    let store = database.store().await;
    for key in ["done", "running", "failed", "held"] {
        assert!(is_won(&store.claim(&claim(key)).await.unwrap()));
    }
    let owner = async |key: &str| {
        let record = store.get(&id(key)).await.unwrap().unwrap();
        Owner { id: id(key), attempt: record.attempt }
    };
    let (done, held) = (owner("done").await, owner("held").await);
    assert_eq!(store.complete(&done, &response("done"), TTL).await.unwrap(), Written::Accepted);
    assert_eq!(store.hold(&held).await.unwrap(), Written::Accepted);
    let _blocker = Blocker::of(&database).await;
    for (key, expected) in [
        ("done", Claimed::Completed(response("done"))),
        ("running", Claimed::InFlight),
        ("held", Claimed::Held),
    ] {
        assert_eq!(at_once(store.claim(&claim(key))).await.unwrap().claimed, expected);
        let begun = at_once(store.begin(&begin_of(key, None))).await.unwrap();
        assert!(matches!(begun, Begun::Refused(it) if it.claimed == expected), "{key}");
    }
    let ids = ["done", "running", "absent"].map(id);
    assert_eq!(at_once(store.not_in_flight(&ids)).await.unwrap(), [id("done"), id("absent")]);
    assert_eq!(at_once(store.held(None, 10)).await.unwrap().len(), 1);
    // New keys are nobody's.
    assert!(is_won(&at_once(store.claim(&claim("new"))).await.unwrap()));
}

/// Somebody works on the record in a transaction.
#[tokio::test]
async fn a_claim_of_a_locked_row_is_in_flight_until_the_lock_is_gone() {
    let database = Database::fresh().await;
    let store = database.store().await;
    let failed = claim("failed");
    assert!(is_won(&store.claim(&failed).await.unwrap()));
    assert_eq!(store.fail(&failed.owner, TTL).await.unwrap(), Written::Accepted);
    let mut blocker = Blocker::of(&database).await;
    let mut claims = JoinSet::new();
    for _ in 0..30 {
        let store = store.clone();
        claims.spawn(async move { store.claim(&claim("failed")).await.unwrap().claimed });
    }
    assert!(at_once(claims.join_all()).await.iter().all(|it| *it == Claimed::InFlight));
    let begun = at_once(store.begin(&begin_of("failed", None))).await.unwrap();
    assert!(matches!(begun, Begun::Refused(it) if it.claimed == Claimed::InFlight));
    blocker.execute("COMMIT").await;
    assert!(is_won(&store.claim(&claim("failed")).await.unwrap()));
}

#[tokio::test]
async fn an_ending_waits_for_a_lock_that_goes_and_no_longer() {
    let database = Database::fresh().await;
    let store = database.impatient_store().await;
    let running = claim("running");
    assert!(is_won(&store.claim(&running).await.unwrap()));
    let mut blocker = Blocker::of(&database).await;
    let asked = Instant::now();
    let answer = response("paid");
    let error = store.complete(&running.owner, &answer, TTL).await.unwrap_err();
    assert!(error.is_outage(), "{error:?}");
    assert!(asked.elapsed() >= Duration::from_secs(1), "it is sent again for its whole time");
    let waiting = tokio::spawn({
        let (store, owner) = (database.store().await, running.owner.clone());
        async move { store.complete(&owner, &response("paid"), TTL).await.unwrap() }
    });
    // Renewals go on in time, and others are not in the way.
    assert!(is_won(&store.claim(&claim("other")).await.unwrap()));
    blocker.execute("COMMIT").await;
    assert_eq!(waiting.await.unwrap(), Written::Accepted);
}

#[tokio::test]
async fn a_sweep_leaves_locked_rows_to_the_next_one() {
    let database = Database::fresh().await;
    let store = database.store().await;
    for key in ["a", "b"] {
        let claim = claim(key);
        assert!(is_won(&store.claim(&claim).await.unwrap()));
        assert_eq!(store.fail(&claim.owner, LEASE).await.unwrap(), Written::Accepted);
    }
    database.elapse(TTL).await;
    let mut blocker = Blocker::of(&database).await;
    let late = claim("c");
    assert!(is_won(&store.claim(&late).await.unwrap()));
    assert_eq!(store.fail(&late.owner, Duration::ZERO).await.unwrap(), Written::Accepted);
    assert_eq!(at_once(store.sweep(10)).await.unwrap(), 1);
    blocker.execute("COMMIT").await;
    assert_eq!(store.sweep(10).await.unwrap(), 2);
}

/// The server says so of a statement that does nothing wrong. As if it were so, every other write to
/// the table fails like that.
#[tokio::test(flavor = "multi_thread")]
async fn deadlocks_never_reach_a_client() {
    for (state, number) in [("40001", 1213), ("HY000", 1205), ("HY000", 1020)] {
        let database = Database::fresh().await;
        let store = database.store().await;
        let trouble = format!(
            "CREATE SEQUENCE trials NOCACHE;
            CREATE PROCEDURE meet() BEGIN
                IF NEXTVAL(trials) % 2 = 1 THEN
                    SIGNAL SQLSTATE '{state}' SET MYSQL_ERRNO = {number};
                END IF;
            END;
            CREATE TRIGGER i BEFORE INSERT ON idem FOR EACH ROW CALL meet();
            CREATE TRIGGER u BEFORE UPDATE ON idem FOR EACH ROW CALL meet();
            CREATE TRIGGER d BEFORE DELETE ON idem FOR EACH ROW CALL meet()"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(trouble)).execute(&database.outside).await.unwrap();
        for round in 0..3 {
            let first = claim(&format!("k{round}"));
            assert!(is_won(&store.claim(&first).await.unwrap()), "{number}");
            assert_eq!(store.renew(&first.owner, LEASE).await.unwrap(), Written::Accepted);
            assert_eq!(store.fail(&first.owner, TTL).await.unwrap(), Written::Accepted);
            let second = claim(&format!("k{round}"));
            assert!(is_won(&store.claim(&second).await.unwrap()), "{number}");
            let written = store.complete(&second.owner, &response("paid"), TTL).await.unwrap();
            assert_eq!(written, Written::Accepted);
            let third = claim(&format!("released {round}"));
            assert!(is_won(&store.claim(&third).await.unwrap()), "{number}");
            assert_eq!(store.release(&third.owner).await.unwrap(), Written::Accepted);
        }
        assert!(database.number("SELECT NEXTVAL(trials)").await > 30);
    }
}

/// The first who has the record keeps others from it, until it ends.
#[tokio::test(flavor = "multi_thread")]
async fn an_execution_keeps_others_from_its_record_until_it_ends() {
    let database = Database::fresh().await;
    let stores = [database.store().await, database.store().await];
    for (number, end) in ENDS.into_iter().enumerate() {
        let key = number.to_string();
        let transaction = begun(&stores[0], &key).await;
        for store in &stores {
            let refused = at_once(store.begin(&begin_of(&key, None))).await.unwrap();
            let in_flight = matches!(&refused, Begun::Refused(it)
                if it.claimed == Claimed::InFlight && it.age.is_none());
            assert!(in_flight, "{end:?}: {refused:?}");
        }
        let ended = end.of(transaction, "first").await.unwrap();
        assert!(matches!(ended, Ended::Done), "{end:?}: {ended:?}");
        let again = stores[1].begin(&begin_of(&key, None)).await.unwrap();
        assert_eq!(matches!(again, Begun::Won { .. }), !end.records(), "{end:?}");
    }
}
