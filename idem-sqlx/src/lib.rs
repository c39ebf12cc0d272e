//! Stores for [Idem](https://docs.rs/idem-rs) on databases that [`sqlx`] speaks to.
//!
//! - `PostgresStore` (feature `postgres`, default): for services of any number of processes.
//! - `MySqlStore` (feature `mysql`): the same on MariaDB.
//! - `SqliteStore` (feature `sqlite`): for services whose processes share one file.
//!
//! All write the same record: `migrations/` in this crate has the tables, readable and runnable as
//! they stand. Applications use these stores through the facade crate `idem-rs`.

#![cfg(any(feature = "postgres", feature = "sqlite", feature = "mysql"))]

#[cfg(any(feature = "postgres", feature = "mysql"))]
mod connections;
mod dialect;
mod error;
mod execution;
mod migrate;
#[cfg(feature = "mysql")]
mod mysql;
mod names;
#[cfg(feature = "postgres")]
mod postgres;
mod row;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statement;
mod tx;

#[cfg(feature = "mysql")]
pub use crate::mysql::{MySqlBuilder, MySqlStore};
#[cfg(feature = "postgres")]
pub use crate::postgres::{PostgresBuilder, PostgresStore};
#[cfg(feature = "sqlite")]
pub use crate::sqlite::{SqliteBuilder, SqliteStore};
pub use crate::{
    error::SetupError,
    tx::{Tx, is_conflict},
};
