//! Every shape of handler that the attribute takes: it executes once, and its replay has the same
//! bytes.

mod arguments;
mod attempts;
mod bodies;
mod operations;
mod patterns;
mod returns;
mod scopes;
mod stacking;
mod support;
mod unguarded;
