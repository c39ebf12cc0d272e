//! Donations, of which the table itself refuses the second one.
//!
//! `cargo run -p donations` needs nothing else: it keeps its data in a SQLite file. The environment
//! changes that: `ADDR`, `DATABASE_URL`, `HANDLER_DELAY_MS`, `TTL`.

mod amount;
mod api;
mod donations;
mod error;
mod extract;
#[cfg(feature = "unguarded")]
mod unguarded;

use std::{error::Error, process::ExitCode, time::Duration};

use demo::{Greeting, Settings, Sqlite};
use idem::Idem;

const GREETING: Greeting<'_> = Greeting {
    example: "donations",
    advice: "Give, and give again with the same key:",
    request: "/donations -H 'Authorization: Bearer ann' -H 'Idempotency-Key: gift-1' \
              -H 'Content-Type: application/json' \
              -d '{\"senderId\": 1, \"receiverId\": 2, \"amount\": 12.5, \"memo\": \"thanks\"}'",
};

#[tokio::main]
async fn main() -> ExitCode {
    demo::run("donations", run()).await
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env("donations", "HANDLER_DELAY_MS")?;
    let ttl = demo::read("TTL", "24h", "a duration like 24h", humantime::parse_duration)?;
    let migrations = sqlx::migrate!("migrations/sqlite");
    let (database, store) = Sqlite::open(&settings.database_url, &migrations).await?;
    let idem = Idem::builder(store).ttl(ttl).render_problems(error::render).build()?;
    idem.spawn_sweeper(Duration::from_mins(1));
    let app = api::App { idem: idem.clone(), database: database.clone(), delay: settings.delay };
    demo::serve(idem, api::router(app), &settings, &database, GREETING).await
}
