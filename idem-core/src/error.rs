//! Why a store could not answer.

use std::{error::Error, time::Duration};

use crate::record::RECORD_VERSION;

/// Why a store could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store did not answer in time; the operation may have happened.
    #[error("the store did not answer within {0:?}")]
    Timeout(Duration),
    /// The database or the connection to it failed; the operation may have happened.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// The store could not even be asked; nothing was written.
    #[error("the store cannot be reached")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// Too many claims of one record at once; nothing was written.
    #[error("the claim was still contended after {0} tries")]
    Contended(u32),
    /// The store is at its bound and holds nothing that may be dropped; nothing was written.
    #[error("the store is full: {limit}")]
    Full {
        /// The bound that was reached.
        limit: String,
    },
    /// The record was written by another version of Idem.
    #[error(
        "the record has format version {0}, this build knows {known}; update this server, or roll \
         back the one that wrote it",
        known = RECORD_VERSION
    )]
    UnknownVersion(i16),
    /// The store has no transactions to lend to handlers; nothing was written.
    #[error("the store has no transactions, and the handler takes one")]
    NoTransactions,
    /// A stored value is not what this build wrote.
    #[error("the stored record is damaged: {0}")]
    Damaged(&'static str),
}

impl StoreError {
    /// Wraps an error of a database driver.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }

    /// Wraps an error of a database driver that came before anything was sent.
    pub fn unreachable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unreachable(source.into())
    }

    /// A stable name, in snake case.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Unavailable(_) => "unavailable",
            Self::Unreachable(_) => "unreachable",
            Self::Contended(_) => "contended",
            Self::Full { .. } => "full",
            Self::UnknownVersion(_) => "unknown_version",
            Self::NoTransactions => "no_transactions",
            Self::Damaged(_) => "damaged",
        }
    }

    /// Whether it is the store that fails, and not what it holds or how it is used.
    pub const fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Timeout(_) | Self::Unavailable(_) | Self::Unreachable(_) | Self::Full { .. }
        )
    }

    /// Whether the operation may have happened although it failed.
    pub const fn may_have_happened(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Unavailable(_))
    }
}
