//! How much of the store's time sweeping takes.

use std::time::Duration;

use axum::{
    Router,
    http::{HeaderMap, HeaderName, Method, StatusCode},
};
use idem::{
    Claim, IdempotencyKey, KeyFormat, Owner, RecordId, Recover, ScopeValue, Store, StoredResponse,
    Written,
};
use idem_core::FingerprintBuilder;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Fault, Server, Sweep};

const EVERY: Duration = Duration::from_secs(10);

/// A server, and a store with so many records that have expired.
async fn server(expired: u32) -> Server {
    let server = Server::new(Router::new());
    let ttl = Duration::from_hours(1);
    for number in 0..expired {
        let name = HeaderName::from_static("idempotency-key");
        let headers = HeaderMap::from_iter([(name.clone(), number.into())]);
        let key = IdempotencyKey::from_headers(&headers, &name, KeyFormat::Any).unwrap().unwrap();
        let claim = Claim {
            owner: Owner::draw(RecordId::sent("POST /", &ScopeValue::global(), &key)),
            fingerprint: FingerprintBuilder::new(&Method::POST, "/").none(),
            recover: Recover::Retry,
            lease: ttl,
            ttl,
        };
        server.store.memory.claim(&claim).await.unwrap();
        let response = StoredResponse { status: StatusCode::OK, headers: Vec::new(), body: None };
        let written = server.store.memory.complete(&claim.owner, &response, ttl).await.unwrap();
        assert_eq!(written, Written::Accepted);
    }
    server.store.memory.advance(2 * ttl);
    server
}

async fn swept_all(server: &Server) -> Vec<Sweep> {
    let all = async {
        while !format!("{:?}", server.store.memory).contains("records: 0,") {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_hours(1), all).await.expect("all is swept");
    server.store.sweeps()
}

#[tokio::test(start_paused = true)]
async fn sweeping_takes_at_most_a_fifth_of_the_time() {
    for each in [Duration::from_micros(100), Duration::from_millis(1), Duration::from_millis(30)] {
        let server = server(3_000).await;
        server.store.sweeping_takes(each);
        server.idem.spawn_sweeper(EVERY);
        let begun = Instant::now() + EVERY;
        let sweeps = swept_all(&server).await;
        let last = sweeps.last().unwrap();
        let busy: Duration = sweeps.iter().map(|it| it.took).sum();
        let passed = last.begun + last.took * 5 - begun;
        assert!(
            busy.as_secs_f64() <= passed.as_secs_f64() * 0.201,
            "{each:?}: {busy:?}, {passed:?}"
        );
        for pair in sweeps.windows(2) {
            let rest = pair[1].begun - (pair[0].begun + pair[0].took);
            assert!(rest >= pair[0].took * 4, "{each:?}: {pair:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn batches_come_to_be_short_but_not_shorter_than_need_be() {
    let cases = [
        (Duration::from_micros(10), 1_000..=1_000),
        (Duration::from_micros(400), 64..=125),
        (Duration::from_millis(1), 25..=50),
        (Duration::from_millis(100), 10..=10),
    ];
    for (each, sizes) in cases {
        let server = server(6_000).await;
        server.store.sweeping_takes(each);
        server.idem.spawn_sweeper(EVERY);
        for sweep in swept_all(&server).await.iter().skip(8) {
            assert!(sizes.contains(&sweep.limit), "{each:?}: {sweep:?}");
        }
    }
}

/// What takes longer than the store timeout would be tried in vain for ever.
#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_for_its_size_is_followed_by_a_smaller_one() {
    let server = server(100).await;
    server.store.fault("sweep", Fault::Swallowed);
    server.idem.spawn_sweeper(EVERY);
    sleep(EVERY * 3).await;
    server.store.repair();
    let sweeps = swept_all(&server).await;
    assert!(sweeps[0].limit <= 50, "{sweeps:?}");
}

/// Rounds that are due follow each other at once.
#[tokio::test(start_paused = true)]
async fn a_backlog_is_swept_without_waiting_for_the_next_round() {
    let server = server(2_000).await;
    server.store.sweeping_takes(Duration::from_millis(10));
    server.idem.spawn_sweeper(Duration::from_secs(1));
    let sweeps = swept_all(&server).await;
    for pair in sweeps.windows(2) {
        assert!(pair[1].begun - pair[0].begun <= pair[0].took * 5 + Duration::from_millis(5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweeper_that_rests_stops_at_once() {
    let server = server(1_000).await;
    server.store.sweeping_takes(Duration::from_millis(40));
    server.idem.spawn_sweeper(EVERY);
    // The first batch takes four seconds, and the rest sixteen.
    sleep(EVERY + Duration::from_secs(6)).await;
    timeout(Duration::from_millis(100), server.idem.drain()).await.expect("it stops");
    assert_eq!(server.store.sweeps().len(), 1);
}
