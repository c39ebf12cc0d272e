//! What operators measure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use axum::body::{Body, Bytes};
use tokio::{runtime::Builder, time::sleep};

use crate::{
    cached,
    documentation::{OBSERVABILITY, rows},
    events::{call, neighbour, server},
    meters::{Meters, Metric, measured},
    support::{Fault, Server, post},
};

const SECOND: Duration = Duration::from_secs(1);
const IN_FLIGHT: &str = "idem_executions_in_flight{operation=POST /}";

/// What only a transaction can come to.
const OF_TRANSACTIONS: [&str; 5] = [
    "commit_unknown",
    "not_committed",
    "transaction_conflict",
    "transaction_ended",
    "transaction_escaped",
];

fn measure<F: Future>(test: impl FnOnce(Meters) -> F) -> F::Output {
    measured(Builder::new_current_thread().start_paused(true), test)
}

/// Brings about everything that is measured.
async fn everything(server: &Server) {
    server.idem.spawn_sweeper(3600 * SECOND);
    let other = neighbour(server);
    // executed, not_final, replayed, in_flight, mismatch, response_not_kept
    let first = tokio::spawn(server.send(call("/").body("fail")));
    sleep(SECOND).await;
    server.send(call("/").body("fail")).await;
    server.send(call("/").body("other")).await;
    first.await.unwrap();
    for path in ["/", "/", "/", "/large", "/large"] {
        let body = if path == "/" { "fail" } else { "" };
        server.send(call(path).body(body)).await;
    }
    // taken_over, superseded
    server.store.fault("renew", Fault::Refused);
    let cut_off = tokio::spawn(server.send(call("/slow")));
    sleep(10 * SECOND).await;
    other.send(call("/slow")).await;
    cut_off.await.unwrap();
    server.store.repair();
    // handler_panicked, held
    server.send(call("/hold")).await;
    server.send(call("/hold")).await;
    // store_unavailable, bypassed
    server.store.fault("claim", Fault::Refused);
    server.send(post("/").key("other")).await;
    server.send(call("/lenient")).await;
    server.store.repair();
    // What never gets as far as a claim.
    let broken = futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
    server.send(post("/")).await;
    server.send(post("/").key("")).await;
    server.send(post("/lenient")).await;
    server.send(call("/lenient").body("too large")).await;
    server.send(call("/lenient").body(Body::from_stream(broken))).await;
    server.send(call("/nowhere")).await;
    server.send(call("/unwritable")).await;
    cached::everything().await;
    // A wait, and a sweep.
    tokio::join!(server.send(call("/wait")), server.send(call("/wait")));
    server.store.memory.advance(Duration::from_hours(48));
    sleep(3601 * SECOND).await;
}

#[test]
fn each_request_counts_once_by_what_became_of_it() {
    let outcomes = measure(async |mut meters: Meters| {
        everything(&server()).await;
        let mut outcomes = BTreeMap::<_, i64>::new();
        for (labels, count) in meters.sums("idem_requests_total") {
            let outcome = labels.split("outcome=").nth(1).unwrap().trim_end_matches('}');
            *outcomes.entry(outcome.to_owned()).or_default() += count;
        }
        let of_one = "idem_requests_total{operation=POST /,outcome=replayed}";
        assert_eq!(meters.sum(of_one), 2);
        outcomes
    });
    let expected = [
        ("body_too_large", 1),
        ("body_unreadable", 1),
        ("bypassed", 1),
        ("executed", 4),
        ("fingerprint_failed", 1),
        ("handler_panicked", 1),
        ("held", 1),
        ("in_flight", 1),
        ("key_invalid", 1),
        ("key_missing", 1),
        ("mismatch", 1),
        ("not_final", 1),
        ("operation_unknown", 1),
        ("replayed", 3),
        ("response_not_kept", 1),
        ("store_unavailable", 1),
        ("superseded", 1),
        ("taken_over", 1),
        ("unguarded", 1),
    ];
    let expected = expected.map(|(outcome, count)| (outcome.to_owned(), count));
    assert_eq!(outcomes, BTreeMap::from(expected));
    let documented = rows(OBSERVABILITY, "outcome").into_iter().map(|row| row[0].clone());
    let emitted = outcomes.into_keys().chain(OF_TRANSACTIONS.map(str::to_owned));
    assert_eq!(documented.collect::<BTreeSet<_>>(), emitted.collect());
}

#[test]
fn the_documentation_names_exactly_the_metrics_that_there_are() {
    let (metrics, calls) = measure(async |mut meters: Meters| {
        everything(&server()).await;
        (meters.metrics(), meters.labels("idem_store_duration_seconds{call="))
    });
    assert!(calls.len() > 5, "{calls:?}");
    for call in calls {
        let call = call.trim_end_matches('}');
        assert!(OBSERVABILITY.contains(&format!("`{call}`")), "{call} is not documented");
    }
    let documented = rows(OBSERVABILITY, "metric").into_iter().map(|row| {
        let [name, kind, labels, unit, meaning] = row.try_into().unwrap();
        let labels = labels.split(", ").filter(|it| !it.is_empty()).map(str::to_owned).collect();
        (name, (kind, labels, unit, meaning))
    });
    let emitted = metrics.into_iter().map(|(name, metric)| {
        let Metric { kind, labels, unit, description } = metric;
        (name, (kind.to_owned(), labels, unit.unwrap_or_default().to_owned(), description))
    });
    let documented: BTreeMap<_, (_, Vec<_>, _, String)> = documented.collect();
    let emitted: BTreeMap<_, (_, Vec<_>, _, String)> = emitted.collect();
    assert_eq!(documented.keys().collect::<Vec<_>>(), emitted.keys().collect::<Vec<_>>(), "names");
    for (name, (kind, labels, unit, meaning)) in documented {
        let (really, real_labels, real_unit, description) = &emitted[&name];
        assert_eq!((&kind, &labels, &unit), (really, real_labels, real_unit), "{name}");
        let description = description.to_lowercase();
        assert!(meaning.starts_with(&description), "{name}: {meaning:?} and {description:?}");
    }
    for word in OBSERVABILITY.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        let is_metric = word.starts_with("idem_") && !["idem_core", "idem_sqlx"].contains(&word);
        assert!(!is_metric || emitted.contains_key(word), "{word} is no metric");
    }
}

