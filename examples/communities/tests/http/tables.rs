//! The database behind the example's back.

use demo::testing::sql::{execute, fetch, is_sqlite};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

/// What belongs to each other: communities, owners, subscriptions, tags, records.
pub(crate) async fn counts(url: &str) -> [i64; 5] {
    const SELECT: &str = "SELECT (SELECT count(*) FROM communities), \
         (SELECT count(*) FROM memberships JOIN communities ON id = community_id \
          WHERE member = 'ann' AND role = 'owner'), \
         (SELECT count(*) FROM subscriptions JOIN communities ON id = community_id \
          WHERE subscriber = 'ann'), \
         (SELECT count(*) FROM tags), \
         (SELECT count(*) FROM idem)";
    let (communities, owners, subscriptions, tags, records) = fetch(url, SELECT).await[0];
    [communities, owners, subscriptions, tags, records]
}

/// The keys of all records.
pub(crate) async fn keys(url: &str) -> Vec<String> {
    let keys: Vec<(String,)> = fetch(url, "SELECT key FROM idem ORDER BY key").await;
    keys.into_iter().map(|(key,)| key).collect()
}

/// From now on nobody can be subscribed.
pub(crate) async fn refuse_subscriptions(url: &str) {
    let trigger = if is_sqlite(url) {
        "CREATE TRIGGER refuse_subscriptions BEFORE INSERT ON subscriptions \
         BEGIN SELECT raise(ABORT, 'refused'); END"
    } else {
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE 'refused'; END $$; \
         CREATE TRIGGER refuse_subscriptions BEFORE INSERT ON subscriptions FOR EACH ROW \
         EXECUTE FUNCTION refuse()"
    };
    execute(url, trigger).await;
}

/// People can be subscribed again.
pub(crate) async fn accept_subscriptions(url: &str) {
    let on = if is_sqlite(url) { "" } else { " ON subscriptions" };
    execute(url, &format!("DROP TRIGGER refuse_subscriptions{on}")).await;
}

/// For as long as it lives, no community can be created.
pub(crate) enum Hold {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Hold {
    pub(crate) async fn on(url: &str) -> Self {
        if is_sqlite(url) {
            let mut connection = SqliteConnection::connect(url).await.unwrap();
            connection.execute("BEGIN IMMEDIATE").await.unwrap();
            Self::Sqlite(connection)
        } else {
            let mut connection = PgConnection::connect(url).await.unwrap();
            connection.execute("BEGIN; LOCK TABLE communities IN EXCLUSIVE MODE").await.unwrap();
            Self::Postgres(connection)
        }
    }

    pub(crate) async fn release(self) {
        match self {
            Self::Sqlite(connection) => connection.close().await.unwrap(),
            Self::Postgres(connection) => connection.close().await.unwrap(),
        }
    }
}
