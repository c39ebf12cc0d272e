//! A service of several processes, its clients, and what became of each key.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::FromRef,
    http::{Request, StatusCode},
    routing::post,
};
use idem::{Attempt, Idem, Store, idempotent};
use tokio::{task::JoinSet, time::sleep};
use tower::ServiceExt;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_mins(2);

/// What was executed for each key, and what its clients were told.
#[derive(Clone, Default)]
pub(crate) struct Book(Arc<Mutex<HashMap<String, Page>>>);

#[derive(Clone, Default)]
pub(crate) struct Page {
    /// Of all executions, in their order.
    pub(crate) fences: Vec<i64>,
    /// Those that had an effect.
    pub(crate) effects: u32,
    pub(crate) answers: HashSet<String>,
}

impl Book {
    fn with<T>(&self, key: &str, change: impl FnOnce(&mut Page) -> T) -> T {
        change(self.0.lock().unwrap().entry(key.to_owned()).or_default())
    }

    pub(crate) fn pages(&self) -> HashMap<String, Page> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn highest_fence(&self) -> i64 {
        self.pages().values().flat_map(|it| it.fences.clone()).max().unwrap()
    }
}

#[derive(Clone, FromRef)]
struct Process {
    idem: Idem,
    book: Book,
}

/// The body is the key. Each third key fails at first, and has no effect then.
#[idempotent(scope = "global", ttl = "1h", failed_ttl = "1h")]
async fn pay(
    axum::extract::State(book): axum::extract::State<Book>,
    attempt: Attempt,
    key: String,
) -> (StatusCode, String) {
    let executions = book.with(&key, |page| {
        page.fences.push(attempt.fence());
        page.fences.len()
    });
    sleep(Duration::from_millis(5)).await;
    if executions == 1 && key.ends_with(['0', '3', '6', '9']) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "not now".to_owned());
    }
    let effects = book.with(&key, |page| {
        page.effects += 1;
        page.effects
    });
    (StatusCode::OK, format!("receipt {effects} for {key}"))
}

/// Processes that are replaced one after another, while clients call whichever they like.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) book: Book,
    processes: Arc<Vec<RwLock<(Idem, Router)>>>,
    /// New keys are named after how many processes were replaced.
    age: Arc<AtomicUsize>,
    answers: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    name: &'static str,
}

const PROCESSES: usize = 3;
const CLIENTS: usize = 12;
const KEYS: usize = 10;

impl Service {
    /// Processes that all use such a store.
    pub(crate) async fn start(open: impl AsyncFn() -> Arc<dyn Store>) -> Self {
        let book = Book::default();
        let mut processes = Vec::new();
        for _ in 0..PROCESSES {
            processes.push(RwLock::new(process(open().await, &book)));
        }
        Self {
            book,
            processes: Arc::new(processes),
            age: Arc::default(),
            answers: Arc::default(),
            is_over: Arc::default(),
            name: "first",
        }
    }

    /// The same processes, with keys that are all new.
    pub(crate) fn with_keys(self, name: &'static str) -> Self {
        let (age, is_over) = Default::default();
        Self { age, is_over, name, ..self }
    }

    /// Replaces one process after another under load.
    pub(crate) async fn roll_out(&self, open: impl AsyncFn() -> Arc<dyn Store>) {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(self.clone().client(client));
        }
        self.some_answers().await;
        for process in self.processes.iter() {
            let next = self::process(open().await, &self.book);
            let (before, _) = std::mem::replace(&mut *process.write().unwrap(), next);
            before.drain().await;
            self.age.fetch_add(1, Ordering::Relaxed);
            self.some_answers().await;
        }
        self.is_over.store(true, Ordering::Relaxed);
        clients.join_all().await;
    }

    async fn some_answers(&self) {
        let enough = self.answers.load(Ordering::Relaxed) + 600;
        let wait = async {
            while self.answers.load(Ordering::Relaxed) < enough {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("clients get answers");
    }

    /// Calls with all keys there are so far, new and old ones, in each process.
    async fn client(self, number: usize) {
        for call in number.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let age = call % (self.age.load(Ordering::Relaxed) + 1);
            let key = format!("{} {age} {}", self.name, (call * 7 + number) % KEYS);
            let process = &self.processes[(call / 3 + number) % PROCESSES];
            let router = process.read().unwrap().1.clone();
            self.call(router, &key).await;
        }
    }

    async fn call(&self, router: Router, key: &str) {
        let request = Request::post("/pay").header("Idempotency-Key", format!("\"{key}\""));
        let request = request.body(Body::from(key.to_owned())).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        if status == StatusCode::OK {
            let answer = String::from_utf8(body.to_vec()).unwrap();
            self.book.with(key, |page| page.answers.insert(answer));
            self.answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn process(store: Arc<dyn Store>, book: &Book) -> (Idem, Router) {
    let idem = Idem::builder(store).build().unwrap();
    let state = Process { idem: idem.clone(), book: book.clone() };
    (idem, Router::new().route("/pay", post(pay)).with_state(state))
}
