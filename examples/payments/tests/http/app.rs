//! The payments example as a child process.

mod answer;
mod log;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use idem_testkit::PostgresServer;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub(crate) use self::answer::Answer;
use self::log::Log;

/// How long anything may take on a busy machine before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Which database the example runs on.
#[derive(Clone, Copy)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

/// The example's environment: a working directory of its own, and variables.
#[derive(Clone)]
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

    /// Where the data are, as a database client needs it.
    pub(crate) fn database_url(&self) -> String {
        let url = self.variables.iter().find(|(name, _)| *name == "DATABASE_URL");
        let file = || format!("sqlite:{}", self.directory.path().join("payments.db").display());
        url.map_or_else(file, |(_, url)| url.clone())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_payments"));
        for name in ["DATABASE_URL", "PROVIDER_DELAY_MS", "LEASE", "RUST_LOG", "FAILPOINTS"] {
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

    pub(crate) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url)).json(body)
    }

    /// An order of ann's.
    pub(crate) fn order(&self, path: &str, key: &str, to: &str) -> RequestBuilder {
        self.post(path, &order(to)).bearer_auth("ann").header("Idempotency-Key", key)
    }

    /// Pays as ann.
    pub(crate) async fn pay(&self, key: &str, to: &str) -> Answer {
        Answer::of(self.order("/payments", key, to).send().await.unwrap()).await
    }

    /// Lets the provider pay as ann.
    pub(crate) async fn pay_out(&self, key: &str, to: &str) -> Answer {
        Answer::of(self.order("/payouts", key, to).send().await.unwrap()).await
    }

    /// Pays as ann until the answer is not that it is running.
    pub(crate) async fn pay_until_answered(&self, key: &str, to: &str) -> Answer {
        until_answered(async || self.pay(key, to).await).await
    }

    /// Lets the provider pay as ann until the answer is not that it is running.
    pub(crate) async fn pay_out_until_answered(&self, key: &str, to: &str) -> Answer {
        until_answered(async || self.pay_out(key, to).await).await
    }

    /// Sends a payment as ann and returns when it is being processed.
    pub(crate) async fn start_paying(&self, key: &str, to: &str) -> JoinHandle<Answer> {
        let request = self.order("/payments", key, to);
        self.start_request(request, "a payment is processed").await
    }

    /// Sends a payout as ann and returns when the provider has moved the money.
    pub(crate) async fn start_paying_out(&self, key: &str, to: &str) -> JoinHandle<Answer> {
        let request = self.order("/payouts", key, to);
        self.start_request(request, "the provider has the money").await
    }

    async fn start_request(&self, request: RequestBuilder, logged: &str) -> JoinHandle<Answer> {
        let client = tokio::spawn(async { Answer::of(request.send().await.unwrap()).await });
        let start = Instant::now();
        while !self.log.goes_on_with(logged) {
            assert!(start.elapsed() < PATIENCE, "not in the log: {logged}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        client
    }

    /// Ann's payments.
    pub(crate) async fn payments(&self) -> Vec<Value> {
        self.get("/payments").send().await.unwrap().json().await.unwrap()
    }

    /// Ann's payouts.
    pub(crate) async fn payouts(&self) -> Vec<Value> {
        self.get("/payouts").send().await.unwrap().json().await.unwrap()
    }

    /// What a user has. All accounts together have nothing.
    pub(crate) async fn balance(&self, user: &str) -> i64 {
        let request = self.client.get(format!("{}/balance", self.url)).bearer_auth(user);
        let body: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(body["total"], 0, "{body}");
        body["balance"].as_i64().unwrap()
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

async fn until_answered(send: impl AsyncFn() -> Answer) -> Answer {
    let start = Instant::now();
    loop {
        let answer = send().await;
        if !answer.is_in_flight() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "still in flight: {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) fn order(to: &str) -> Value {
    json!({ "amount": 1250, "currency": "EUR", "to": to })
}
