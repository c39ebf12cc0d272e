//! Many requests at once while the store hangs.

use std::time::Duration;

use axum::{Router, extract::State, routing::post};
use futures_util::future::join_all;
use idem::idempotent;
use tokio::time::Instant;

use crate::support::{Answer, FAULTS, Runs, STORE_TIMEOUT, Service};

const CROWD: usize = 200;

/// What a request takes at most; the rest is for a busy machine. One after the other, or as many at
/// once as there are connections, they would take longer.
const AT_MOST: Duration = STORE_TIMEOUT.saturating_mul(6);

#[idempotent(scope = "global", lease = "1h")]
async fn quick(State(runs): State<Runs>) -> String {
    runs.count().to_string()
}

#[idempotent(scope = "global", lease = "1h", on_conflict = "wait", wait = "1s")]
async fn waits(State(runs): State<Runs>) -> String {
    runs.count().to_string()
}

fn router<D: 'static>() -> Router<Service<D>> {
    Router::new().route("/quick", post(quick)).route("/waits", post(waits))
}

async fn crowd<D: 'static>(
    service: &Service<D>,
    router: &Router<Service<D>>,
    path: &'static str,
    key: impl Fn(usize) -> String,
) -> Vec<Answer> {
    let sent: Vec<_> = (0..CROWD).map(|it| service.sending(router, path, &key(it))).collect();
    join_all(sent).await.into_iter().map(Result::unwrap).collect()
}

macro_rules! on_each_store {
    ($($store:ident: $($path:ident)::+;)*) => {$(
        mod $store {
            use super::*;
            use crate::$($path)::+::{records, service};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn each_of_a_crowd_is_answered_in_time() {
                for fault in FAULTS {
                    let (service, url) = service().await;
                    let router = router();
                    crowd(&service, &router, "/quick", |it| format!("before {it}")).await;
                    assert_eq!(service.runs.so_far(), 200);
                    for path in ["/quick", "/waits"] {
                        service.proxy.fail(fault);
                        let start = Instant::now();
                        for answer in crowd(&service, &router, path, |it| format!("{path} {it}")).await {
                            assert_eq!(answer.problem(), "store-unavailable", "{fault:?} {path}");
                        }
                        let took = start.elapsed();
                        assert!(took < AT_MOST, "{fault:?} {path}: {took:?}");
                        let start = Instant::now();
                        for answer in crowd(&service, &router, path, |_| format!("{path} one")).await {
                            assert_eq!(answer.problem(), "store-unavailable", "{fault:?} {path}");
                        }
                        let took = start.elapsed();
                        assert!(took < AT_MOST, "{fault:?} {path}, one key: {took:?}");
                        let start = Instant::now();
                        assert!(service.idem.health().await.is_err(), "{fault:?} {path}");
                        let took = start.elapsed();
                        assert!(took < AT_MOST, "{fault:?} {path}, health: {took:?}");
                        service.proxy.repair();
                    }
                    assert_eq!(service.runs.so_far(), 200, "{fault:?}: some ran unguarded");

                    for path in ["/quick", "/waits"] {
                        for number in 0..20 {
                            let key = format!("{path} {number}");
                            let answer = service.settle(&router, path, &key).await;
                            assert_eq!(answer.status, 200, "{fault:?}: {answer:?}");
                        }
                    }
                    assert_eq!(service.runs.so_far(), 240, "{fault:?}");
                    let (completed, _) = records(&url).await;
                    assert_eq!(completed, 240, "{fault:?}");
                }
            }
        }
    )*};
}

on_each_store! {
    postgres: support::postgres;
    redis: support::redis;
    cluster: cluster;
}
