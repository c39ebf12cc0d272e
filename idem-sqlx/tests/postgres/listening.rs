//! Stores that tell each other what has ended, by `NOTIFY`.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use idem_core::{Announced, Announcements, RecordId, Store, Written};
use idem_sqlx::PostgresStore;
use idem_testkit::{Harness, PostgresServer, async_trait};
use sqlx::{AssertSqlSafe, postgres::PgListener};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    common::{ENDS, TTL, begun, claim, is_won, response},
    database::Database,
};

/// A database whose stores listen.
struct Listening(Database);

#[async_trait]
impl Harness for Listening {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.0.listening_store().await)
    }

    async fn delete(&self, id: &RecordId) {
        self.0.delete(id).await;
    }

    async fn set_version(&self, id: &RecordId, version: i16) {
        self.0.set_version(id, version).await;
    }

    async fn elapse(&self, by: Duration) {
        self.0.elapse(by).await;
    }
}

mod conformance {
    idem_testkit::announcements!(super::Listening(crate::database::Database::fresh().await));
}

/// The sessions that listen. What one did last is to listen, or to notify.
const SESSIONS: &str = "FROM pg_stat_activity WHERE datname = current_database()
    AND (query LIKE 'LISTEN%' OR query LIKE 'SELECT pg_notify%')";

impl Database {
    async fn listening_store(&self) -> PostgresStore {
        PostgresStore::builder(self.url.parse().unwrap()).listen().connect().await.unwrap()
    }

    async fn sessions(&self) -> i64 {
        let sql = AssertSqlSafe(format!("SELECT count(*) {SESSIONS}"));
        sqlx::query_scalar(sql).fetch_one(&self.outside).await.unwrap()
    }

