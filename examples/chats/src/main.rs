//! A chat API where the same people never get two chats.
//!
//! `cargo run -p chats` needs nothing else: it keeps its data in a SQLite file. The environment
//! changes that: `ADDR`, `DATABASE_URL`, `HANDLER_DELAY_MS`, `MAX_CONNECTIONS`.

mod api;
mod business;
mod chats;
mod participants;

use std::{error::Error, num::NonZeroU32, process::ExitCode, time::Duration};

use demo::{Database, Greeting, Migrations, Opened, Settings};
use idem::{Idem, Store};

const GREETING: Greeting<'_> = Greeting {
    example: "chats",
    advice: "Open a chat, and open it again:",
    request: "/api/chats -H 'Authorization: Bearer ann' -H 'Content-Type: application/json' \
              -d '{\"participants\": [\"ann\", \"bob\"]}'",
};

#[tokio::main]
async fn main() -> ExitCode {
    demo::run("chats", run()).await
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env("chats", "HANDLER_DELAY_MS")?;
    let default = demo::MAX_CONNECTIONS.to_string();
    let meaning = "a number of connections";
    let max_connections: NonZeroU32 = demo::read("MAX_CONNECTIONS", &default, meaning, str::parse)?;
    let migrations = Migrations {
        sqlite: sqlx::migrate!("migrations/sqlite"),
        postgres: sqlx::migrate!("migrations/postgres"),
    };
    match Opened::open_with(&settings.database_url, &migrations, max_connections).await? {
        Opened::Sqlite(database, store) => serve(database.into(), store, &settings).await,
        Opened::Postgres(database, store) => serve(database.into(), store, &settings).await,
    }
}

async fn serve<S: Store>(
    database: Database,
    store: S,
    settings: &Settings,
) -> Result<(), Box<dyn Error>> {
    let idem = Idem::builder(store).build()?;
    idem.spawn_sweeper(Duration::from_mins(1));
    let chats = chats::Chats { database: database.clone(), delay: settings.delay };
    let router = api::router(api::App { idem: idem.clone(), chats });
    demo::serve(idem, router, settings, &database, GREETING).await
}
