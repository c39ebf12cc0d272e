//! The HTTP API.

use axum::{
    Json, Router,
    extract::{FromRef, Path, State},
    http::StatusCode,
    routing::{get, post},
};
use demo::User;
use idem::{Attempt, Idem, idempotent};

use crate::{
    chats::{Chat, ChatError, Chats, Message, Opening, Saying},
    participants::participants_key,
};

/// The router's state. No handler takes a `Tx`, so they are the same for each database.
pub(crate) struct App<D> {
    pub(crate) idem: Idem<D>,
    pub(crate) chats: Chats,
}

impl<D> Clone for App<D> {
    fn clone(&self) -> Self {
        Self { idem: self.idem.clone(), chats: self.chats.clone() }
    }
}

impl<D> FromRef<App<D>> for Idem<D> {
    fn from_ref(app: &App<D>) -> Self {
        app.idem.clone()
    }
}

impl<D> FromRef<App<D>> for Chats {
    fn from_ref(app: &App<D>) -> Self {
        app.chats.clone()
    }
}

pub(crate) fn router<D: 'static>(app: App<D>) -> Router {
    Router::new()
        .route("/api/chats", post(open_chat).get(list_chats))
        .route("/api/chats/{id}/messages", post(send_message).get(list_messages))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(app)
}

/// Whoever asks for a chat of the same people gets the same answer, also at the same time.
#[idempotent(
    scope = "global",
    key = "participants_key(&body.participants)",
    ttl = "forever",
    on_conflict = "wait",
    wait = "20s",
    lease = "5s"
)]
async fn open_chat(
    State(chats): State<Chats>,
    _user: User,
    attempt: Attempt,
    Json(body): Json<Opening>,
) -> Result<(StatusCode, Json<Chat>), ChatError> {
    Ok((StatusCode::CREATED, Json(chats.open(body.participants, &attempt).await?)))
}

/// The message's id comes from its key, so a key must not be forgotten before the message is.
#[idempotent(
    scope = "user",
    required = false,
    ttl = "forever",
    on_conflict = "wait",
    wait = "20s",
    lease = "5s"
)]
async fn send_message(
    State(chats): State<Chats>,
    Path(chat): Path<String>,
    user: User,
    attempt: Option<Attempt>,
    Json(saying): Json<Saying>,
) -> Result<(StatusCode, Json<Message>), ChatError> {
    Ok((StatusCode::CREATED, Json(chats.say(&chat, user, saying, attempt).await?)))
}

async fn list_chats(State(chats): State<Chats>) -> Result<Json<Vec<Chat>>, ChatError> {
    Ok(Json(chats.all().await?))
}

async fn list_messages(
    State(chats): State<Chats>,
    Path(chat): Path<String>,
) -> Result<Json<Vec<Message>>, ChatError> {
    Ok(Json(chats.messages(&chat).await?))
}
