//! Duplicates that wait for another process while their own one cannot reach the store.

use std::time::Duration;

use axum::{Router, extract::State, routing::post};
use idem::idempotent;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{FAULTS, PATIENCE, Runs, Service};

#[idempotent(scope = "global", lease = "1h", on_conflict = "wait", wait = "5m")]
async fn patient(State(runs): State<Runs>) -> String {
    runs.hold().await;
    runs.count().to_string()
}

#[idempotent(scope = "global", lease = "1h", on_conflict = "wait", wait = "1s")]
async fn hasty(State(runs): State<Runs>) -> String {
    runs.hold().await;
    runs.count().to_string()
}

fn router<D: 'static>() -> Router<Service<D>> {
    Router::new().route("/patient", post(patient)).route("/hasty", post(hasty))
}

macro_rules! on_each_store {
    ($($store:ident: $($path:ident)::+;)*) => {$(
        mod $store {
            use super::*;
            use crate::$($path)::+::{past_the_wire, records, service};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn those_who_wait_are_answered_once_the_wire_is_repaired() {
                for fault in FAULTS {
                    let (service, url) = service().await;
                    let other = service.in_another_process(past_the_wire(&url).await);
                    let router = router();
                    let running = other.sending(&router, "/patient", "k");
                    service.runs.arrival().await;
                    let waiters: Vec<_> =
                        (0..5).map(|_| service.sending(&router, "/patient", "k")).collect();
                    // Until the wire fails, they are refused nothing.
                    sleep(Duration::from_millis(300)).await;
                    service.proxy.fail(fault);
                    other.runs.release();
                    assert_eq!(running.await.unwrap().body, "1", "{fault:?}");
                    // Several polls fail.
                    sleep(Duration::from_millis(1_500)).await;
                    assert!(waiters.iter().all(|it| !it.is_finished()), "{fault:?}");

                    service.proxy.repair();
                    for waiter in waiters {
                        let answer = timeout(PATIENCE, waiter).await.expect("an answer").unwrap();
                        // One may have claimed when the wire failed.
                        let answer = match answer.status.as_u16() {
                            503 => service.settle(&router, "/patient", "k").await,
                            _ => answer,
                        };
                        assert_eq!(answer.body, "1", "{fault:?}: {answer:?}");
                        assert!(answer.is_replay(), "{fault:?}");
                    }
                    assert_eq!(records(&url).await, (1, 0), "{fault:?}");
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn those_who_wait_are_refused_when_their_time_is_over() {
                for fault in FAULTS {
                    let (service, url) = service().await;
                    let other = service.in_another_process(past_the_wire(&url).await);
                    let router = router();
                    let running = other.sending(&router, "/hasty", "k");
                    service.runs.arrival().await;
                    let start = Instant::now();
                    let waiters: Vec<_> =
                        (0..5).map(|_| service.sending(&router, "/hasty", "k")).collect();
                    service.proxy.fail(fault);
                    for waiter in waiters {
                        let answer = timeout(PATIENCE, waiter).await.expect("an answer").unwrap();
                        let problem = answer.problem();
                        assert!(
                            ["in-flight", "store-unavailable"].contains(&problem.as_str()),
                            "{fault:?}: {problem}"
                        );
                    }
                    assert!(start.elapsed() < Duration::from_secs(12), "{fault:?}");
                    service.proxy.repair();
                    other.runs.release();
                    assert_eq!(running.await.unwrap().body, "1", "{fault:?}");
                    let retry = service.settle(&router, "/hasty", "k").await;
                    assert!(retry.is_replay() && retry.body == "1", "{fault:?}: {retry:?}");
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
}
