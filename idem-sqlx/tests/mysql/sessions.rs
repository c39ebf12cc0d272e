//! What a server and its sessions are set to does not matter.

use idem_core::{Begun, Claim, Claimed, Ended, Recover, Store, Written};
use idem_testkit::{Harness, MariaDbServer};
use tokio::task::JoinSet;

use crate::{
    common::{End, LEASE, TTL, begun, claim, id, is_won, recorded, response},
    database::Database,
};

/// A server on which everything is unusual.
fn strange_server() -> MariaDbServer {
    MariaDbServer::start_with(&[
        "--sql-mode=ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,SIMULTANEOUS_ASSIGNMENT,\
         ONLY_FULL_GROUP_BY,NO_ZERO_DATE",
        "--default-time-zone=+05:45",
        "--transaction-isolation=SERIALIZABLE",
        "--character-set-server=latin1",
        "--collation-server=latin1_swedish_ci",
        "--completion-type=CHAIN",
        "--autocommit=0",
        "--innodb-lock-wait-timeout=100",
        "--max-statement-time=100",
        "--lower-case-table-names=1",
        "--log-bin",
        "--server-id=1",
        "--binlog-format=MIXED",
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_may_be_set_up_as_it_likes() {
    let server = strange_server();
    let database = Database::on(&server).await;
    let store = database.store().await;
    for round in 0..10 {
        let mut tasks = JoinSet::new();
        for _ in 0..20 {
            let (store, claim) = (store.clone(), claim(&format!("race {round}")));
            tasks.spawn(async move { store.claim(&claim).await.unwrap() });
        }
        let winners = tasks.join_all().await.iter().filter(|it| is_won(it)).count();
        assert_eq!(winners, 1);
    }

    let first = Claim { recover: Recover::Hold, ..claim("k") };
    assert!(is_won(&store.claim(&first).await.unwrap()));
    assert_eq!(store.renew(&first.owner, LEASE).await.unwrap(), Written::Accepted);
    assert_eq!(store.not_in_flight(&[id("k"), id("other")]).await.unwrap(), [id("other")]);
    let written = store.complete(&first.owner, &response("paid"), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
    let replay = store.claim(&claim("k")).await.unwrap().claimed;
    assert_eq!(replay, Claimed::Completed(response("paid")));

    // The outside pool commits nothing by itself there, and so no time is made to pass.
    let in_transaction = begun(&store, "tx").await;
    let ended = End::Commit.of(in_transaction, "done").await.unwrap();
    assert!(matches!(ended, Ended::Done), "{ended:?}");
    assert_eq!(recorded(&store, "tx").await.as_deref(), Some("done"));
    let rejected = begun(&store, "rejected").await;
    assert!(matches!(End::Reject.of(rejected, "no").await.unwrap(), Ended::Done));
    assert_eq!(recorded(&store, "rejected").await.as_deref(), Some("no"));
    assert_eq!(store.sweep(100).await.unwrap(), 0, "nothing has expired");
}

/// An offset that is not that of the sessions would be seen at once.
#[tokio::test]
async fn times_are_utc_whatever_a_session_has_for_its_time_zone() {
    let database = Database::fresh().await;
    let store = database.store().await;
    assert!(is_won(&store.claim(&claim("k")).await.unwrap()));
    let sql = "SELECT count(*) FROM idem WHERE
        created_at BETWEEN UTC_TIMESTAMP(6) - INTERVAL 1 HOUR AND UTC_TIMESTAMP(6)
        AND lease_until BETWEEN UTC_TIMESTAMP(6) AND UTC_TIMESTAMP(6) + INTERVAL 30 SECOND";
    assert_eq!(database.number(sql).await, 1);
}

/// Other text than what was stored would be another record for people.
#[tokio::test]
async fn text_comes_back_as_it_was() {
    use idem_core::{DerivedKey, Owner, RecordId, ScopeValue};

    let database = Database::fresh().await;
    let store = database.store().await;
    let odd = "käse 🧀 \u{0} 'quoted' `back` \\ ";
    let id = RecordId::derived("POST /ä", &ScopeValue::of(odd), &DerivedKey::of(odd));
    let first = Claim { owner: Owner::draw(id.clone()), recover: Recover::Hold, ..claim("k") };
    assert!(is_won(&store.claim(&first).await.unwrap()));
    assert_eq!(store.hold(&first.owner).await.unwrap(), Written::Accepted);
    let held = store.held(None, 10).await.unwrap();
    let texts = |id: &RecordId| [id.operation(), id.scope(), id.key()].map(str::to_owned);
    assert_eq!(texts(&held[0].id), texts(&id));
}

/// Also where the application's own sessions take text for something else.
#[tokio::test]
async fn text_comes_back_as_it_was_from_transactions_on_other_sessions() {
    use idem_core::{DerivedKey, Owner, RecordId, ScopeValue};
    use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

    let database = Database::fresh().await;
    let options: MySqlConnectOptions = database.url.parse().unwrap();
    let options = options.charset("latin1").timezone("-07:00".to_owned());
    let pool = MySqlPoolOptions::new().connect_with(options).await.unwrap();
    let store = idem_sqlx::MySqlStore::beside(&pool).connect().await.unwrap();
    let odd = "käse 🧀";
    let id = RecordId::derived("POST /ä", &ScopeValue::of(odd), &DerivedKey::of(odd));
    let begin =
        idem_core::Begin { owner: Owner::draw(id.clone()), ..crate::common::begin_of("k", None) };
    let Begun::Won { transaction, .. } = store.begin(&begin).await.unwrap() else {
        panic!("it is new")
    };
    assert!(matches!(End::Commit.of(transaction, "done").await.unwrap(), Ended::Done));
    let sql = "SELECT idem.key FROM idem";
    let key: String = sqlx::query_scalar(sql).fetch_one(&database.outside).await.unwrap();
    assert_eq!(key, id.key());
    let lives = "SELECT count(*) FROM idem WHERE expires_at BETWEEN
        UTC_TIMESTAMP(6) + INTERVAL 23 HOUR AND UTC_TIMESTAMP(6) + INTERVAL 25 HOUR";
    assert_eq!(database.number(lives).await, 1);
    database.elapse(TTL).await;
}
