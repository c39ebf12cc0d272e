//! The database behind the example's back.

use demo::{Database, Migrations, Opened};
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
