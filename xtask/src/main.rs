//! What contributors and CI run.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool talks to its user")]

mod crash;
mod features;
mod process;
mod servers;

use std::{env, path::Path, process::ExitCode};

use crate::{
    crash::Options,
    process::{Result, cargo, run},
};

const USAGE: &str = "\
Usage: cargo xtask <command>

  test      everything that must pass: formatting, lints, every feature alone, tests, docs
  licenses  licenses, banned crates and sources of all dependencies; needs cargo-deny
  crash     keeps two processes of the payments example under load on one database, kills them, and
            looks for payments that were made twice, or were lost, and for answers that nothing in
            this load explains; finds none, or fails
      --kills <number>            how many processes are killed; default 100
      --database sqlite|postgres  default sqlite
      --stop-server <number>      how often Postgres is stopped, too, as a crash would
      --seed <number>             repeats what was drawn, as far as timing permits
      --control                   pays without protection, and fails unless it finds double payments";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["test"] => go_to_root().and_then(|()| test()),
        ["licenses"] => go_to_root().and_then(|()| licenses()),
        ["crash", ref options @ ..] => match Options::parse(options) {
            Ok(options) => go_to_root().and_then(|()| crash::run(&options)),
            Err(error) => return misused(&error.to_string()),
        },
        _ => return misused("there is no such command"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn misused(why: &str) -> ExitCode {
    eprintln!("{USAGE}\n\nerror: {why}");
    ExitCode::from(2)
}

fn go_to_root() -> Result {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(env::set_current_dir(xtask.parent().unwrap_or(xtask))?)
}

fn test() -> Result {
    servers::ensure(&[servers::POSTGRES, servers::MARIADB, servers::REDIS, servers::CHROMIUM])?;
    run(&mut cargo("fmt --all --check"))?;
    run(&mut cargo("clippy --workspace --all-targets --all-features --locked -- -D warnings"))?;
    features::check_each_alone()?;
    run(&mut cargo("test --workspace --all-features --locked"))?;
    crash::check()?;
    run(cargo("doc --workspace --all-features --no-deps --locked")
        .env("RUSTDOCFLAGS", "-D warnings"))
}

fn licenses() -> Result {
    let version = cargo("deny --version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        return Err("cargo-deny is not installed; run: cargo install cargo-deny --locked".into());
    }
    run(&mut cargo("deny check bans licenses sources"))
}
