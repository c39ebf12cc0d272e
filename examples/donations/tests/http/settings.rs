//! The environment, and what is said of values that make no sense.

use crate::app::setup;

#[tokio::test]
async fn without_any_setting_it_keeps_a_sqlite_file_and_says_how_to_give() {
    let setup = setup();
    let app = setup.start();
    assert!(setup.has_file("donations.db"));
    for said in ["http://127.0.0.1:", "donations.db", "curl ", "Idempotency-Key: "] {
        assert!(app.greeting().contains(said), "{}", app.greeting());
    }
}

#[test]
fn a_setting_that_makes_no_sense_is_named_and_nothing_runs() {
    for (name, value, said) in [
        ("ADDR", "nowhere", "ADDR"),
        ("TTL", "soon", "TTL"),
        ("TTL", "0s", "ttl"),
        ("HANDLER_DELAY_MS", "fast", "HANDLER_DELAY_MS"),
        ("DATABASE_URL", "postgres://localhost/app", "DATABASE_URL must begin with sqlite:"),
        ("DATABASE_URL", "mysql://localhost/app", "DATABASE_URL must begin with sqlite:"),
        ("DATABASE_URL", "", "DATABASE_URL must begin with sqlite:"),
        ("DATABASE_URL", "sqlite:/does/not/exist/x.db", "/does/not/exist/x.db"),
        ("DATABASE_URL", "sqlite::memory:", "memory"),
    ] {
        let (status, log) = setup().variable(name, value).run_to_end();
        assert_eq!(status.code(), Some(1), "{name}={value}");
        assert!(log.contains(said), "{name}={value}:\n{log}");
    }
}
