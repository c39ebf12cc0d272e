//! The example as a child process.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus},
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{PATIENCE, answer::Answer, log::Log};

/// A running example. It is killed when the value is dropped.
#[derive(Debug)]
pub struct App {
    child: Child,
    url: String,
    greeting: String,
    client: reqwest::Client,
    log: Log,
    _directory: Arc<TempDir>,
}

impl App {
    pub(super) fn of(mut child: Child, directory: Arc<TempDir>) -> Self {
        let log = Log::of(child.stderr.take().unwrap());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let greeting: Vec<String> = lines.by_ref().take(4).map(Result::unwrap).collect();
        let url = greeting.first().and_then(|it| it.split_whitespace().last());
        let url = url.expect("the example says where it listens").to_owned();
        let greeting = greeting.join("\n");
        let client = reqwest::Client::new();
        Self { child, url, greeting, client, log, _directory: directory }
    }

    /// What it said when it was ready.
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// Where it listens: `http://<address>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A request of nobody.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// A `GET` of ann's.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path).bearer_auth("ann")
    }

    /// A `POST` of JSON, of nobody.
    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, path).json(body)
    }

    /// The array that ann gets at the path.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let response = self.get(path).send().await.unwrap().error_for_status().unwrap();
        response.json().await.unwrap()
    }

    /// Sends a request and returns when the example has logged the text: it is at work.
    pub async fn start_request(&self, request: RequestBuilder, logged: &str) -> JoinHandle<Answer> {
        let client = tokio::spawn(Answer::to(request));
        self.has_logged(logged).await;
        client
    }

    /// Returns when the log goes on with a line that has this text.
    pub async fn has_logged(&self, text: &str) {
        let start = Instant::now();
        while !self.log.goes_on_with(text) {
            assert!(start.elapsed() < PATIENCE, "not in the log: {text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// SIGSTOP: the process stands still, as if it were cut off from everything.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the process to end by itself.
    pub async fn ended(mut self) -> ExitStatus {
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

/// Sends until the answer is not that it is running.
pub async fn until_answered(send: impl AsyncFn() -> Answer) -> Answer {
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
