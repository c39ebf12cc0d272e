//! Crash points: ends a process deterministically between two steps of an execution.
//!
//! With the feature `crash-points`, the engine, the stores and, by [`point`], your own handlers pass
//! places where a process can be made to abort, as if it had been killed there. Without it they are
//! compiled to nothing. Give the feature to a binary of yours, call [`arm`] first thing in its
//! `main`, start it as a child process with the environment of [`environment`], and see what a retry
//! finds after the restart:
//!
//! ```
//! use std::process::Command;
//!
//! let mut command = Command::new("target/debug/payments");
//! command.envs([idem_testkit::crash::environment("idem::after-handler")]);
//! ```
//!
//! | point | everything before it has happened |
//! |---|---|
//! | `idem::before-claim` | extraction |
//! | `idem::after-claim` | the claim, or the beginning of the transaction |
//! | `idem::after-handler` | the handler has answered |
//! | `idem::after-record` | the record is written: in a transaction, not yet committed |
//! | `idem::after-commit` | the transaction has ended; the client has no answer yet |

/// The points that every execution passes, in this order; `idem::after-commit` only one that runs in
/// a transaction.
pub const POINTS: [&str; 5] = [
    "idem::before-claim",
    "idem::after-claim",
    "idem::after-handler",
    "idem::after-record",
    "idem::after-commit",
];

/// The environment variable that ends a process at the first pass of a point.
pub fn environment(point: &str) -> (&'static str, String) {
    ("FAILPOINTS", format!("{point}=return"))
}

/// Arms the points that this process's environment names, by the rules of the crate
/// [`fail`](https://docs.rs/fail). Call it once, first thing in `main`.
pub fn arm() {
    // It disarms when it is dropped.
    std::mem::forget(fail::FailScenario::setup());
}

/// A point of your own, as in `idem_testkit::crash::point("payments::after-debit")`.
pub fn point(name: &'static str) {
    idem_core::crash_point(name);
}
