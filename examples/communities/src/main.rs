//! A page whose button creates one community, however often it is clicked.
//!
//! `cargo run -p communities` needs nothing else: it keeps its data in a SQLite file. The environment
//! changes that: `ADDR`, `DATABASE_URL`, `HANDLER_DELAY_MS`, `TTL`, `SWEEP_EVERY`.

mod api;
mod community;
mod creation;
mod page;
mod slug;

use std::{error::Error, process::ExitCode};

use axum::routing::post;
use demo::{Greeting, Migrations, Opened, Settings};
use idem::{Idem, Store};

use crate::api::App;

const GREETING: Greeting<'_> = Greeting {
    example: "communities",
    advice: "Open it in a browser and double-click, or create twice with the same key:",
    request: "/api/communities -H 'Authorization: Bearer ann' -H 'Idempotency-Key: form-1' \
              -H 'Content-Type: application/json' \
              -d '{\"name\": \"My Community\", \"tags\": [\"rust\"]}'",
};

#[tokio::main]
async fn main() -> ExitCode {
    #[cfg(feature = "crash-points")]
    idem_testkit::crash::arm();
    demo::run("communities", run()).await
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env("communities", "HANDLER_DELAY_MS")?;
    let migrations = Migrations {
        sqlite: sqlx::migrate!("migrations/sqlite"),
        postgres: sqlx::migrate!("migrations/postgres"),
    };
    match Opened::open(&settings.database_url, &migrations).await? {
        Opened::Sqlite(database, store) => {
            let idem = engine(store)?;
            let app = App::new(idem.clone(), database.clone(), settings.delay);
            let router = api::router(app, post(api::sqlite::create_community));
            demo::serve(idem, router, &settings, &database, GREETING).await
        }
        Opened::Postgres(database, store) => {
            let idem = engine(store)?;
            let app = App::new(idem.clone(), database.clone(), settings.delay);
            let router = api::router(app, post(api::postgres::create_community));
            demo::serve(idem, router, &settings, &database, GREETING).await
        }
    }
}

/// The ttl is the engine's: the attribute says none.
fn engine<S: Store>(store: S) -> Result<Idem<S::Database>, Box<dyn Error>> {
    let duration = "a duration like 24h";
    let ttl = demo::read("TTL", "24h", duration, humantime::parse_duration)?;
    let sweep_every = demo::read("SWEEP_EVERY", "1m", duration, humantime::parse_duration)?;
    let idem = Idem::builder(store).ttl(ttl).build()?;
    idem.spawn_sweeper(sweep_every);
    Ok(idem)
}
