//! What an entry may answer, and until when.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::FromRequestParts,
    http::{Request, StatusCode, request::Parts},
    routing::post,
};
use idem::{
    Cache, Claim, Claimed, Idem, MemoryCache, MemoryStore, Owner, RecordId, RedisCache, Scope,
    Store, StoredResponse, Tiered, Written, idempotent,
};
use idem_testkit::RedisServer;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};
use tower::ServiceExt;

use crate::{
    file::File,
    harness::{RedisKeys, patient},
    log::Log,
};

const TTL: Duration = Duration::from_secs(100);

/// A new attempt at a record.
fn claim(key: &str) -> Claim {
    let key = idem::IdempotencyKey::from_value(&key.parse().unwrap(), idem::KeyFormat::Any);
    let id = RecordId::sent("POST /", &idem::ScopeValue::global(), &key.unwrap());
    let fingerprint = idem_core::FingerprintBuilder::new(&"POST".parse().unwrap(), "/").none();
    let (recover, lease) = (idem::Recover::Retry, Duration::from_secs(10));
    Claim { owner: Owner::draw(id), fingerprint, recover, lease, ttl: TTL }
}

fn response(body: &'static str) -> StoredResponse {
    let body = Some(body.as_bytes().into());
    StoredResponse { status: StatusCode::CREATED, headers: Vec::new(), body }
}

/// Executes.
async fn done(store: &impl Store, key: &str, body: &'static str) {
    let claim = claim(key);
    let judged = store.claim(&claim).await.unwrap();
    assert!(matches!(judged.claimed, Claimed::Won { .. }), "{judged:?}");
    let written = store.complete(&claim.owner, &response(body), TTL).await.unwrap();
    assert_eq!(written, Written::Accepted);
}

async fn assert_replays(store: &impl Store, key: &str, body: &'static str) {
    let judged = store.claim(&claim(key)).await.unwrap();
    assert_eq!(judged.claimed, Claimed::Completed(response(body)));
}