#[test]
fn what_a_cache_is_good_for_is_counted() {
    let mut meters = measure(async |mut meters: Meters| {
        let store = cached::everything().await;
        let reads = [("error", 3), ("hit", 1), ("miss", 4), ("skipped", 2)];
        let writes = [("error", 1), ("kept", 1), ("skipped", 1)];
        for (metric, expected) in
            [("idem_cache_reads_total", &reads[..]), ("idem_cache_writes_total", &writes)]
        {
            let labelled = |(result, count): &(&str, i64)| (format!("{{result={result}}}"), *count);
            assert_eq!(meters.sums(metric), expected.iter().map(labelled).collect(), "{metric}");
        }
        assert_eq!(meters.sum("idem_cache_down{}"), 1);
        drop(store);
        meters
    });
    assert_eq!(meters.sum("idem_cache_down{}"), 0, "who is gone is not down");
}

#[test]
fn an_execution_is_in_flight_until_it_is_recorded_however_it_ends() {
    measure(async |mut meters: Meters| {
        let server = server();
        // Two executions and a duplicate.
        let first = tokio::spawn(server.send(call("/")));
        let second = tokio::spawn(server.send(call("/").user("secret-bob")));
        sleep(SECOND).await;
        server.send(call("/")).await;
        assert_eq!(meters.sum(IN_FLIGHT), 2);
        // A client that leaves stops nothing.
        first.abort();
        sleep(SECOND).await;
        assert_eq!(meters.sum(IN_FLIGHT), 2);
        second.await.unwrap();
        assert_eq!(meters.sum(IN_FLIGHT), 0);
        assert!(server.send(call("/")).await.is_replay());

        server.send(call("/hold")).await;
        assert_eq!(
            meters.sums("idem_executions_in_flight{operation=held}"),
            [(String::new(), 0)].into()
        );

        server.store.fault("complete", Fault::Refused);
        server.send(post("/").key("late")).await;
        assert_eq!(meters.sum(IN_FLIGHT), 1);
        server.store.repair();
        sleep(10 * SECOND).await;
        assert_eq!(meters.sum(IN_FLIGHT), 0);
    });
}

#[test]
fn an_execution_that_is_dropped_with_its_runtime_is_not_in_flight() {
    let mut meters = measure(async |mut meters: Meters| {
        tokio::spawn(server().send(call("/")));
        sleep(SECOND).await;
        assert_eq!(meters.sum(IN_FLIGHT), 1);
        meters
    });
    assert_eq!(meters.sum(IN_FLIGHT), 0);
}

#[test]
fn the_store_is_timed_and_its_errors_are_counted() {
    measure(async |mut meters: Meters| {
        let server = server();
        server.store.fault("claim", Fault::AnswerLate(2 * SECOND));
        server.send(call("/")).await;
        assert_eq!(meters.values("idem_store_duration_seconds{call=claim}"), [2.0]);
        assert_eq!(meters.values("idem_store_duration_seconds{call=complete}"), [0.0]);
        assert!(meters.sums("idem_store_errors_total").is_empty());
        for (fault, kind) in [
            (Fault::Refused, "unavailable"),
            (Fault::Swallowed, "timeout"),
            (Fault::Damaged, "damaged"),
        ] {
            server.store.fault("claim", fault);
            server.send(post("/").key("other")).await;
            let errors = format!("idem_store_errors_total{{call=claim,kind={kind}}}");
            assert_eq!(meters.sum(&errors), 1, "{kind}");
        }
        assert_eq!(meters.values("idem_store_duration_seconds{call=claim}"), [2.0, 0.0, 5.0, 0.0]);
    });
}

#[test]
fn waiting_is_timed() {
    measure(async |mut meters: Meters| {
        let server = server();
        let first = tokio::spawn(server.send(call("/wait")));
        sleep(SECOND).await;
        server.send(call("/wait")).await;
        first.await.unwrap();
        assert_eq!(meters.values("idem_wait_duration_seconds{operation=POST /wait}"), [4.0]);
    });
}

#[test]
fn swept_records_and_sweeps_that_fail_are_counted() {
    measure(async |mut meters: Meters| {
        let server = server();
        for user in ["ann", "bob", "cem"] {
            server.send(call("/large").user(user)).await;
        }
        server.idem.spawn_sweeper(60 * SECOND);
        server.store.memory.advance(Duration::from_hours(25));
        server.store.fault("sweep", Fault::Refused);
        sleep(61 * SECOND).await;
        assert_eq!(meters.sum("idem_swept_records_total{}"), 0);
        let failed = "idem_store_errors_total{call=sweep,kind=unavailable}";
        assert_eq!(meters.sum(failed), 1);
        server.store.repair();
        sleep(60 * SECOND).await;
        assert_eq!(meters.sum("idem_swept_records_total{}"), 3);
    });
}
