//! What a cache that does not work costs, and what operators see of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::FromRef, http::Request, routing::post};
use idem::{
    Cache, CacheError, CacheHealth, Found, Idem, MemoryCache, MemoryStore, Tiered, async_trait,
    idempotent,
};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

use crate::log::Log;

/// A cache of the application's own, in front of memory.
#[derive(Clone, Debug)]
struct Moody(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: MemoryCache,
    mood: std::sync::Mutex<Mood>,
    gets: AtomicU32,
    puts: AtomicU32,
    checks: AtomicU32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Works,
    Fails,
    NeverAnswers,
    NeverKeeps,
}

impl Moody {
    fn new(mood: Mood) -> Self {
        Self(Arc::new(Inner {
            memory: MemoryCache::new(1 << 20),
            mood: mood.into(),
            gets: AtomicU32::new(0),
            puts: AtomicU32::new(0),
            checks: AtomicU32::new(0),
        }))
    }

    fn becomes(&self, mood: Mood) {
        *self.0.mood.lock().unwrap() = mood;
    }

    /// How often it was asked since it was counted last.
    fn counts(&self) -> [u32; 3] {
        let Inner { gets, puts, checks, .. } = &*self.0;
        [gets, puts, checks].map(|it| it.swap(0, Ordering::Relaxed))
    }

