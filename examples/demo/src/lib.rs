//! What all examples share, and what has nothing to do with idempotency: settings from the
//! environment, databases, demo users, and a server that stops cleanly.

mod auth;
mod database;
mod server;
mod settings;
#[cfg(feature = "testing")]
pub mod testing;

pub use self::{
    auth::{Anonymous, User},
    database::{Database, MAX_CONNECTIONS, Migrations, Opened, Postgres, Sqlite},
    server::{Greeting, run, serve},
    settings::{Settings, read},
};
