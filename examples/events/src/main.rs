//! An events API that asks back before it takes credit, and speaks its clients' languages.
//!
//! `cargo run -p events` needs nothing else: it keeps its data in a SQLite file. The environment
//! changes that: `ADDR`, `DATABASE_URL`, `HANDLER_DELAY_MS`, `LEASE`.

mod api;
mod business;
mod envelope;
mod events;
mod language;
mod messages;
mod refusal;

use std::{error::Error, process::ExitCode, time::Duration};

use axum::http::HeaderName;
use demo::{Database, Greeting, Migrations, Opened, Settings};
use idem::{Idem, Store};

use crate::api::App;

const GREETING: Greeting<'_> = Greeting {
    example: "events",
    advice: "Plan an event, and plan it again with the same key:",
    request: "/api/events -H 'Authorization: Bearer ann' \
              -H 'Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324' \
              -H 'Content-Type: application/json' -H 'Accept-Language: ru, en;q=0.5' \
              -d '{\"title\": \"Summer party\", \"participants\": 12}'",
};

#[tokio::main]
async fn main() -> ExitCode {
    demo::run("events", run()).await
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env("events", "HANDLER_DELAY_MS")?;
    let migrations = Migrations {
        sqlite: sqlx::migrate!("migrations/sqlite"),
        postgres: sqlx::migrate!("migrations/postgres"),
    };
    match Opened::open(&settings.database_url, &migrations).await? {
        Opened::Sqlite(database, store) => serve(store, database.into(), &settings).await,
        Opened::Postgres(database, store) => serve(store, database.into(), &settings).await,
    }
}

async fn serve<S: Store>(
    store: S,
    database: Database,
    settings: &Settings,
) -> Result<(), Box<dyn Error>> {
    let lease = demo::read("LEASE", "10s", "a duration like 10s", humantime::parse_duration)?;
    let idem = Idem::builder(store)
        .lease(lease)
        .stored_header(HeaderName::from_static("x-idempotency-stored"))
        .replayed_header(HeaderName::from_static("x-idempotency-replay"))
        .render_problems(envelope::of_problem)
        .build()?;
    idem.spawn_sweeper(Duration::from_mins(1));
    let app = App { idem: idem.clone(), database: database.clone(), delay: settings.delay };
    demo::serve(idem, api::router(app), settings, &database, GREETING).await
}
