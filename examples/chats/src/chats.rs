//! Chats and messages: what a client sends, what is kept, what can go wrong.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use demo::{Database, User};
use idem::{Attempt, NotFinal};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{business, participants::Participants};

/// What a client asks for.
#[derive(Deserialize)]
pub(crate) struct Opening {
    pub(crate) participants: Participants,
}

/// A chat says nothing that somebody who can name its participants does not know.
#[derive(Serialize)]
pub(crate) struct Chat {
    pub(crate) id: String,
    pub(crate) participants: BTreeSet<String>,
}

/// What a client says.
#[derive(Deserialize)]
pub(crate) struct Saying {
    text: Text,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Text(String);

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text.is_empty() || text.contains('\0') {
            return Err("a text must not be empty, and must not contain the character U+0000");
        }
        Ok(Self(text))
    }
}

/// What somebody said.
#[derive(Serialize, sqlx::FromRow)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) chat_id: String,
    pub(crate) author: String,
    pub(crate) text: String,
}

/// What the handlers work with.
#[derive(Clone, Debug)]
pub(crate) struct Chats {
    pub(crate) database: Database,
    pub(crate) delay: Duration,
}

impl Chats {
    /// Opens the chat of these people, or finds it: also one that an execution opened which was cut
    /// off before its answer was recorded.
    pub(crate) async fn open(
        &self,
        participants: Participants,
        attempt: &Attempt,
    ) -> Result<Chat, ChatError> {
        tracing::debug!("a chat is opened");
        // Not in the transaction: on SQLite it would keep everybody else from writing.
        tokio::time::sleep(self.delay).await;
        // The participant that makes the first attempt fail.
        if participants.include("unavailable") && attempt.number() == 1 {
            return Err(ChatError::Unavailable);
        }
        let id = business::open(&self.database, &participants).await?;
        Ok(Chat { id, participants: participants.into_names() })
    }

    /// Newest first.
    pub(crate) async fn all(&self) -> Result<Vec<Chat>, ChatError> {
        Ok(business::chats(&self.database).await?)
    }

    /// Keeps what a user says, once for each request with a key.
    pub(crate) async fn say(
        &self,
        chat: &str,
        user: User,
        saying: Saying,
        attempt: Option<Attempt>,
    ) -> Result<Message, ChatError> {
        tracing::debug!("a message is sent");
        tokio::time::sleep(self.delay).await;
        let chat_id = self.find(chat).await?;
        let id = attempt.map_or_else(|| Uuid::new_v4().to_string(), |it| it.key());
        let message = Message { id, chat_id, author: user.0, text: saying.text.0 };
        business::keep(&self.database, &message).await?;
        Ok(message)
    }

    /// Oldest first.
    pub(crate) async fn messages(&self, chat: &str) -> Result<Vec<Message>, ChatError> {
        let chat = self.find(chat).await?;
        Ok(business::messages(&self.database, &chat).await?)
    }

    async fn find(&self, chat: &str) -> Result<String, ChatError> {
        // Postgres has no such text, so there is no such chat.
        if chat.contains('\0') {
            return Err(ChatError::NotFound);
        }
        business::find(&self.database, chat).await?.ok_or(ChatError::NotFound)
    }
}

/// Why there is no chat, or no message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChatError {
    #[error("there is no such chat")]
    NotFound,
    #[error("chats cannot be opened right now; ask again")]
    Unavailable,
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl IntoResponse for ChatError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Database(error) => {
                tracing::error!(error = error as &dyn std::error::Error, "{self}");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let body = Json(serde_json::json!({ "error": self.to_string() }));
        // Nothing was done, and nothing is remembered forever.
        NotFinal((status, body)).into_response()
    }
}
