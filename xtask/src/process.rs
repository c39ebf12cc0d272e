//! Running other programs in sight of the user.

use std::{env, error::Error, path::Path, process::Command};

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The cargo that runs us, with arguments that hold no spaces.
pub(crate) fn cargo(args: &str) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args.split(' '));
    cargo
}

/// Prints a command and runs it to its end.
pub(crate) fn run(command: &mut Command) -> Result {
    let line = shown(command);
    println!("\n$ {line}");
    let status = command.status().map_err(|error| format!("`{line}` does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` failed: {status}").into()) }
}

fn shown(command: &Command) -> String {
    let settings = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}='{}'", name.display(), value?.display())));
    let program = Path::new(command.get_program()).file_name();
    let words = program.into_iter().chain(command.get_args()).map(|it| it.display().to_string());
    settings.chain(words).collect::<Vec<_>>().join(" ")
}
