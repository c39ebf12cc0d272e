//! Endings that are no answers to keep: failures, and outcomes that are unknown.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use idem::{Outcome, idempotent};
use tokio::time::{Instant, sleep};

use crate::support::{FAULTS, PATIENCE, Runs, Service};

#[idempotent(scope = "global", lease = "1h")]
async fn fails(State(runs): State<Runs>) -> (StatusCode, String) {
    let run = runs.count();
    if run == 1 {
        runs.hold().await;
        return (StatusCode::SERVICE_UNAVAILABLE, "later".into());
    }
    (StatusCode::CREATED, run.to_string())
}

#[idempotent(scope = "global", lease = "1h", recover = "hold")]
async fn panics(State(runs): State<Runs>) -> (StatusCode, String) {
    let run = runs.count();
    if run == 1 {
        runs.hold().await;
        panic!("on purpose");
    }
    (StatusCode::CREATED, run.to_string())
}

fn router<D: 'static>() -> Router<Service<D>> {
    Router::new().route("/fails", post(fails)).route("/panics", post(panics))
}

/// Waits until something is held.
async fn one_held<D: 'static>(service: &Service<D>) -> idem::Held {
    let start = Instant::now();
    loop {
        match service.idem.held(None, 10).await {
            Ok(mut held) if held.len() == 1 => return held.remove(0),
            other => assert!(start.elapsed() < PATIENCE, "{other:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

macro_rules! on_each_store {
    ($($store:ident: $($path:ident)::+;)*) => {$(
        mod $store {
            use super::*;
            use crate::$($path)::+::{records, service};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn at_a_failure_the_client_is_answered_and_a_retry_executes_after_the_repair() {
                for fault in FAULTS {
                    let (service, url) = service().await;
                    let router = router();
                    let running = service.sending(&router, "/fails", "k");
                    service.runs.arrival().await;
                    service.proxy.fail(fault);
                    let released_at = Instant::now();
                    service.runs.release();
                    let answer = running.await.unwrap();
                    assert_eq!((answer.status.as_u16(), &*answer.body), (503, "later"), "{fault:?}");
                    assert!(released_at.elapsed() < Duration::from_secs(8), "{fault:?}");
                    let early = service.send(&router, "/fails", "k").await;
                    assert_eq!(early.problem(), "in-flight", "{fault:?}: {early:?}");

                    service.proxy.repair();
                    let retry = service.settle(&router, "/fails", "k").await;
                    assert_eq!((retry.status.as_u16(), &*retry.body), (201, "2"), "{fault:?}");
                    assert!(service.send(&router, "/fails", "k").await.is_replay(), "{fault:?}");
                    assert_eq!(service.runs.so_far(), 2, "{fault:?}");
                    assert_eq!(records(&url).await, (1, 0), "{fault:?}");
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn at_a_panic_the_outcome_is_held_after_the_repair_and_somebody_decides() {
                for fault in FAULTS {
                    let (service, url) = service().await;
                    let router = router();
                    let running = service.sending(&router, "/panics", "k");
                    service.runs.arrival().await;
                    service.proxy.fail(fault);
                    service.runs.release();
                    let answer = running.await.unwrap();
                    assert_eq!(answer.problem(), "handler-panicked", "{fault:?}");
                    let start = Instant::now();
                    assert!(service.idem.held(None, 10).await.is_err(), "{fault:?}");
                    assert!(start.elapsed() < Duration::from_secs(8), "{fault:?}");

                    service.proxy.repair();
                    let held = one_held(&service).await;
                    let retry = service.settle(&router, "/panics", "k").await;
                    assert_eq!(retry.problem(), "outcome-unknown", "{fault:?}");
                    assert_eq!(service.runs.so_far(), 1, "{fault:?}");

                    // A decision that may not have arrived can be sent again.
                    service.proxy.fail(fault);
                    let start = Instant::now();
                    let lost = service.idem.resolve(&held, Outcome::Failed).await;
                    assert!(lost.is_err(), "{fault:?}");
                    assert!(start.elapsed() < Duration::from_secs(8), "{fault:?}");
                    service.proxy.repair();
                    let start = Instant::now();
                    while let Err(error) = service.idem.resolve(&held, Outcome::Failed).await {
                        assert!(start.elapsed() < PATIENCE, "{fault:?}: {error:?}");
                        sleep(Duration::from_millis(20)).await;
                    }
                    let retry = service.settle(&router, "/panics", "k").await;
                    assert_eq!((retry.status.as_u16(), &*retry.body), (201, "2"), "{fault:?}");
                    assert_eq!(records(&url).await, (1, 0), "{fault:?}");
                }
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