    /// Waits until so many stores listen.
    async fn await_sessions(&self, number: i64) {
        let so_many = async {
            while self.sessions().await != number {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_mins(1), so_many).await.expect("so many stores listen");
    }
}

/// Executes, and says which record it was.
async fn execute(store: &PostgresStore, key: &str) -> [u8; 32] {
    let claim = claim(key);
    assert!(is_won(&store.claim(&claim).await.unwrap()));
    let written = store.complete(&claim.owner, &response("paid"), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
    *claim.owner.id.digest()
}

/// Waits until the ending of this record is announced, and says how many others were before it.
async fn heard(announcements: &mut Announcements, digest: [u8; 32]) -> usize {
    let heard = async {
        let mut others = 0;
        loop {
            match announcements.next().await {
                Announced::Ended(it) if it == digest => return others,
                Announced::Ended(_) => others += 1,
                Announced::Lost => {}
            }
        }
    };
    timeout(Duration::from_mins(1), heard).await.expect("the ending is announced")
}

async fn heard_that_something_was_lost(announcements: &mut Announcements) {
    let lost = async { while announcements.next().await != Announced::Lost {} };
    timeout(Duration::from_mins(1), lost).await.expect("it is announced that something was lost");
}

#[tokio::test]
async fn however_a_transaction_ends_it_is_announced() {
    let database = Database::fresh().await;
    let (store, other) = (database.listening_store().await, database.listening_store().await);
    database.await_sessions(2).await;
    let mut announcements = other.announcements().unwrap();
    for end in ENDS {
        let key = format!("{end:?}");
        let transaction = begun(&store, &key).await;
        end.of(transaction, "paid").await.unwrap();
        heard(&mut announcements, *claim(&key).owner.id.digest()).await;
        // Nobody is in the way any more.
        let recorded = crate::common::recorded(&other, &key).await;
        assert_eq!(recorded.is_some(), end.records(), "{end:?}");
    }
}

/// The session that tells something next.
async fn teller(listener: &mut PgListener) -> u32 {
    let told = timeout(Duration::from_mins(1), listener.recv()).await;
    told.expect("something is told").unwrap().process_id()
}

#[tokio::test]
async fn an_ending_is_told_by_a_session_that_writes_no_record() {
    let database = Database::fresh().await;
    database
        .execute(
            "CREATE TABLE writers (pid integer NOT NULL);
            CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS
                $$BEGIN INSERT INTO writers VALUES (pg_backend_pid()); RETURN NULL; END$$;
            CREATE TRIGGER writes AFTER INSERT OR UPDATE OR DELETE ON idem
                FOR EACH ROW EXECUTE FUNCTION write_down()",
        )
        .await;
    let store = database.listening_store().await;
    database.await_sessions(1).await;
    let channel = format!(r#"SELECT substring(query FROM 'LISTEN "(\w+)"') {SESSIONS}"#);
    let channel: String =
        sqlx::query_scalar(AssertSqlSafe(channel)).fetch_one(&database.outside).await.unwrap();
    let mut listener = PgListener::connect(&database.url).await.unwrap();
    listener.listen(&channel).await.unwrap();

    execute(&store, "leased").await;
    let mut tellers = HashSet::from([teller(&mut listener).await]);
    for end in ENDS {
        end.of(begun(&store, &format!("{end:?}")).await, "paid").await.unwrap();
        tellers.insert(teller(&mut listener).await);
    }
    let writers: Vec<i32> = sqlx::query_scalar("SELECT DISTINCT pid FROM writers")
        .fetch_all(&database.outside)
        .await
        .unwrap();
    assert!(!writers.is_empty());
    assert_eq!(tellers.len(), 1, "{tellers:?}");
    assert!(!writers.iter().any(|it| tellers.contains(&it.cast_unsigned())), "{writers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_endings_are_told_in_few_statements() {
    const ENDINGS: usize = 1_000;
    let database = Database::fresh().await;
    database.execute("CREATE EXTENSION pg_stat_statements").await;
    let store = database.listening_store().await;
    database.await_sessions(1).await;
    let mut announcements = store.announcements().unwrap();
    execute(&store, "first").await;

    let start = Instant::now();
    let mut executions = JoinSet::new();
    for number in 0..ENDINGS {
        let store = store.clone();
        executions.spawn(async move { execute(&store, &number.to_string()).await });
    }
    let mut digests: HashSet<_> = executions.join_all().await.into_iter().collect();
    let all_heard = async {
        while !digests.is_empty() {
            match announcements.next().await {
                Announced::Ended(digest) => drop(digests.remove(&digest)),
                Announced::Lost => panic!("nothing is lost where there is room for it"),
            }
        }
    };
    timeout(Duration::from_mins(1), all_heard).await.expect("all endings are announced");
    let in_time_for = start.elapsed().as_millis() / 10 + 2;
    let told = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
        WHERE query LIKE 'SELECT pg_notify%'
            AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let told = u128::try_from(database.number(told).await).unwrap();
    assert!((2..=in_time_for).contains(&told), "{told} statements, {in_time_for} would be in time");
}

#[tokio::test]
async fn a_session_that_was_ended_is_replaced_and_what_was_missed_is_known_to_be() {
    let database = Database::fresh().await;
    let (store, other) = (database.listening_store().await, database.listening_store().await);
    database.await_sessions(2).await;
    let mut announcements = other.announcements().unwrap();
    let first = execute(&store, "first").await;
    heard(&mut announcements, first).await;

    let end = AssertSqlSafe(format!("SELECT count(pg_terminate_backend(pid)) {SESSIONS}"));
    let ended: i64 = sqlx::query_scalar(end).fetch_one(&database.outside).await.unwrap();
    assert_eq!(ended, 2);
    // Told by the next session, or missed by it, and then it is known that something was missed.
    execute(&store, "meanwhile").await;
    heard_that_something_was_lost(&mut announcements).await;
    database.await_sessions(2).await;
    let last = execute(&store, "last").await;
    heard(&mut announcements, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_is_listened_to_again() {
    let server = PostgresServer::start();
    let database = Database::on(&server).await;
    let store = database.listening_store().await;
    database.await_sessions(1).await;
    let mut announcements = store.announcements().unwrap();
    server.stop();
    sleep(Duration::from_secs(1)).await;
    server.restart();
    heard_that_something_was_lost(&mut announcements).await;
    let digest = execute(&store, "k").await;
    heard(&mut announcements, digest).await;
}

#[tokio::test]
async fn a_store_that_is_gone_has_told_everything_and_leaves_no_session() {
    let database = Database::fresh().await;
    let (store, other) = (database.listening_store().await, database.listening_store().await);
    database.await_sessions(2).await;
    let mut announcements = other.announcements().unwrap();
    let last = execute(&store, "last").await;
    drop(store);
    heard(&mut announcements, last).await;
    database.await_sessions(1).await;
    drop(other);
    database.await_sessions(0).await;
}

#[tokio::test]
async fn stores_on_different_tables_do_not_hear_each_other() {
    let database = Database::fresh().await;
    let builder = || PostgresStore::builder(database.url.parse().unwrap()).listen();
    let store = builder().connect().await.unwrap();
    let mut announcements = store.announcements().unwrap();
    database.await_sessions(1).await;
    for other in [builder().table("other"), builder().schema("App")] {
        let other = other.connect().await.unwrap();
        other.migrate().await.unwrap();
        let mut others = other.announcements().unwrap();
        let digest = execute(&other, "theirs").await;
        heard(&mut others, digest).await;
        drop(other);
        database.await_sessions(1).await;
    }
    // The same table, however it is named.
    let same = builder().schema("public").connect().await.unwrap();
    database.await_sessions(2).await;
    let ours = execute(&same, "ours").await;
    assert_eq!(heard(&mut announcements, ours).await, 0);
}

#[tokio::test]
async fn a_store_that_is_not_to_listen_takes_no_connection_for_it() {
    let database = Database::fresh().await;
    let (store, listening) = (database.store().await, database.listening_store().await);
    assert!(store.announcements().is_none());
    database.await_sessions(1).await;
    drop(listening);
    database.await_sessions(0).await;
}
