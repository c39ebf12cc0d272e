//! The HTTP API, once for both databases: no handler takes a `Tx`.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{FromRef, Query, State},
    http::StatusCode,
    routing::{get, post},
};
use demo::{Database, User};
use idem::{Attempt, Idem, idempotent};

use crate::{
    business,
    envelope::{Enveloped, Success, Told},
    events::{Account, Confirmation, Created, Event, NewEvent},
    language::Language,
    refusal::Refusal,
};

/// What the handlers work with. `D` is the engine's database.
pub(crate) struct App<D> {
    pub(crate) idem: Idem<D>,
    pub(crate) database: Database,
    pub(crate) delay: Duration,
}

impl<D> Clone for App<D> {
    fn clone(&self) -> Self {
        Self { idem: self.idem.clone(), database: self.database.clone(), delay: self.delay }
    }
}

impl<D> FromRef<App<D>> for Idem<D> {
    fn from_ref(app: &App<D>) -> Self {
        app.idem.clone()
    }
}

impl<D> FromRef<App<D>> for Database {
    fn from_ref(app: &App<D>) -> Self {
        app.database.clone()
    }
}

impl<D> FromRef<App<D>> for Duration {
    fn from_ref(app: &App<D>) -> Self {
        app.delay
    }
}

pub(crate) fn router<D: 'static>(app: App<D>) -> Router {
    Router::new()
        .route("/api/events", post(create_event).get(list_events))
        .route("/api/account", get(account))
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(async |language: Language| Refusal::NoRoute.told(language))
        .method_not_allowed_fallback(async |language: Language| Refusal::NoMethod.told(language))
        .with_state(app)
}

/// The query says whether the client has confirmed the price. It is no part of what is asked for, so
/// that the confirmed request is the same one.
#[idempotent(scope = "user", key_format = "uuid", query = false, ttl = "7d", failed_ttl = "1d")]
async fn create_event(
    State(database): State<Database>,
    State(delay): State<Duration>,
    Enveloped(user): Enveloped<User>,
    Enveloped(Query(confirmation)): Enveloped<Query<Confirmation>>,
    language: Language,
    attempt: Attempt,
    event: NewEvent,
) -> Result<(StatusCode, Json<Success<Created>>), Told> {
    let event = Event::of(attempt.key(), user, event);
    let created = create(&database, delay, event, &confirmation, attempt.number()).await;
    let event = created.map_err(|refusal| refusal.told(language))?;
    Ok((StatusCode::CREATED, Success::of(Created { event })))
}

/// The event has the attempt's key as its id. One that is there already was made by an execution that
/// died before its answer was recorded: it is paid for, and nobody is asked again.
async fn create(
    database: &Database,
    delay: Duration,
    event: Event,
    confirmation: &Confirmation,
    attempt: u32,
) -> Result<Event, Refusal> {
    if let Some(made) = business::event(database, &event.id).await? {
        return made.recognised(&event);
    }
    if event.price > 0 && !confirmation.is_given() {
        let credit = business::account(database, &event.owner).await?.credit;
        return Err(Refusal::ConfirmationRequired { price: event.price, credit });
    }
    tracing::debug!("an event is being created");
    tokio::time::sleep(delay).await;
    event.accepted(attempt)?;
    business::create(database, event).await
}

async fn list_events(
    State(database): State<Database>,
    language: Language,
) -> Result<Json<Vec<Event>>, Told> {
    let events = business::events(&database).await;
    events.map(Json).map_err(|error| Refusal::from(error).told(language))
}

async fn account(
    State(database): State<Database>,
    Enveloped(user): Enveloped<User>,
    language: Language,
) -> Result<Json<Success<Account>>, Told> {
    let account = business::account(&database, &user.0).await;
    account.map(Success::of).map_err(|error| Refusal::from(error).told(language))
}
