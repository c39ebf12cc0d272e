//! Servers that only read: standbys, and what is left of a primary after a failover.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use idem_core::{
    Begun, Claimed, Judged, RecordId, Store, StoreError, TransactionSettings, Written,
};
use idem_sqlx::{PostgresStore, SetupError};
use idem_testkit::PostgresServer;
use sqlx::{Connection, PgConnection};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::{
    common::{LEASE, TTL, begin_of, claim, id, is_won, response},
    database::Database,
};

const PATIENCE: Duration = Duration::from_mins(1);

/// A primary with records, and a standby that has them, too.
struct Pair {
    primary: PostgresServer,
    standby: PostgresServer,
    database: Database,
}

impl Pair {
    async fn start() -> Self {
        let primary = PostgresServer::start();
        let database = Database::on(&primary).await;
        let standby = primary.standby();
        Self { primary, standby, database }
    }

    fn on_standby(&self) -> String {
        self.standby.url_beside(&self.database.url)
    }

    /// Waits until the standby has what the primary has by now.
    async fn caught_up(&self) {
        let now = "SELECT pg_current_wal_insert_lsn()::text";
        let now: String = sqlx::query_scalar(now).fetch_one(&self.database.outside).await.unwrap();
        let mut standby = PgConnection::connect(&self.on_standby()).await.unwrap();
        let caught_up = async {
            let there = "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, false)";
            while !sqlx::query_scalar::<_, bool>(there)
                .bind(&now)
                .fetch_one(&mut standby)
                .await
                .unwrap()
            {
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, caught_up).await.expect("the standby follows");
    }

    /// From now on the standby does not learn what happens.
    async fn cut_off(&self) {
        let mut standby = PgConnection::connect(&self.on_standby()).await.unwrap();
        sqlx::query("SELECT pg_wal_replay_pause()").execute(&mut standby).await.unwrap();
    }

    async fn go_on(&self) {
        let mut standby = PgConnection::connect(&self.on_standby()).await.unwrap();
        sqlx::query("SELECT pg_wal_replay_resume()").execute(&mut standby).await.unwrap();
    }
}

/// The one address that clients know, which leads to one server after another.
struct Address {
    port: u16,
    targets: Arc<Mutex<Vec<String>>>,
    open: Arc<Mutex<JoinSet<()>>>,
    accepting: JoinHandle<()>,
}

impl Address {
    async fn of(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let targets = Arc::new(Mutex::new(vec![target.to_owned()]));
        let open: Arc<Mutex<JoinSet<()>>> = Arc::default();
        let accepting = tokio::spawn({
            let (targets, open) = (Arc::clone(&targets), Arc::clone(&open));
            async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    let target = {
                        let mut targets = targets.lock().unwrap();
                        if targets.len() > 1 { targets.remove(0) } else { targets[0].clone() }
                    };
                    open.lock().unwrap().spawn(async move {
                        if let Ok(mut server) = TcpStream::connect(&target).await {
                            let _ = copy_bidirectional(&mut client, &mut server).await;
                        }
                    });
                }
            }
        });
        Self { port, targets, open, accepting }
    }

    fn url(&self, url: &str) -> String {
        let database = url.rsplit_once('/').unwrap().1;
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Breaks all connections. The next ones lead to these servers, in turn, and all others to the
    /// last one.
    fn lead_to(&self, targets: &[String]) {
        *self.targets.lock().unwrap() = targets.to_vec();
        self.open.lock().unwrap().abort_all();
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn server_of(url: &str) -> String {
    url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned()
}

fn settings() -> TransactionSettings {
    begin_of("k", None).settings
}

async fn done(store: &PostgresStore, key: &str) {
    let first = claim(key);
    assert!(is_won(&store.claim(&first).await.unwrap()));
    let written = store.complete(&first.owner, &response("paid"), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
}

/// Nothing is answered, and nothing is said to be known.
async fn refuses_everything(store: &PostgresStore, key: &str) {
    let claim = claim(key);
    let id: RecordId = claim.owner.id.clone();
    let errors: [Option<StoreError>; 9] = [
        store.claim(&claim).await.err(),
        store.begin(&begin_of(key, None)).await.err(),
        store.begin(&begin_of(key, Some(idem_core::Isolation::Serializable))).await.err(),
        store.begin_unguarded(&settings()).await.err(),
        store.get(&id).await.err(),
        store.not_in_flight(&[id]).await.err(),
        store.held(None, 10).await.err(),
        store.health().await.err(),
        store.complete(&claim.owner, &response("paid"), TTL).await.err(),
    ];
    for (number, error) in errors.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("operation {number} answers"));
        assert!(error.is_outage(), "operation {number}: {error:?}");
    }
}

#[tokio::test]
async fn who_connects_to_a_standby_is_told_so() {
    let pair = Pair::start().await;
    pair.caught_up().await;
    let refused = PostgresStore::connect(&pair.on_standby()).await;
    assert!(matches!(refused, Err(SetupError::ReadOnly)), "{refused:?}");

    pair.standby.promote();
    let store = PostgresStore::connect(&pair.on_standby()).await.unwrap();
    done(&store, "k").await;
}

#[tokio::test]
async fn who_connects_where_nothing_may_be_written_is_told_so() {
    let database = Database::fresh().await;
    let sql =
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on',
        current_database()); END $$";
    database.execute(sql).await;
    let refused = PostgresStore::connect(&database.url).await;
    assert!(matches!(refused, Err(SetupError::ReadOnly)), "{refused:?}");
}

