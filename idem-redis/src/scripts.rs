//! The scripts that servers run: each operation is one of them.

use redis::{Cmd, Script as Hashed};

/// A script, which servers know by its digest once they have run it.
pub(crate) struct Script {
    source: &'static str,
    sha: String,
}

/// Whether the server has to be told the script itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    ByDigest,
    NotYet,
}

/// All scripts of a store.
pub(crate) struct Scripts {
    pub(crate) claim: Script,
    pub(crate) end: Script,
    pub(crate) renew: Script,
    pub(crate) release: Script,
    pub(crate) get: Script,
    pub(crate) in_flight: Script,
    pub(crate) candidates: Script,
    pub(crate) held: Script,
}

/// What a full server runs all the same: without it, what runs would lose its leases while nobody can
/// claim, and run beside the next ones as soon as somebody can.
macro_rules! always {
    () => {
        "#!lua flags=allow-oom\n"
    };
}

macro_rules! script {
    ($file:literal $(, $flags:ident!())?) => {
        Script::new(concat!(
            $($flags!(),)?
            include_str!("scripts/record.lua"),
            "\n",
            include_str!(concat!("scripts/", $file))
        ))
    };
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            claim: script!("claim.lua"),
            end: script!("end.lua", always!()),
            renew: script!("renew.lua", always!()),
            release: script!("release.lua", always!()),
            get: script!("get.lua"),
            in_flight: script!("in_flight.lua"),
            candidates: script!("candidates.lua"),
            held: script!("held.lua"),
        }
    }
}

impl Script {
    fn new(source: &'static str) -> Self {
        Self { source, sha: Hashed::new(source).get_hash().to_owned() }
    }

    /// The command that runs the script. One that brings the source makes the server know it.
    pub(crate) fn run(&self, known: Known, keys: &[String]) -> Cmd {
        let mut command = Cmd::new();
        match known {
            Known::ByDigest => command.arg("EVALSHA").arg(&self.sha),
            Known::NotYet => command.arg("EVAL").arg(self.source),
        };
        command.arg(keys.len()).arg(keys);
        command
    }
}
