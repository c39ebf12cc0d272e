//! What a request costs, as the server itself counts it.

use std::sync::OnceLock;

use idem_core::{Claimed, Store, Written};
use idem_sqlx::PostgresStore;
use idem_testkit::PostgresServer;

use crate::{
    common::{TTL, claim, is_won, response},
    database::Database,
};

#[derive(Clone, Copy)]
enum Layout {
    Plain,
    Partitioned,
}

const LAYOUTS: [Layout; 2] = [Layout::Plain, Layout::Partitioned];

/// A server on which nothing happens but what the tests of this file do, in turn.
async fn quiet_database(layout: Layout) -> (Database, PostgresStore) {
    static SERVER: OnceLock<PostgresServer> = OnceLock::new();
    let mut fresh = false;
    let server = SERVER.get_or_init(|| {
        fresh = true;
        PostgresServer::start()
    });
    let database = match layout {
        Layout::Plain => Database::on(server).await,
        Layout::Partitioned => Database::partitioned_on(server).await,
    };
    if fresh {
        database.execute("ALTER SYSTEM SET autovacuum = off").await;
        database.execute("SELECT pg_reload_conf()").await;
        database.execute("CREATE ROLE app SUPERUSER LOGIN").await;
    }
    database.execute("CREATE EXTENSION pg_stat_statements").await;
    let url = database.url.replace("postgres@", "app@");
    let store = PostgresStore::connect(&url).await.unwrap();
    (database, store)
}

static IN_TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl Database {
    async fn reset(&self) {
        self.execute("SELECT pg_stat_statements_reset()").await;
    }

    /// Whatever the store sent, ours or not.
    async fn sum(&self, column: &str) -> i64 {
        let sql = format!(
            "SELECT coalesce(sum({column}), 0)::bigint FROM pg_stat_statements
             WHERE userid = 'app'::regrole"
        );
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&self.outside).await.unwrap()
    }

    async fn next_transaction(&self) -> i64 {
        self.number("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").await
    }
}

#[tokio::test]
async fn a_first_request_is_two_statements_and_a_replay_is_one() {
    let _turn = IN_TURN.lock().await;
    for layout in LAYOUTS {
        let (database, store) = quiet_database(layout).await;
        let first = claim("k");

        database.reset().await;
        assert!(is_won(&store.claim(&first).await.unwrap()));
        let written = store.complete(&first.owner, &response("paid"), TTL).await.unwrap();
        assert_eq!(written, Written::Accepted);
        assert_eq!(database.sum("calls").await, 2);

        database.reset().await;
        assert_eq!(
            store.claim(&claim("k")).await.unwrap().claimed,
            Claimed::Completed(response("paid"))
        );
        assert_eq!(database.sum("calls").await, 1);
    }
}

#[tokio::test]
async fn a_replay_locks_no_row_and_writes_nothing() {
    let _turn = IN_TURN.lock().await;
    for layout in LAYOUTS {
        let (database, store) = quiet_database(layout).await;
        let first = claim("k");

        database.reset().await;
        store.claim(&first).await.unwrap();
        let _ = store.complete(&first.owner, &response("paid"), TTL).await.unwrap();
        assert!(database.sum("wal_records").await > 0, "a first request writes");
        store.claim(&claim("k")).await.unwrap();

        database.reset().await;
        let next_transaction = database.next_transaction().await;
        for _ in 0..50 {
            assert_eq!(
                store.claim(&claim("k")).await.unwrap().claimed,
                Claimed::Completed(response("paid"))
            );
        }
        assert_eq!(database.sum("calls").await, 50);
        assert_eq!(database.sum("wal_records").await, 0);
        assert_eq!(database.next_transaction().await, next_transaction);
        // A row lock would have left its transaction here.
        assert_eq!(database.number("SELECT xmax::text::bigint FROM idem").await, 0);
    }
}

#[tokio::test]
async fn a_refusal_writes_nothing_and_draws_no_fence() {
    let _turn = IN_TURN.lock().await;
    for layout in LAYOUTS {
        let (database, store) = quiet_database(layout).await;
        store.claim(&claim("k")).await.unwrap();
        store.claim(&claim("k")).await.unwrap();

        database.reset().await;
        let next_transaction = database.next_transaction().await;
        let fence = database.number("SELECT last_value FROM idem_fence").await;
        for _ in 0..50 {
            assert_eq!(store.claim(&claim("k")).await.unwrap().claimed, Claimed::InFlight);
        }
        assert_eq!(database.sum("wal_records").await, 0);
        assert_eq!(database.next_transaction().await, next_transaction);
        assert_eq!(database.number("SELECT last_value FROM idem_fence").await, fence);
    }
}
