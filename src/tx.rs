//! The handler's database transaction as an argument.

use axum_core::{extract::Request, response::Response};
use http::request::Parts;
use idem_core::Granted;
use idem_sqlx::Tx;
use sqlx::Database;

use crate::extract::{AfterClaim, ExtractsLast, ExtractsPart, Probe};

/// Marks a transaction.
#[derive(Debug)]
pub struct ViaTx;

/// A database whose stores lend transactions to handlers.
#[diagnostic::on_unimplemented(
    message = "`Tx<{DB}>` needs a store on `{DB}`, but the engine in the router state is `Idem<{Self}>`",
    label = "this engine begins no transaction on `{DB}`",
    note = "build the engine on the database that the `Tx` names, or take the `Tx` of the engine's \
            database",
    note = "a store behind an `Arc<dyn Store>` has no transactions: give the engine the store itself"
)]
pub trait Transacts<DB> {}

#[cfg(feature = "postgres")]
impl Transacts<sqlx::Postgres> for sqlx::Postgres {}

#[cfg(feature = "sqlite")]
impl Transacts<sqlx::Sqlite> for sqlx::Sqlite {}

impl<S, D, DB> ExtractsPart<Tx<DB>, D, ViaTx> for S
where
    S: Sync,
    D: Transacts<DB>,
    DB: Database,
{
    type Early = AfterClaim;

    async fn early(&self, _: &mut Parts) -> Result<AfterClaim, Response> {
        Ok(AfterClaim)
    }

    fn late(_: AfterClaim, granted: &mut Granted) -> Tx<DB> {
        // The engine is typed by its store's database, and the macro lets a handler take one `Tx`.
        granted.take_transaction().expect("the store lends the transaction of its database")
    }

    fn view(_: &AfterClaim) -> &Tx<DB> {
        unreachable!("the macro refuses a `Tx` in an expression")
    }
}

impl<S, D, DB> ExtractsLast<Tx<DB>, D, ViaTx> for S
where
    S: Sync,
    D: Transacts<DB>,
    DB: Database,
{
    type Early = AfterClaim;

    async fn early(&self, _: Request) -> Result<AfterClaim, Response> {
        Ok(AfterClaim)
    }

    fn late(early: AfterClaim, granted: &mut Granted) -> Tx<DB> {
        <S as ExtractsPart<Tx<DB>, D, ViaTx>>::late(early, granted)
    }

    fn view(early: &AfterClaim) -> &Tx<DB> {
        <S as ExtractsPart<Tx<DB>, D, ViaTx>>::view(early)
    }
}

#[cfg(feature = "postgres")]
impl Probe<Tx<sqlx::Postgres>> {
    /// It comes with the claim.
    pub const COMES_WITH_CLAIM: bool = true;
    /// It is.
    pub const IS_TX: bool = true;
    /// It does.
    pub const TAKES_SETTINGS: bool = true;
}

#[cfg(feature = "sqlite")]
impl Probe<Tx<sqlx::Sqlite>> {
    /// It comes with the claim.
    pub const COMES_WITH_CLAIM: bool = true;
    /// It is.
    pub const IS_TX: bool = true;
}
