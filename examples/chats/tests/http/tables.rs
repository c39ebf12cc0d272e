//! The database behind the example's back.

use demo::{Database, Migrations, Opened, testing::sql};
use sqlx::migrate::Migrator;

/// The database as it was when the migration of that version was the last one.
pub(crate) async fn at_version(version: i64, url: &str) -> Database {
    let up_to = |all: Migrator| {
        let older = all.iter().filter(|it| it.version <= version);
        Migrator::with_migrations(older.cloned().collect())
    };
    let migrations = Migrations {
        sqlite: up_to(sqlx::migrate!("migrations/sqlite")),
        postgres: up_to(sqlx::migrate!("migrations/postgres")),
    };
    match Opened::open(url, &migrations).await.unwrap() {
        Opened::Sqlite(database, _) => database.into(),
        Opened::Postgres(database, _) => database.into(),
    }
}

/// From now on no answer can be recorded.
pub(crate) async fn refuse_answers(url: &str) {
    let trigger = if sql::is_sqlite(url) {
        "CREATE TRIGGER refuse_answers BEFORE UPDATE ON idem WHEN NEW.state = 2 \
         BEGIN SELECT raise(ABORT, 'refused'); END"
    } else {
        "CREATE FUNCTION refuse_answers() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE 'refused'; END $$; \
         CREATE TRIGGER refuse_answers BEFORE UPDATE ON idem FOR EACH ROW \
         WHEN (NEW.state = 2) EXECUTE FUNCTION refuse_answers()"
    };
    sql::execute(url, trigger).await;
}

/// Answers can be recorded again, but not by a process that was killed: Postgres may still be about to do
/// what it was sent last.
pub(crate) async fn accept_answers_of_the_living(url: &str) {
    let accept = if sql::is_sqlite(url) {
        "DROP TRIGGER refuse_answers"
    } else {
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid(); \
         DROP TRIGGER refuse_answers ON idem"
    };
    sql::execute(url, accept).await;
}

/// Inserts a chat as the team did before there was a key.
pub(crate) async fn insert_chat(database: &Database, id: &str, names: &[&str]) {
    demo::on!(database, |it| {
        let mut tx = it.begin().await.unwrap();
        let insert = sqlx::query("INSERT INTO chats (id) VALUES ($1)").bind(id);
        insert.execute(&mut *tx).await.unwrap();
        for (place, name) in (0_i64..).zip(names) {
            sqlx::query("INSERT INTO members (chat_id, place, name) VALUES ($1, $2, $3)")
                .bind(id)
                .bind(place)
                .bind(*name)
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
    });
}

/// Inserts a message of ann's.
pub(crate) async fn insert_message(database: &Database, chat: &str, text: &str) {
    demo::on!(database, |it| {
        let mut tx = it.begin().await.unwrap();
        sqlx::query("INSERT INTO messages (id, chat_id, author, text) VALUES ($1, $2, 'ann', $3)")
            .bind(format!("id of {text}"))
            .bind(chat)
            .bind(text)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    });
}