/// Whether the answer comes from the cache, as only that can once the store has forgotten the record.
async fn is_cached(store: &impl Store, durable: &MemoryStore, key: &str) -> bool {
    durable.forget(&claim(key).owner.id);
    let claim = claim(key);
    match store.claim(&claim).await.unwrap().claimed {
        Claimed::Won { .. } => {
            assert_eq!(store.release(&claim.owner).await.unwrap(), Written::Accepted);
            false
        }
        Claimed::Completed(_) => true,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_never_outlives_its_record_whenever_it_was_made() {
    let durable = MemoryStore::new();
    let open = || Tiered::new(MemoryCache::new(1 << 20), durable.clone()).max_age(TTL * 10);
    let (first, second) = (open(), open());
    done(&first, "k", "one").await;
    sleep(TTL / 2).await;
    assert_replays(&second, "k", "one").await;
    sleep((TTL / 2).saturating_sub(Duration::from_secs(1))).await;
    for store in [&first, &second] {
        assert_replays(store, "k", "one").await;
    }
    sleep(Duration::from_secs(1)).await;
    done(&first, "k", "two").await;
    for store in [&first, &second] {
        assert_replays(store, "k", "two").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_deleted_is_replayed_for_no_longer_than_the_maximal_age() {
    let durable = MemoryStore::new();
    let max_age = Duration::from_secs(20);
    let store = Tiered::new(MemoryCache::new(1 << 20), durable.clone()).max_age(max_age);
    done(&store, "k", "one").await;
    sleep(max_age / 2).await;
    assert!(is_cached(&store, &durable, "k").await);
    sleep(max_age / 2).await;
    assert!(!is_cached(&store, &durable, "k").await);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_held_or_is_released_leaves_nothing_in_the_cache() {
    let durable = MemoryStore::new();
    let cache = MemoryCache::new(1 << 20);
    let store = Tiered::new(cache.clone(), durable.clone());
    done(&store, "known", "one").await;
    for key in ["failed", "held", "released", "running"] {
        let claim = claim(key);
        store.claim(&claim).await.unwrap();
        let written = match key {
            "failed" => store.fail(&claim.owner, TTL).await,
            "held" => store.hold(&claim.owner).await,
            "released" => store.release(&claim.owner).await,
            _ => Ok(Written::Accepted),
        };
        assert_eq!(written.unwrap(), Written::Accepted);
        assert!(!cache.forget(&claim.owner.id), "{key}");
    }
    assert!(cache.forget(&claim("known").owner.id));
}

/// The lease is over, and somebody else has executed: the answer is theirs.
#[tokio::test(start_paused = true)]
async fn an_answer_that_the_store_does_not_accept_is_not_kept() {
    let durable = MemoryStore::new();
    let [first, second] = [(); 2].map(|()| Tiered::new(MemoryCache::new(1 << 20), durable.clone()));
    let late = claim("k");
    first.claim(&late).await.unwrap();
    sleep(Duration::from_secs(11)).await;
    done(&second, "k", "two").await;
    let written = first.complete(&late.owner, &response("one"), TTL).await.unwrap();
    assert_eq!(written, Written::Stale);
    for store in [&first, &second] {
        assert_replays(store, "k", "two").await;
    }
}

/// What was given up may have come to the store long before it is written again.
#[tokio::test(start_paused = true)]
async fn an_ending_that_is_written_again_is_not_counted_anew() {
    let durable = MemoryStore::new();
    let store = Tiered::new(MemoryCache::new(1 << 20), durable.clone()).max_age(TTL * 10);
    let first = claim("k");
    store.claim(&first).await.unwrap();
    for _ in 0..2 {
        let written = store.complete(&first.owner, &response("one"), TTL).await.unwrap();
        assert_eq!(written, Written::Accepted);
        sleep(TTL / 2).await;
    }
    done(&store, "k", "two").await;
}

#[tokio::test]
async fn what_comes_to_a_frozen_cache_too_late_is_not_there_when_it_goes_on() {
    let server: &RedisServer = Box::leak(Box::new(RedisServer::start()));
    let cache = RedisCache::open(&server.url()).unwrap();
    let key = [7; 32];
    for clock_is_known in [false, true] {
        if clock_is_known {
            assert_eq!(cache.get(&key).await.unwrap(), None);
        }
        let until = Instant::now() + Duration::from_millis(500);
        server.pause();
        let putting = tokio::spawn({
            let cache = cache.clone();
            async move { cache.put(&key, "late".into(), until).await }
        });
        sleep(Duration::from_millis(700)).await;
        server.resume();
        // On a busy machine it may have been given up.
        drop(putting.await.unwrap());
        assert_eq!(cache.get(&key).await.unwrap(), None, "{clock_is_known}");
        let in_time = Instant::now() + Duration::from_mins(1);
        cache.put(&key, "in time".into(), in_time).await.unwrap();
        let found = cache.get(&key).await.unwrap().unwrap();
        assert_eq!(found.value, "in time");
        assert!(found.expires_in < Duration::from_mins(1), "{found:?}");
        assert!(found.expires_in > Duration::from_secs(30), "{found:?}");
        server.command(&["FLUSHALL"]);
    }
}

#[tokio::test]
async fn stores_that_share_a_cache_do_not_answer_for_each_other() {
    let keys = RedisKeys::on(RedisServer::shared());
    let [one, other] = [File::fresh().await, File::fresh().await];
    let open = async |file: &File| patient(Tiered::new(keys.cache(), file.store().await));
    let of_one = open(&one).await;
    done(&of_one, "k", "one").await;
    let of_other = open(&other).await;
    done(&of_other, "k", "other").await;
    for _ in 0..2 {
        assert_replays(&of_one, "k", "one").await;
        assert_replays(&of_other, "k", "other").await;
    }
    // Another process on the same file knows that it is the same store.
    assert_replays(&open(&one).await, "k", "one").await;
}

/// Whatever is in the cache, the answer is the record's.
#[tokio::test]
async fn foreign_and_damaged_values_are_not_used_and_replaced() {
    Log::capture();
    let server: &RedisServer = Box::leak(Box::new(RedisServer::start()));
    let keys = RedisKeys::on(server);
    let file = File::fresh().await;
    let store = patient(Tiered::new(keys.cache(), file.store().await));
    done(&store, "secret-key", "one").await;
    let key = keys.key(&claim("secret-key").owner.id);
    let exists = async || {
        // Answers are put behind the requests' backs.
        while server.command(&["PTTL", &key]).parse::<i64>().unwrap() <= 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let length = |key: &str| server.command(&["STRLEN", key]).parse::<usize>().unwrap();
    exists().await;
    let length = length(&key);
    for damage in [
        &["SET", &key, "garbage", "EX", "60"][..],
        &["SET", &key, "", "EX", "60"],
        &["SET", &key, "garbage"],
        &["PERSIST", &key],
        &["SETRANGE", &key, &(length - 1).to_string(), "X"],
        &["SETRANGE", &key, "5", "X"],
        &["SETRANGE", &key, "40", "X"],
        &["APPEND", &key, "X"],
        &["LPUSH", &key, "X"],
    ] {
        if damage[0] == "LPUSH" {
            server.command(&["DEL", &key]);
        }
        server.command(damage);
        let before = Log::text().len();
        assert_replays(&store, "secret-key", "one").await;
        let log = Log::text()[before..].to_owned();
        assert!(log.contains("a cached value cannot be used"), "{damage:?}: {log}");
        exists().await;
        let before = Log::text().len();
        assert_replays(&store, "secret-key", "one").await;
        let log = Log::text()[before..].to_owned();
        assert!(!log.contains("a cached value cannot be used"), "{damage:?}: not replaced: {log}");
    }
    let log = Log::text();
    assert!(!log.contains("secret-key") && !log.contains(&key[key.len() - 64..]), "{log}");
    spawn_blocking(move || server.stop()).await.unwrap();
    assert_replays(&store, "secret-key", "one").await;
}

/// Who is calling, if it is allowed to.
#[derive(Scope)]
struct User(String);

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let user = parts.headers.get("user").ok_or(StatusCode::UNAUTHORIZED)?;
        Ok(Self(user.to_str().unwrap().to_owned()))
    }
}

#[derive(Clone, axum::extract::FromRef)]
struct App {
    idem: Idem,
}

#[idempotent(scope = "user")]
async fn create(user: User, body: String) -> String {
    format!("{} has {body}", user.0)
}

/// Extractors, scope and fingerprint are looked at as without a cache.
#[tokio::test]
async fn a_cached_answer_is_for_whoever_made_that_very_request() {
    let store = Tiered::new(MemoryCache::new(1 << 20), MemoryStore::new());
    let idem = Idem::builder(store).build().unwrap();
    let router = Router::new().route("/", post(create)).with_state(App { idem });
    let send = async |user: Option<&str>, body: &'static str| {
        let mut request = Request::post("/").header("Idempotency-Key", "k");
        if let Some(user) = user {
            request = request.header("user", user);
        }
        let request = request.body(Body::from(body)).unwrap();
        let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let is_replay = head.headers.contains_key("Idempotency-Replayed");
        (head.status.as_u16(), is_replay, String::from_utf8(body.to_vec()).unwrap())
    };
    let text = |text: &str| text.to_owned();
    assert_eq!(send(Some("ann"), "a").await, (200, false, text("ann has a")));
    assert_eq!(send(Some("ann"), "a").await, (200, true, text("ann has a")));
    assert_eq!(send(None, "a").await.0, 401);
    assert_eq!(send(Some("ann"), "b").await.0, 422);
    assert_eq!(send(Some("bob"), "a").await, (200, false, text("bob has a")));
}
