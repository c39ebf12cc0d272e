//! Executions under a lease.

use std::time::Duration;

use axum::{Router, extract::State, routing::post};
use idem::idempotent;
use idem_testkit::Fault;
use tokio::time::{Instant, sleep};

use crate::support::{FAULTS, PATIENCE, Runs, Service};

/// Longer than any test: what blocks a key until its lease is over would be seen.
#[idempotent(scope = "global", lease = "1h")]
async fn quick(State(runs): State<Runs>) -> String {
    runs.count().to_string()
}

#[idempotent(scope = "global", lease = "1h", recover = "hold")]
async fn quick_or_held(State(runs): State<Runs>) -> String {
    runs.count().to_string()
}

#[idempotent(scope = "global", lease = "1h")]
async fn slow(State(runs): State<Runs>) -> String {
    runs.hold().await;
    runs.count().to_string()
}

#[idempotent(scope = "global", lease = "600ms")]
async fn renewed(State(runs): State<Runs>) -> String {
    runs.hold().await;
    runs.count().to_string()
}

fn router<D: 'static>() -> Router<Service<D>> {
    Router::new()
        .route("/quick", post(quick))
        .route("/quick-or-held", post(quick_or_held))
        .route("/slow", post(slow))
        .route("/renewed", post(renewed))
}

/// Of what is renewed.
const LEASE: Duration = Duration::from_millis(600);

/// Waits for the wire to have failed again.
async fn meets_the_fault<D>(service: &Service<D>, before: usize) {
    let start = Instant::now();
    while service.proxy.met() == before {
        assert!(start.elapsed() < PATIENCE, "nothing is sent");
        sleep(Duration::from_millis(10)).await;
    }
}

macro_rules! on_each_store {
    ($($store:ident: $($path:ident)::+;)*) => {$(
        mod $store {
            use super::*;
            use crate::$($path)::+::{records, service};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn at_a_claim_nothing_runs_and_a_retry_executes_once_the_wire_is_repaired() {
                for fault in FAULTS {
                    for path in ["/quick", "/quick-or-held"] {
                        let (service, url) = service().await;
                        let router = router();
                        service.send(&router, path, "before").await;
                        service.proxy.fail(fault);
                        let refused = service.send(&router, path, "k").await;
                        assert_eq!(refused.status, 503, "{fault:?}: {refused:?}");
                        assert_eq!(refused.problem(), "store-unavailable");
                        assert!(service.idem.health().await.is_err(), "{fault:?}");
                        assert_eq!(service.runs.so_far(), 1, "{fault:?}: it ran unguarded");

                        service.proxy.repair();
                        let answer = service.settle(&router, path, "k").await;
                        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "2"), "{fault:?}");
                        assert!(!answer.is_replay());
                        let retry = service.send(&router, path, "k").await;
                        assert!(retry.is_replay() && retry.body == "2", "{fault:?}: {retry:?}");
                        assert!(service.idem.health().await.is_ok(), "{fault:?}");
                        assert_eq!(records(&url).await, (2, 0), "{fault:?}");
                    }
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn at_a_replay_nothing_runs_and_the_record_is_found_once_the_wire_is_repaired() {
                for fault in FAULTS {
                    let (service, url) = service().await;
                    let router = router();
                    service.send(&router, "/quick", "k").await;
                    service.proxy.fail(fault);
                    let refused = service.send(&router, "/quick", "k").await;
                    assert_eq!(refused.status, 503, "{fault:?}: {refused:?}");
                    service.proxy.repair();
                    let answer = service.settle(&router, "/quick", "k").await;
                    assert!(answer.is_replay() && answer.body == "1", "{fault:?}: {answer:?}");
                    assert_eq!(records(&url).await, (1, 0), "{fault:?}");
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn at_renewals_the_execution_goes_on_and_is_recorded() {
                for fault in FAULTS {
                    let (service, url) = service().await;
                    let router = router();
                    let running = service.sending(&router, "/renewed", "k");
                    service.runs.arrival().await;
                    let before = service.proxy.met();
                    service.proxy.fail(fault);
                    meets_the_fault(&service, before).await;
                    // It has lapsed for everybody else.
                    sleep(LEASE).await;
                    let duplicate = service.send(&router, "/renewed", "k").await;
                    assert_eq!(duplicate.problem(), "in-flight", "{fault:?}");
                    service.proxy.repair();
                    service.runs.release();
                    let answer = running.await.unwrap();
                    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "1"), "{fault:?}");
                    let retry = service.settle(&router, "/renewed", "k").await;
                    assert!(retry.is_replay() && retry.body == "1", "{fault:?}: {retry:?}");
                    assert_eq!(records(&url).await, (1, 0), "{fault:?}");
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn at_the_record_the_client_has_its_answer_and_retries_get_it_after_the_repair() {
                for fault in FAULTS {
                    let (service, url) = service().await;
                    let router = router();
                    let running = service.sending(&router, "/slow", "k");
                    service.runs.arrival().await;
                    service.proxy.fail(fault);
                    let released_at = Instant::now();
                    service.runs.release();
                    let answer = running.await.unwrap();
                    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "1"), "{fault:?}");
                    assert!(released_at.elapsed() < Duration::from_secs(8), "{fault:?}");
                    let early = service.send(&router, "/slow", "k").await;
                    assert_eq!(early.problem(), "in-flight", "{fault:?}: {early:?}");

                    service.proxy.repair();
                    let retry = service.settle(&router, "/slow", "k").await;
                    assert!(retry.is_replay() && retry.body == "1", "{fault:?}: {retry:?}");
                    assert_eq!(service.runs.so_far(), 1, "{fault:?}");
                    assert_eq!(records(&url).await, (1, 0), "{fault:?}");
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_wire_that_is_only_slow_costs_time() {
                let (service, url) = service().await;
                let router = router();
                service.send(&router, "/quick", "before").await;
                service.proxy.fail(Fault::Delay(Duration::from_millis(50)));
                let answer = service.send(&router, "/quick", "k").await;
                assert_eq!((answer.status.as_u16(), &*answer.body), (200, "2"));
                assert!(service.send(&router, "/quick", "k").await.is_replay());
                assert_eq!(records(&url).await, (2, 0));
            }
        }
    )*};
}

on_each_store! {
    postgres: support::postgres;
    mariadb: support::mariadb;
    redis: support::redis;
    cluster: cluster;
}
