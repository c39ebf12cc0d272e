//! The example's environment.

use std::{
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::Arc,
};

use idem_testkit::PostgresServer;
use tempfile::TempDir;

use super::app::App;

/// Which database the example runs on.
#[derive(Clone, Copy, Debug)]
pub enum Database {
    /// The file that is its default.
    Sqlite,
    /// A new database of the shared server.
    Postgres,
}

/// The example's environment: a working directory of its own, and variables.
#[derive(Clone, Debug)]
pub struct Setup {
    program: PathBuf,
    directory: Arc<TempDir>,
    variables: Vec<(&'static str, String)>,
}

impl Setup {
    /// An environment for the program, `env!("CARGO_BIN_EXE_<example>")`.
    pub fn new(program: &str, database: Database) -> Self {
        let directory = Arc::new(TempDir::new().unwrap());
        let setup = Self { program: program.into(), directory, variables: Vec::new() };
        match database {
            Database::Sqlite => setup,
            Database::Postgres => {
                setup.variable("DATABASE_URL", PostgresServer::shared().fresh_database())
            }
        }
    }

    /// Sets a variable.
    #[must_use]
    pub fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.retain(|(it, _)| *it != name);
        self.variables.push((name, value.into()));
        self
    }

    /// Where the data are, as a database client needs it.
    pub fn database_url(&self) -> String {
        let url = self.variables.iter().find(|(name, _)| *name == "DATABASE_URL");
        let file = format!("{}.db", self.example());
        let file = || format!("sqlite:{}", self.directory.path().join(file).display());
        url.map_or_else(file, |(_, url)| url.clone())
    }

    /// Starts the example and waits until it listens.
    pub fn start(&self) -> App {
        let mut command = self.command();
        command
            .env("RUST_LOG", format!("info,{}=debug", self.example()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        App::of(command.spawn().unwrap(), Arc::clone(&self.directory))
    }

    /// Runs the example until it ends, and returns its status and its log.
    pub fn run_to_end(&self) -> (ExitStatus, String) {
        let output = self.command().output().unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    }

    /// Whether the working directory has a file of that name.
    pub fn has_file(&self, name: &str) -> bool {
        self.directory.path().join(name).exists()
    }

    fn example(&self) -> String {
        self.program.file_name().unwrap().to_string_lossy().into_owned()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().env("ADDR", "127.0.0.1:0").current_dir(self.directory.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}
