//! The handler's database transaction as an argument.

use axum_core::{extract::Request, response::Response};
use http::request::Parts;
use idem_core::{Attempt, Granted, NoTransactions};
use idem_sqlx::Tx;
use sqlx::Database;

use crate::extract::{AfterClaim, ExtractsLast, ExtractsPart, FromClaim, Probe};

/// Marks a transaction.
#[derive(Debug)]
pub struct ViaTx;

/// A database whose stores lend transactions to handlers.
#[diagnostic::on_unimplemented(
    message = "`Tx<{DB}>` needs a store on `{DB}`, but the engine in the router state is `Idem<{Self}>`",
    label = "this engine begins no transaction on `{DB}`",
    note = "take the `Tx` of the engine's database, or build the engine on a store of the database \
            that the `Tx` names"
)]
pub trait Transacts<DB> {}

#[cfg(feature = "postgres")]
impl Transacts<sqlx::Postgres> for sqlx::Postgres {}

#[cfg(feature = "mysql")]
impl Transacts<sqlx::MySql> for sqlx::MySql {}

#[cfg(feature = "sqlite")]
impl Transacts<sqlx::Sqlite> for sqlx::Sqlite {}

/// What a plain engine would have to be, and never is: this trait is there for its message.
#[diagnostic::on_unimplemented(
    message = "`Tx<{DB}>` needs a store on `{DB}`, but the engine in the router state is a plain \
               `Idem`, whose store has no transactions",
    label = "this engine begins no transactions",
    note = "build the engine on a store of the database that the `Tx` names, and put it into the \
            state as an `Idem<{DB}>`",
    note = "a store behind an `Arc<dyn Store>` has no transactions: give the engine the store itself"
)]
pub trait HasTransactions<DB> {}

impl<DB> Transacts<DB> for NoTransactions where NoTransactions: HasTransactions<DB> {}

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

/// So that the macro's own message is the only one.
impl<DB: Database> FromClaim for Option<Tx<DB>> {
    fn from_claim(_: Option<Attempt>) -> Self {
        unreachable!("the macro refuses an `Option<Tx>`")
    }
}

impl<DB: Database> Probe<Tx<DB>> {
    /// It comes with the claim.
    pub const COMES_WITH_CLAIM: bool = true;
    /// It is.
    pub const IS_TX: bool = true;
}

impl<DB: Database> Probe<Option<Tx<DB>>> {
    /// It is.
    pub const IS_OPTIONAL_TX: bool = true;
}

#[cfg(feature = "postgres")]
impl Probe<Tx<sqlx::Postgres>> {
    /// It does.
    pub const TAKES_SETTINGS: bool = true;
}

#[cfg(feature = "mysql")]
impl Probe<Tx<sqlx::MySql>> {
    /// It does.
    pub const TAKES_SETTINGS: bool = true;
}
