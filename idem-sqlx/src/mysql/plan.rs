//! How the server executes our statements: what only their plans can tell.

use idem_testkit::MariaDbServer;
use sqlx::MySqlPool;

use super::MySqlStore;
use crate::statement::{Statement, Value};

/// A store whose table has many completed records, and some that have expired.
async fn full_store() -> MySqlStore {
    let url = MariaDbServer::shared().fresh_database();
    let store = MySqlStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let completed = "INSERT INTO idem
        SELECT UNHEX(SHA2(seq, 256)), 'POST /', 'global', seq, 1, UNHEX(SHA2('', 256)), 2, false,
            UNHEX(MD5(seq)), seq, 1, false, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6),
            UTC_TIMESTAMP(6) - INTERVAL 20 SECOND + INTERVAL seq MINUTE, 200, '', 'done'
        FROM seq_1_to_20000";
    let pool = MySqlPool::connect(&url).await.unwrap();
    sqlx::raw_sql(completed).execute(&pool).await.unwrap();
    sqlx::raw_sql("ANALYZE TABLE idem").execute(&pool).await.unwrap();
    store
}

async fn plan(store: &MySqlStore, statement: &Statement, values: &[Value<'_>]) -> String {
    let explained = statement.explained();
    let lines: Vec<(String,)> = store.main.fetch_once(explained.query(values)).await.unwrap();
    lines.into_iter().map(|(line,)| line).collect()
}

#[tokio::test]
async fn records_are_found_by_indexes() {
    let store = full_store().await;
    let held = plan(&store, &store.statements.held, &[i64::MIN, 100].map(Value::Big)).await;
    assert!(held.contains("\"key\": \"idem_expires_at\""), "{held}");
    let sweep = plan(&store, &store.sweep, &[Value::Big(100)]).await;
    assert!(sweep.contains("\"key\": \"idem_expires_at\""), "{sweep}");
    assert!(sweep.contains("\"access_type\": \"eq_ref\""), "{sweep}");
    let asked = format!("[\"{}\"]", "0".repeat(64));
    let in_flight = plan(&store, &store.in_flight, &[Value::Text(&asked)]).await;
    assert!(in_flight.contains("\"access_type\": \"eq_ref\""), "{in_flight}");
    let id = [0; 32];
    let look = [Value::Bytes(&id), Value::Bytes(&id[..16]), Value::Bytes(&id)];
    let look = plan(&store, &store.claims.look, &look).await;
    assert!(look.contains("const") || look.contains("Impossible"), "{look}");
}
