//! What requests cost the server, as it logs them itself.

use idem_core::{Ended, Store, Written};
use idem_sqlx::MySqlStore;
use idem_testkit::MariaDbServer;
use sqlx::MySqlPool;

use crate::{
    common::{End, TTL, begin_of, begun, claim, is_won, response},
    database::Database,
};

/// What was executed since the last time: the first word of each statement, in order.
async fn executed(outside: &MySqlPool) -> Vec<String> {
    let sql = "SELECT CAST(argument AS char) FROM mysql.general_log
        WHERE command_type IN ('Execute', 'Query') AND user_host LIKE 'app[%' ORDER BY event_time";
    let texts: Vec<String> = sqlx::query_scalar(sql).fetch_all(outside).await.unwrap();
    sqlx::raw_sql("TRUNCATE mysql.general_log").execute(outside).await.unwrap();
    let first = |text: String| text.split_whitespace().next().unwrap().to_uppercase();
    texts.into_iter().map(first).collect()
}

#[tokio::test]
async fn requests_cost_what_is_said() {
    let server = MariaDbServer::start();
    let database = Database::on(&server).await;
    let outside = &database.outside;
    let user = "CREATE USER app; GRANT ALL ON *.* TO app;
        SET GLOBAL log_output = 'TABLE', general_log = ON";
    sqlx::raw_sql(user).execute(outside).await.unwrap();
    let url = database.url.replace("root@", "app@");
    let builder = MySqlStore::builder(url.parse().unwrap()).max_connections(1).max_transactions(1);
    let store = builder.connect().await.unwrap();
    // Whatever happens only once on a connection.
    for key in ["warm", "warmer"] {
        assert!(is_won(&store.claim(&claim(key)).await.unwrap()));
        End::Reject.of(begun(&store, &format!("{key} tx")).await, "no").await.unwrap();
    }
    executed(outside).await;

    let first = claim("k");
    assert!(is_won(&store.claim(&first).await.unwrap()));
    assert_eq!(executed(outside).await, ["SELECT", "INSERT"]);
    let written = store.complete(&first.owner, &response("paid"), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
    assert_eq!(executed(outside).await, ["UPDATE"]);
    store.claim(&claim("k")).await.unwrap();
    assert_eq!(executed(outside).await, ["SELECT"], "a replay is one plain read");
    store.begin(&begin_of("k", None)).await.unwrap();
    assert_eq!(executed(outside).await, ["SELECT"], "and begins no transaction");

    let ended = End::Commit.of(begun(&store, "tx").await, "done").await.unwrap();
    assert!(matches!(ended, Ended::Done));
    let mut statements = executed(outside).await;
    // The driver's, of nothing, at any time after the end: nobody waits for it.
    statements.retain(|it| it != "ROLLBACK");
    // A look; the session and its transaction; what takes the record's place; the handler's end; the
    // record; the commit, and the session as it was.
    assert_eq!(statements, ["SELECT", "SET", "SET", "RELEASE", "SET", "COMMIT"]);
}