/// The standby still has a record that was deleted since. When it is the primary, it counts.
#[tokio::test]
async fn nobody_is_answered_by_a_standby() {
    let pair = Pair::start().await;
    let address = Address::of(&server_of(&pair.primary.url())).await;
    let store = PostgresStore::connect(&address.url(&pair.database.url)).await.unwrap();
    done(&store, "deleted").await;
    done(&store, "kept").await;
    pair.caught_up().await;
    pair.cut_off().await;
    pair.database.execute("DELETE FROM idem WHERE key = 'deleted'").await;

    address.lead_to(&[server_of(&pair.standby.url())]);
    for key in ["deleted", "kept", "new"] {
        refuses_everything(&store, key).await;
    }

    pair.go_on().await;
    pair.caught_up().await;
    pair.primary.stop();
    pair.standby.promote();
    let kept = store.claim(&claim("kept")).await.unwrap();
    assert_eq!(kept.claimed, Claimed::Completed(response("paid")));
    assert!(is_won(&store.claim(&claim("deleted")).await.unwrap()));
    let begun = store.begin(&begin_of("kept", None)).await.unwrap();
    assert!(
        matches!(begun, Begun::Refused(Judged { claimed: Claimed::Completed(_), .. })),
        "{begun:?}"
    );
    let begun = store.begin(&begin_of("in a transaction", None)).await.unwrap();
    let Begun::Won { transaction, .. } = begun else { panic!("{begun:?}") };
    transaction.roll_back().await.unwrap();
}

/// Some connections lead to a standby. Requests are answered by those that do not.
#[tokio::test]
async fn a_connection_that_only_reads_is_replaced() {
    let pair = Pair::start().await;
    let [primary, standby] = [&pair.primary, &pair.standby].map(|it| server_of(&it.url()));
    pair.caught_up().await;
    let address = Address::of(&primary).await;
    let store = PostgresStore::connect(&address.url(&pair.database.url)).await.unwrap();
    done(&store, "k").await;
    let running = claim("running");
    assert!(is_won(&store.claim(&running).await.unwrap()));
    let after_two = [&standby, &standby, &primary].map(Clone::clone);

    address.lead_to(&after_two);
    let replayed = store.claim(&claim("k")).await.unwrap();
    assert_eq!(replayed.claimed, Claimed::Completed(response("paid")));
    address.lead_to(&after_two);
    assert!(store.get(&id("k")).await.unwrap().is_some());
    address.lead_to(&[standby.clone(), primary.clone()]);
    assert_eq!(store.renew(&running.owner, LEASE).await.unwrap(), Written::Accepted);
    address.lead_to(&after_two);
    let written = store.complete(&running.owner, &response("paid"), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
    for key in ["in a transaction", "in another one"] {
        address.lead_to(&after_two);
        let begun = store.begin(&begin_of(key, None)).await.unwrap();
        let Begun::Won { transaction, .. } = begun else { panic!("{begun:?}") };
        transaction.roll_back().await.unwrap();
    }
    address.lead_to(&after_two);
    store.begin_unguarded(&settings()).await.unwrap().roll_back().await.unwrap();
}

/// The primary was fenced off, with its connections alive.
#[tokio::test]
async fn a_session_that_comes_to_only_read_answers_nothing() {
    let server = PostgresServer::start();
    let database = Database::on(&server).await;
    let store = database.store().await;
    done(&store, "k").await;
    store.begin_unguarded(&settings()).await.unwrap().roll_back().await.unwrap();
    database.execute("ALTER SYSTEM SET default_transaction_read_only = on").await;
    database.execute("SELECT pg_reload_conf()").await;
    until(&database, "on").await;
    refuses_everything(&store, "k").await;

    let mut outside = PgConnection::connect(&database.url).await.unwrap();
    for sql in [
        "SET default_transaction_read_only = off",
        "ALTER SYSTEM RESET default_transaction_read_only",
        "SELECT pg_reload_conf()",
    ] {
        sqlx::raw_sql(sql).execute(&mut outside).await.unwrap();
    }
    until(&database, "off").await;
    let replayed = store.claim(&claim("k")).await.unwrap();
    assert_eq!(replayed.claimed, Claimed::Completed(response("paid")));
}

/// New sessions begin with the setting.
async fn until(database: &Database, setting: &str) {
    let is_so = async {
        loop {
            let mut session = PgConnection::connect(&database.url).await.unwrap();
            let sql = "SELECT current_setting('default_transaction_read_only')";
            let found: String = sqlx::query_scalar(sql).fetch_one(&mut session).await.unwrap();
            if found == setting {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_so).await.expect("the setting comes into force");
}
