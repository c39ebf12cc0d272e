//! Everything that is measured of a cache.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Bytes;
use idem::{
    Cache, CacheError, Claim, Found, IdempotencyKey, KeyFormat, MemoryCache, MemoryStore, Owner,
    RecordId, Recover, ScopeValue, Store, StoredResponse, Tiered, async_trait,
};
use idem_core::FingerprintBuilder;
use tokio::time::Instant;

const TTL: Duration = Duration::from_hours(1);

/// A cache of which reads and writes fail on demand.
#[derive(Clone, Debug)]
struct Flaky(MemoryCache, Arc<Mutex<Works>>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Works {
    Entirely,
    ToRead,
    NotAtAll,
}

impl Flaky {
    fn now(&self, works: Works) {
        *self.1.lock().unwrap() = works;
    }

    fn works(&self, enough: &[Works]) -> Result<(), CacheError> {
        let works = *self.1.lock().unwrap();
        if enough.contains(&works) { Ok(()) } else { Err("it fails on demand".into()) }
    }
}

#[async_trait]
impl Cache for Flaky {
    async fn get(&self, key: &[u8; 32]) -> Result<Option<Found>, CacheError> {
        self.works(&[Works::Entirely, Works::ToRead])?;
        self.0.get(key).await
    }

    async fn put(&self, key: &[u8; 32], value: Bytes, until: Instant) -> Result<(), CacheError> {
        self.works(&[Works::Entirely])?;
        self.0.put(key, value, until).await
    }
}

fn claim(key: &str) -> Claim {
    let key = IdempotencyKey::from_value(&key.parse().unwrap(), KeyFormat::Any).unwrap();
    Claim {
        owner: Owner::draw(RecordId::sent("POST /", &ScopeValue::global(), &key)),
        fingerprint: FingerprintBuilder::new(&"POST".parse().unwrap(), "/").none(),
        recover: Recover::Retry,
        lease: TTL,
        ttl: TTL,
    }
}

async fn complete(store: &impl Store, claim: &Claim) {
    let response =
        StoredResponse { status: 200.try_into().unwrap(), headers: Vec::new(), body: None };
    let _ = store.complete(&claim.owner, &response, TTL).await.unwrap();
}

/// Brings about everything that is measured of a cache, which does not work in the end.
pub(crate) async fn everything() -> Tiered<MemoryStore> {
    let cache = Flaky(MemoryCache::new(1 << 20), Arc::new(Mutex::new(Works::Entirely)));
    let store = Tiered::new(cache.clone(), MemoryStore::new());
    let [known, unkept, unsent] = ["known", "unkept", "unsent"].map(claim);
    for claim in [&known, &unkept, &unsent] {
        store.claim(claim).await.unwrap();
    }
    complete(&store, &known).await;
    store.claim(&claim("known")).await.unwrap();
    cache.now(Works::ToRead);
    complete(&store, &unkept).await;
    store.claim(&claim("absent")).await.unwrap();
    cache.now(Works::NotAtAll);
    for key in ["1", "2", "3", "4", "5"] {
        store.claim(&claim(key)).await.unwrap();
    }
    complete(&store, &unsent).await;
    store
}
