//! A client as the field has them: it asks again until it is told, and not always in order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use futures_util::future::join_all;
use serde::Deserialize;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    answer::Answer,
    book::Book,
    intent::{Order, name},
    service::Services,
    violations::Kind,
};

/// After which a key counts as never answered.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) struct Client {
    rng: Rng,
    http: reqwest::Client,
    path: &'static str,
    services: watch::Receiver<Services>,
    book: Book,
}

#[derive(Deserialize)]
pub(super) struct Balance {
    pub(super) balance: i64,
    pub(super) total: i64,
}

impl Client {
    pub(super) fn new(
        book: Book,
        rng: Rng,
        http: reqwest::Client,
        path: &'static str,
        services: watch::Receiver<Services>,
    ) -> Self {
        Self { rng, http, path, services, book }
    }

    /// Orders until the killer has done, and then until everything is answered.
    pub(super) async fn run(mut self) -> Book {
        while !self.services.borrow().left {
            let number = self.book.intend(&mut self.rng);
            self.pay(number).await;
            if self.rng.u8(..) < 40 {
                let earlier = self.rng.usize(..=number);
                self.repeat(earlier).await;
            }
            if self.rng.u8(..) < 10 {
                self.look_at_the_total().await;
            }
            sleep(Duration::from_millis(self.rng.u64(..10))).await;
        }
        self.book
    }

    /// Asks until there is an answer: now and then several times at once, and now and then without
    /// listening to the end.
    async fn pay(&mut self, number: usize) {
        let start = Instant::now();
        while !self.book.intents[number].is_answered() {
            if start.elapsed() > PATIENCE {
                return self.book.violate(Kind::Unanswered, number, "in two minutes");
            }
            let order = self.book.order(number);
            let answers = match self.rng.u8(..16) {
                0..=2 => {
                    let times = self.rng.usize(2..=4);
                    let urls = self.urls(times).await;
                    join_all(urls.iter().map(|url| self.send(url, number, &order))).await
                }
                3..=4 => {
                    let patience = Duration::from_millis(self.rng.u64(..20));
                    let url = self.url().await;
                    let listening = timeout(patience, self.send(&url, number, &order)).await;
                    vec![listening.unwrap_or_default()]
                }
                _ => {
                    let url = self.url().await;
                    vec![self.send(&url, number, &order).await]
                }
            };
            self.book.note(number, &answers);
            if !self.book.intents[number].is_answered() {
                sleep(Duration::from_millis(self.rng.u64(2..30))).await;
            }
        }
    }

    /// Asks once more for what was answered.
    async fn repeat(&mut self, number: usize) {
        let order = self.book.order(number);
        let url = self.url().await;
        let answer = self.send(&url, number, &order).await;
        self.book.note(number, &[answer]);
    }

    async fn url(&mut self) -> Arc<str> {
        self.urls(1).await.pop().unwrap_or_default()
    }

    /// Where to send requests at once. Waits while all services are known to be down.
    async fn urls(&mut self, requests: usize) -> Vec<Arc<str>> {
        let services = self.services.wait_for(Services::is_any_up).await;
        // The killer outlives its clients.
        services.map(|it| it.draw(&mut self.rng, requests)).unwrap_or_default()
    }

    /// Nothing when there was no whole answer.
    async fn send(&self, url: &str, number: usize, order: &Order) -> Option<Answer> {
        let request = self.http.post(format!("{url}{}", self.path)).json(order);
        let request = request.bearer_auth(name(self.book.user));
        let request = request.header("idempotency-key", Book::key(number));
        Answer::read(request.send().await.ok()?).await
    }

    /// At no moment do the accounts have anything together.
    async fn look_at_the_total(&mut self) {
        let url = self.url().await;
        match balance(&self.http, &url, self.book.user).await {
            Ok(Balance { total: 0, .. }) => {}
            Ok(Balance { total, .. }) => self.book.violations.add(Kind::WrongTotal, total),
            Err(error) => self.book.note_failure(&error),
        }
    }
}

pub(super) async fn balance(
    http: &reqwest::Client,
    url: &str,
    user: usize,
) -> reqwest::Result<Balance> {
    let request = http.get(format!("{url}/balance")).bearer_auth(name(user));
    request.send().await?.error_for_status()?.json().await
}
