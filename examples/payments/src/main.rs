//! A payments API whose retries never pay twice.
//!
//! `cargo run -p payments` needs nothing else: it keeps its data in a SQLite file. The environment
//! changes that: `ADDR`, `DATABASE_URL`, `PROVIDER_DELAY_MS`, `LEASE`.

mod api;
mod business;
#[cfg(feature = "control")]
mod control;
mod payments;
mod provider;

use std::{error::Error, process::ExitCode, time::Duration};

use demo::{Greeting, Migrations, Opened, Settings};
use idem::{Idem, Store};

const GREETING: Greeting<'_> = Greeting {
    example: "payments",
    advice: "Pay, and pay again with the same key:",
    request: "/payments -H 'Authorization: Bearer ann' -H 'Idempotency-Key: order-1' \
              -H 'Content-Type: application/json' \
              -d '{\"amount\": 1250, \"currency\": \"EUR\", \"to\": \"bob\"}'",
};

#[tokio::main]
async fn main() -> ExitCode {
    #[cfg(feature = "crash-points")]
    idem_testkit::crash::arm();
    demo::run("payments", run()).await
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env("payments", "PROVIDER_DELAY_MS")?;
    let migrations = Migrations {
        sqlite: sqlx::migrate!("migrations/sqlite"),
        postgres: sqlx::migrate!("migrations/postgres"),
    };
    match Opened::open(&settings.database_url, &migrations).await? {
        Opened::Sqlite(database, store) => {
            let idem = engine(store)?;
            let app = api::sqlite::App::new(idem.clone(), database.clone(), settings.delay);
            demo::serve(idem, api::sqlite::router(app), &settings, &database, GREETING).await
        }
        Opened::Postgres(database, store) => {
            let idem = engine(store)?;
            let app = api::postgres::App::new(idem.clone(), database.clone(), settings.delay);
            demo::serve(idem, api::postgres::router(app), &settings, &database, GREETING).await
        }
    }
}

fn engine<S: Store>(store: S) -> Result<Idem<S::Database>, Box<dyn Error>> {
    let lease = demo::read("LEASE", "30s", "a duration like 30s", humantime::parse_duration)?;
    let idem = Idem::builder(store).lease(lease).build()?;
    idem.spawn_sweeper(Duration::from_mins(1));
    Ok(idem)
}
