//! Handlers that take a `Tx`: their writes and their record commit together, on real databases.

mod support;

mod misuse;
mod outcomes;
mod unguarded;
