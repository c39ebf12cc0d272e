//! What contributors and CI run.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool talks to its user")]

mod features;
mod process;
mod servers;

use std::{env, path::Path, process::ExitCode};

use crate::process::{Result, cargo, run};

const USAGE: &str = "\
Usage: cargo xtask <command>

  test      everything that must pass: formatting, lints, every feature alone, tests, docs
  licenses  licenses, banned crates and sources of all dependencies; needs cargo-deny";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let command = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test,
        ["licenses"] => licenses,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match go_to_root().and_then(|()| command()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn go_to_root() -> Result {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(env::set_current_dir(xtask.parent().unwrap_or(xtask))?)
}

fn test() -> Result {
    servers::ensure_postgres()?;
    run(&mut cargo("fmt --all --check"))?;
    run(&mut cargo("clippy --workspace --all-targets --all-features --locked -- -D warnings"))?;
    features::check_each_alone()?;
    run(&mut cargo("test --workspace --all-features --locked"))?;
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
