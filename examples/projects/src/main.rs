//! A projects API whose cache may be there or not: one project each time.
//!
//! `cargo run -p projects` needs nothing else: it keeps its data in a SQLite file. The environment
//! changes that: `ADDR`, `DATABASE_URL`, `REDIS_URL`, `HANDLER_DELAY_MS`.

mod api;
mod meters;
mod project;
mod tiers;

use std::{error::Error, fmt, process::ExitCode, sync::Arc, time::Duration};

use axum::routing::{MethodRouter, post};
use demo::{Database, Greeting, Migrations, Opened, Settings};
use idem::{Cache, ConfigError, Idem, Store, Tiered};

use crate::{api::App, meters::Meters};

const GREETING: Greeting<'_> = Greeting {
    example: "projects",
    advice: "Create a project, and create it again from another tab:",
    request: "/api/projects -H 'Authorization: Bearer ann' -H 'Content-Type: application/json' \
              -d '{\"name\": \"Apollo\"}'",
};

#[tokio::main]
async fn main() -> ExitCode {
    demo::run("projects", run()).await
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env("projects", "HANDLER_DELAY_MS")?;
    let migrations = Migrations {
        sqlite: sqlx::migrate!("migrations/sqlite"),
        postgres: sqlx::migrate!("migrations/postgres"),
    };
    match Opened::open(&settings.database_url, &migrations).await? {
        Opened::Sqlite(database, store) => {
            serve(database.into(), store, post(api::sqlite::create_project), &settings).await
        }
        Opened::Postgres(database, store) => {
            serve(database.into(), store, post(api::postgres::create_project), &settings).await
        }
    }
}

async fn serve<S: Store>(
    database: Database,
    store: S,
    create: MethodRouter<App<S::Database>>,
    settings: &Settings,
) -> Result<(), Box<dyn Error>> {
    // Before the engine, which describes what it measures.
    let meters = Meters::install()?;
    let idem = engine(store, tiers::cache())?;
    idem.spawn_sweeper(Duration::from_mins(1));
    let tiers = tiers::at_start(&idem, &database).await?;
    tiers.log();
    let said = Said { database: &database, cache: tiers.cache };
    let delay = settings.delay;
    let app = App { idem: idem.clone(), database: database.clone(), delay, meters };
    demo::serve(idem, api::router(app, create), settings, &said, GREETING).await
}

/// The database decides who creates a project; the cache only repeats what it has decided. So it may be
/// there or not.
fn engine<S: Store>(
    store: S,
    cache: Option<Arc<dyn Cache>>,
) -> Result<Idem<S::Database>, ConfigError> {
    match cache {
        Some(cache) => Idem::builder(Tiered::new(cache, store)).build(),
        None => Idem::builder(store).build(),
    }
}

/// What is said of the tiers to whoever starts it.
struct Said<'a> {
    database: &'a Database,
    cache: &'static str,
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; cache: {}", self.database, self.cache)
    }
}