    async fn is_in_the_mood(&self) -> Result<(), CacheError> {
        let mood = *self.0.mood.lock().unwrap();
        match mood {
            Mood::Works | Mood::NeverKeeps => Ok(()),
            Mood::Fails => Err("it does not want to".into()),
            Mood::NeverAnswers => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Cache for Moody {
    async fn get(&self, key: &[u8; 32]) -> Result<Option<Found>, CacheError> {
        self.0.gets.fetch_add(1, Ordering::Relaxed);
        self.is_in_the_mood().await?;
        self.0.memory.get(key).await
    }

    async fn put(
        &self,
        key: &[u8; 32],
        value: axum::body::Bytes,
        until: Instant,
    ) -> Result<(), CacheError> {
        self.0.puts.fetch_add(1, Ordering::Relaxed);
        if *self.0.mood.lock().unwrap() == Mood::NeverKeeps {
            std::future::pending::<()>().await;
        }
        self.is_in_the_mood().await?;
        self.0.memory.put(key, value, until).await
    }

    async fn check(&self) -> Result<(), CacheError> {
        self.0.checks.fetch_add(1, Ordering::Relaxed);
        self.is_in_the_mood().await
    }
}

#[derive(Clone, FromRef)]
struct App {
    idem: Idem,
}

#[idempotent(scope = "global")]
async fn create() -> &'static str {
    "created"
}

/// A service, and how long its requests take by a clock that only stands still while somebody works.
struct Service {
    idem: Idem,
    router: Router,
}

impl Service {
    fn with(cache: &Moody) -> Self {
        let store = Tiered::new(cache.clone(), MemoryStore::new());
        let idem = Idem::builder(store).build().unwrap();
        let router = Router::new().route("/", post(create));
        Self { router: router.with_state(App { idem: idem.clone() }), idem }
    }

    /// Sends a request; says whether it was replayed, and how long it took.
    async fn send(&self, key: &str) -> (bool, Duration) {
        let start = Instant::now();
        let request = Request::post("/").header("Idempotency-Key", key);
        let request = request.body(Body::empty()).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        (answer.headers().contains_key("Idempotency-Replayed"), start.elapsed())
    }

    async fn cache(&self) -> CacheHealth {
        self.idem.health().await.unwrap().cache
    }
}

const TIMEOUT: Duration = Duration::from_millis(50);
const NO_TIME: Duration = Duration::ZERO;

#[tokio::test(start_paused = true)]
async fn a_cache_that_never_answers_costs_three_requests_its_timeout_and_then_none() {
    Log::capture();
    let cache = Moody::new(Mood::Works);
    let service = Service::with(&cache);
    service.send("0").await;
    assert_eq!(cache.counts(), [1, 1, 0]);
    cache.becomes(Mood::NeverAnswers);
    for key in ["1", "2", "3"] {
        assert_eq!(service.send(key).await, (false, TIMEOUT));
    }
    for _ in 0..100 {
        assert_eq!(service.send("1").await, (true, NO_TIME));
    }
    assert_eq!(cache.counts(), [3, 2, 0], "it is left alone");
    assert_eq!(service.cache().await, CacheHealth::Down);

    // A probe that fails is nothing that a request waits for.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(service.send("1").await, (true, NO_TIME));
    sleep(Duration::from_secs(2)).await;
    let [gets, _, checks] = cache.counts();
    assert_eq!((gets, checks), (0, 2));

    cache.becomes(Mood::Works);
    assert_eq!(service.send("1").await, (true, NO_TIME), "this one has it probed");
    sleep(Duration::from_millis(1)).await;
    for _ in 0..3 {
        assert_eq!(service.send("1").await, (true, NO_TIME));
    }
    assert_eq!(cache.counts(), [3, 1, 1], "filled by the first, used by the others");
    assert_eq!(service.cache().await, CacheHealth::Up);

    let log = Log::text();
    let lines = |text: &str| log.lines().filter(|it| it.contains(text)).count();
    assert_eq!(lines(" WARN idem_core::tiered"), 1, "{log}");
    assert_eq!(lines("the cache does not work"), 1, "{log}");
    assert_eq!(lines(" INFO idem_core::tiered"), 1, "{log}");
    assert_eq!(lines("the cache works again"), 1, "{log}");
}

/// Whoever starts without it learns so at once.
#[tokio::test(start_paused = true)]
async fn a_cache_that_has_never_worked_costs_one_request_its_timeout() {
    let cache = Moody::new(Mood::NeverAnswers);
    let service = Service::with(&cache);
    assert_eq!(service.send("1").await, (false, TIMEOUT));
    for _ in 0..10 {
        assert_eq!(service.send("1").await, (true, NO_TIME));
    }
    assert_eq!(cache.counts(), [1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_fails_once_in_a_while_is_asked_all_the_same() {
    let cache = Moody::new(Mood::Works);
    let service = Service::with(&cache);
    service.send("k").await;
    for _ in 0..10 {
        for mood in [Mood::Fails, Mood::Fails, Mood::Works] {
            cache.becomes(mood);
            assert_eq!(service.send("k").await, (true, NO_TIME));
        }
    }
    assert_eq!(cache.counts()[0], 31);
    cache.becomes(Mood::Fails);
    for _ in 0..10 {
        assert_eq!(service.send("k").await, (true, NO_TIME));
    }
    assert_eq!(cache.counts()[0], 3);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_never_keeps_delays_no_answer_and_no_drain() {
    let cache = Moody::new(Mood::NeverKeeps);
    let service = Service::with(&cache);
    for number in 0..100 {
        assert_eq!(service.send(&number.to_string()).await, (false, NO_TIME));
    }
    assert_eq!(cache.counts()[1], 64, "more are not on their way at once");
    let start = Instant::now();
    service.idem.drain().await;
    assert_eq!(start.elapsed(), NO_TIME);
    // They are given up.
    sleep(Duration::from_secs(2)).await;
    service.send("0").await;
    assert_eq!(cache.counts()[1], 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_learns_how_the_cache_is_without_any_request() {
    let cache = Moody::new(Mood::Fails);
    let service = Service::with(&cache);
    for (mood, health) in [
        (Mood::Fails, CacheHealth::Down),
        (Mood::Works, CacheHealth::Up),
        (Mood::NeverAnswers, CacheHealth::Down),
        (Mood::Works, CacheHealth::Up),
    ] {
        cache.becomes(mood);
        for _ in 0..5 {
            assert_eq!(service.cache().await, health, "{mood:?}");
        }
    }
    let without = Idem::builder(MemoryStore::new()).build().unwrap();
    assert_eq!(without.health().await.unwrap().cache, CacheHealth::None);
}
