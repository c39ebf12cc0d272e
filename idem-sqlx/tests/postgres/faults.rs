//! Servers that stop, restart and freeze.

use std::time::{Duration, Instant};

use idem_core::{Store, StoreError, Written};
use idem_sqlx::PostgresStore;
use idem_testkit::PostgresServer;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    common::{LEASE, TTL, claim, is_won, response},
    database::Database,
};

/// Opens all connections that the store may have.
async fn fill_pools(store: &PostgresStore, prefix: &str) {
    let mut tasks = JoinSet::new();
    for number in 0..50 {
        let (store, claim) = (store.clone(), claim(&format!("{prefix}-{number}")));
        tasks.spawn(async move {
            assert!(is_won(&store.claim(&claim).await.unwrap()));
            assert_eq!(store.renew(&claim.owner, LEASE).await.unwrap(), Written::Accepted);
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_costs_no_request_its_answer() {
    let server = PostgresServer::start();
    let database = Database::on(&server).await;
    let store = database.store().await;
    let running = claim("running");
    store.claim(&running).await.unwrap();
    for round in 0..3 {
        fill_pools(&store, &format!("filling {round}")).await;
        server.restart();
        assert_eq!(store.renew(&running.owner, LEASE).await.unwrap(), Written::Accepted);
        fill_pools(&store, &format!("claiming {round}")).await;
    }
    let written = store.complete(&running.owner, &response("paid"), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_load_costs_no_request_its_answer() {
    let server = PostgresServer::start();
    let database = Database::on(&server).await;
    let store = database.store().await;
    let until = Instant::now() + Duration::from_secs(3);
    let mut workers = JoinSet::new();
    for worker in 0..8 {
        let store = store.clone();
        workers.spawn(async move {
            let mut done = 0;
            while Instant::now() < until {
                let claim = claim(&format!("{worker}-{done}"));
                assert!(is_won(&store.claim(&claim).await.unwrap()));
                let written = store.complete(&claim.owner, &response("paid"), TTL).await.unwrap();
                assert_eq!(written, Written::Accepted);
                done += 1;
            }
            done
        });
    }
    sleep(Duration::from_secs(1)).await;
    let restarting = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let _server = restarting.await.unwrap();
    let done: i64 = workers.join_all().await.into_iter().sum();
    assert!(done > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_the_server_ended_cost_no_request_its_answer() {
    let database = Database::fresh().await;
    let store = database.store().await;
    let running = claim("running");
    store.claim(&running).await.unwrap();
    for round in 0..3 {
        fill_pools(&store, &format!("filling {round}")).await;
        let ended = database
            .number(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE pid <> pg_backend_pid() AND datname = current_database()",
            )
            .await;
        assert!(ended > 5, "{ended} sessions were ended");
        assert_eq!(store.renew(&running.owner, LEASE).await.unwrap(), Written::Accepted);
        fill_pools(&store, &format!("claiming {round}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_an_error_in_time_and_a_started_one_is_used_again() {
    let server = PostgresServer::start();
    let database = Database::on(&server).await;
    let store = database.impatient_store().await;
    fill_pools(&store, "filling").await;

    server.stop();
    let asked = Instant::now();
    let error = store.claim(&claim("k")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());

    server.restart();
    assert!(is_won(&store.claim(&claim("k")).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_froze_for_a_while_leaves_all_connections_usable() {
    let server = PostgresServer::start();
    let database = Database::on(&server).await;
    let store = database.store().await;
    fill_pools(&store, "filling").await;

    server.pause();
    let mut tasks = JoinSet::new();
    for number in 0..30 {
        let store = store.clone();
        tasks.spawn(async move {
            let claim = claim(&format!("frozen {number}"));
            timeout(Duration::from_millis(300), store.claim(&claim)).await.is_err()
        });
    }
    assert!(tasks.join_all().await.into_iter().all(|given_up| given_up));
    server.resume();
    fill_pools(&store, "afterwards").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_to_a_frozen_server_ends_in_time() {
    let server = PostgresServer::start();
    let url = server.fresh_database();
    let builder =
        PostgresStore::builder(url.parse().unwrap()).statement_timeout(Duration::from_millis(500));
    server.pause();
    let asked = Instant::now();
    assert!(builder.connect().await.is_err());
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    server.resume();
}

/// Lets writes of records end for having met another transaction, all but each `of`th.
async fn writes_meet_others(database: &Database, of: u32) {
    let sql = format!(
        "CREATE SEQUENCE met;
        CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('met') % {of} <> 0 THEN
                RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001';
            END IF;
            RETURN coalesce(NEW, OLD);
        END $$;
        CREATE TRIGGER meet BEFORE INSERT OR UPDATE OR DELETE ON idem
            FOR EACH ROW EXECUTE FUNCTION meet();"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&database.outside).await.unwrap();
}

#[tokio::test]
async fn a_statement_that_met_another_transaction_is_sent_again() {
    let database = Database::fresh().await;
    let store = database.store().await;
    writes_meet_others(&database, 3).await;
    let done = claim("done");
    assert!(is_won(&store.claim(&done).await.unwrap()));
    assert_eq!(store.renew(&done.owner, LEASE).await.unwrap(), Written::Accepted);
    let written = store.complete(&done.owner, &response("paid"), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
    let released = claim("released");
    assert!(is_won(&store.claim(&released).await.unwrap()));
    assert_eq!(store.release(&released.owner).await.unwrap(), Written::Accepted);
    assert_eq!(database.number("SELECT last_value FROM met").await, 3 * 5);
}

#[tokio::test]
async fn a_statement_that_always_meets_others_is_given_up() {
    let database = Database::fresh().await;
    let store = database.store().await;
    writes_meet_others(&database, 1_000_000).await;
    let error = store.claim(&claim("k")).await.unwrap_err();
    assert!(error.is_outage(), "{error:?}");
    assert!(database.number("SELECT last_value FROM met").await > 1, "it is sent again");
}
