//! The payments example as a child process.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use idem_testkit::PostgresServer;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// How long anything may take on a busy machine before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Which database the example runs on.
#[derive(Clone, Copy)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

/// The example's environment: a working directory of its own, and variables.
pub(crate) struct Setup {
    directory: Arc<TempDir>,
    variables: Vec<(&'static str, String)>,
}

impl Setup {
    pub(crate) fn new(database: Database) -> Self {
        let setup = Self { directory: Arc::new(TempDir::new().unwrap()), variables: Vec::new() };
        match database {
            Database::Sqlite => setup,
            Database::Postgres => {
                setup.variable("DATABASE_URL", PostgresServer::shared().fresh_database())
            }
        }
    }

    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.retain(|(it, _)| *it != name);
        self.variables.push((name, value.into()));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_payments"));
        for name in ["DATABASE_URL", "PROVIDER_DELAY_MS", "LEASE", "RUST_LOG"] {
            command.env_remove(name);
        }
        command.current_dir(self.directory.path()).env("ADDR", "127.0.0.1:0");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the example and waits until it listens.
    pub(crate) fn start(&self) -> App {
        let mut command = self.command();
        command
            .env("RUST_LOG", "info,payments=debug")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Log::of(child.stderr.take().unwrap());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let greeting: Vec<String> = lines.by_ref().take(4).map(Result::unwrap).collect();
        let url = greeting.first().and_then(|it| it.split_whitespace().last());
        let url = url.expect("the example says where it listens").to_owned();
        let greeting = greeting.join("\n");
        App {
            child,
            url,
            greeting,
            client: reqwest::Client::new(),
            log,
            _directory: self.directory.clone(),
        }
    }

    /// Runs the example until it ends, and returns its status and its log.
    pub(crate) fn run_to_end(&self) -> (ExitStatus, String) {
        let output = self.command().output().unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    }

    pub(crate) fn has_file(&self, name: &str) -> bool {
        self.directory.path().join(name).exists()
    }
}

/// A running example. It is killed when the value is dropped.
pub(crate) struct App {
    child: Child,
    url: String,
    pub(crate) greeting: String,
    client: reqwest::Client,
    log: Log,
    _directory: Arc<TempDir>,
}

impl App {
    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url)).bearer_auth("ann")
    }

    pub(crate) fn post(&self, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}/payments", self.url)).json(body)
    }

    /// Pays as ann.
    pub(crate) async fn pay(&self, key: &str, to: &str) -> Answer {
        let request = self.post(&order(to)).bearer_auth("ann").header("Idempotency-Key", key);
        Answer::of(request.send().await.unwrap()).await
    }

    /// Pays as ann until the answer is not that it is running.
    pub(crate) async fn pay_until_answered(&self, key: &str, to: &str) -> Answer {
        let start = Instant::now();
        loop {
            let answer = self.pay(key, to).await;
            if !answer.is_in_flight() {
                return answer;
            }
            assert!(start.elapsed() < PATIENCE, "still in flight: {answer:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends a payment as ann and returns when the provider has been asked for the money.
    pub(crate) async fn start_paying(&self, key: &str, to: &str) -> JoinHandle<Answer> {
        let request = self.post(&order(to)).bearer_auth("ann").header("Idempotency-Key", key);
        let client = tokio::spawn(async { Answer::of(request.send().await.unwrap()).await });
        let start = Instant::now();
        while !self.log.goes_on_with("the provider is asked") {
            assert!(start.elapsed() < PATIENCE, "the payment does not run");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        client
    }

    /// Ann's payments.
    pub(crate) async fn payments(&self) -> Vec<Value> {
        self.get("/payments").send().await.unwrap().json().await.unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    pub(crate) async fn ended(mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the example does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the example writes to standard error, shown if the test fails.
struct Log {
    lines: Mutex<mpsc::Receiver<String>>,
    seen: Mutex<Vec<String>>,
}

impl Log {
    fn of(stderr: ChildStderr) -> Self {
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { lines: Mutex::new(lines), seen: Mutex::default() }
    }

    /// Reads the lines that have come, up to one with this text.
    fn goes_on_with(&self, text: &str) -> bool {
        self.lines.lock().unwrap().try_iter().any(|line| {
            let found = line.contains(text);
            self.seen.lock().unwrap().push(line);
            found
        })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.goes_on_with("\0");
            let all = self.seen.lock().unwrap().join("\n");
            let _ = std::io::stderr().write_all(all.as_bytes());
        }
    }
}

pub(crate) fn order(to: &str) -> Value {
    json!({ "amount": 1250, "currency": "EUR", "to": to })
}

/// A response, read to its end.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) replayed: bool,
    pub(crate) location: Option<String>,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let header = |name| response.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
        let (replayed, location) = (header("idempotency-replayed").is_some(), header("location"));
        let status = response.status();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, replayed, location, body }
    }

    /// The name of the problem that the answer is, or nothing.
    pub(crate) fn problem(&self) -> &str {
        let uri = self.body["type"].as_str().unwrap_or_default();
        uri.strip_prefix("urn:problem-type:idem:").unwrap_or_default()
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        self.problem() == "in-flight"
    }

    /// The answer without the marker of a replay.
    pub(crate) fn content(&self) -> (StatusCode, &Option<String>, &Value) {
        (self.status, &self.location, &self.body)
    }
}
