//! What the service does in its database. The SQL is the same on both.

use demo::Database;
use uuid::Uuid;

use crate::{
    chats::{Chat, Message},
    participants::{Participants, participants_key},
};

const INSERT_CHAT: &str = "INSERT INTO chats (id, participants_key) VALUES ($1, $2) \
     ON CONFLICT (participants_key) DO NOTHING";

const INSERT_MEMBER: &str = "INSERT INTO members (chat_id, place, name) VALUES ($1, $2, $3)";

const SELECT_CHAT: &str = "SELECT id FROM chats WHERE participants_key = $1";

const SELECT_CHATS: &str = "SELECT chats.id, members.name FROM chats \
     LEFT JOIN members ON members.chat_id = chats.id ORDER BY chats.seq DESC";

const FIND_CHAT: &str = "SELECT id FROM chats WHERE id = $1 \
     UNION ALL SELECT chat_id FROM former_chats WHERE id = $1";

const INSERT_MESSAGE: &str = "INSERT INTO messages (id, chat_id, author, text) \
     VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";

const SELECT_MESSAGES: &str =
    "SELECT id, chat_id, author, text FROM messages WHERE chat_id = $1 ORDER BY seq";

/// The id of the chat of these people, which is made unless it is there: the unique index on the key
/// decides, whoever else is at work.
pub(crate) async fn open(database: &Database, participants: &Participants) -> sqlx::Result<String> {
    let (key, id) = (participants_key(participants), Uuid::new_v4().to_string());
    demo::on!(database, |it| {
        let mut tx = it.begin().await?;
        let insert = sqlx::query(INSERT_CHAT).bind(&id).bind(&key).execute(&mut *tx);
        if insert.await?.rows_affected() == 1 {
            for (place, name) in (0_i64..).zip(participants.names()) {
                let insert = sqlx::query(INSERT_MEMBER).bind(&id).bind(place).bind(name);
                insert.execute(&mut *tx).await?;
            }
        }
        let id = sqlx::query_scalar(SELECT_CHAT).bind(&key).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok(id)
    })
}

/// Newest first.
pub(crate) async fn chats(database: &Database) -> sqlx::Result<Vec<Chat>> {
    let rows: Vec<(String, Option<String>)> = demo::on!(database, |it| {
        sqlx::query_as(SELECT_CHATS).fetch_all(&mut *it.reader().await?).await?
    });
    let mut chats: Vec<Chat> = Vec::new();
    for (id, name) in rows {
        match chats.last_mut() {
            Some(chat) if chat.id == id => chat.participants.extend(name),
            _ => chats.push(Chat { id, participants: name.into_iter().collect() }),
        }
    }
    Ok(chats)
}

/// The chat that an id leads to: its own, or that of a chat that was merged into it.
pub(crate) async fn find(database: &Database, id: &str) -> sqlx::Result<Option<String>> {
    demo::on!(database, |it| {
        let connection = &mut *it.reader().await?;
        sqlx::query_scalar(FIND_CHAT).bind(id).fetch_optional(connection).await
    })
}

/// Keeps a message, unless it is kept already.
pub(crate) async fn keep(database: &Database, message: &Message) -> sqlx::Result<()> {
    demo::on!(database, |it| {
        let mut tx = it.begin().await?;
        sqlx::query(INSERT_MESSAGE)
            .bind(&message.id)
            .bind(&message.chat_id)
            .bind(&message.author)
            .bind(&message.text)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    })
}

/// Oldest first.
pub(crate) async fn messages(database: &Database, chat: &str) -> sqlx::Result<Vec<Message>> {
    demo::on!(database, |it| {
        let connection = &mut *it.reader().await?;
        sqlx::query_as(SELECT_MESSAGES).bind(chat).fetch_all(connection).await
    })
}
