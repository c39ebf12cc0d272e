//! Events: what a client asks for, what it costs, what is kept.

use axum::{
    Json,
    extract::{FromRequest, Request},
};
use demo::User;
use serde::{Deserialize, Serialize};

use crate::{
    envelope::{Enveloped, Told},
    language::Language,
    refusal::Refusal,
};

/// As many participants cost nothing; each one above takes one credit.
const FREE_PARTICIPANTS: i64 = 20;

pub(crate) const MAX_PARTICIPANTS: i64 = 10_000;

/// In characters.
pub(crate) const MAX_TITLE: usize = 200;

/// What a client asks for.
#[derive(Deserialize)]
pub(crate) struct NewEvent {
    title: String,
    participants: i64,
}

impl NewEvent {
    fn validated(self) -> Result<Self, Refusal> {
        let is_long = self.title.chars().count() > MAX_TITLE;
        if self.title.trim().is_empty() || is_long || self.title.chars().any(char::is_control) {
            return Err(Refusal::Title);
        }
        if !(1..=MAX_PARTICIPANTS).contains(&self.participants) {
            return Err(Refusal::Participants);
        }
        Ok(self)
    }
}

/// What makes no sense is refused here: before the claim, so that the key stays free.
impl<S: Send + Sync> FromRequest<S> for NewEvent {
    type Rejection = Told;

    async fn from_request(request: Request, state: &S) -> Result<Self, Told> {
        let language = Language::of(request.headers());
        let Enveloped(Json(event)) = Enveloped::<Json<Self>>::from_request(request, state).await?;
        event.validated().map_err(|refusal| refusal.told(language))
    }
}

/// Whether the client has seen the price: `confirm_credit=1`.
#[derive(Deserialize)]
pub(crate) struct Confirmation {
    #[serde(default)]
    confirm_credit: Confirmed,
}

#[derive(Default, Deserialize, PartialEq)]
enum Confirmed {
    #[default]
    #[serde(rename = "0")]
    No,
    #[serde(rename = "1")]
    Yes,
}

impl Confirmation {
    pub(crate) fn is_given(&self) -> bool {
        self.confirm_credit == Confirmed::Yes
    }
}

/// An event that was created, and the credit that it took.
#[derive(Debug, PartialEq, Serialize, sqlx::FromRow)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) owner: String,
    pub(crate) title: String,
    pub(crate) participants: i64,
    pub(crate) price: i64,
}

impl Event {
    pub(crate) fn of(id: String, owner: User, event: NewEvent) -> Self {
        let NewEvent { title, participants } = event;
        let price = (participants - FREE_PARTICIPANTS).max(0);
        Self { id, owner: owner.0, title, participants, price }
    }

    /// The event, if it is the one that is asked for. A key outlives its record as the event's id.
    pub(crate) fn recognised(self, asked: &Self) -> Result<Self, Refusal> {
        if self == *asked { Ok(self) } else { Err(idem::Problem::Mismatch.into()) }
    }

    /// The titles that stand for what can go wrong.
    pub(crate) fn accepted(&self, attempt: u32) -> Result<(), Refusal> {
        match self.title.as_str() {
            "fail once" if attempt == 1 => Err(Refusal::Unavailable),
            "unavailable" => Err(Refusal::Unavailable),
            "refused" => Err(Refusal::Refused),
            "panic" => panic!("the title that makes the handler panic"),
            _ => Ok(()),
        }
    }
}

/// The answer to who creates an event.
#[derive(Serialize)]
pub(crate) struct Created {
    pub(crate) event: Event,
}

/// What a user can spend.
#[derive(Serialize, sqlx::FromRow)]
pub(crate) struct Account {
    pub(crate) credit: i64,
}
