//! The environment, and what is said of values that make no sense.

use crate::app::{Database, setup};

#[tokio::test]
async fn without_any_setting_it_keeps_a_sqlite_file_and_says_how_to_pay() {
    let setup = setup(Database::Sqlite);
    let app = setup.start();
    assert!(setup.has_file("payments.db"));
    for said in ["http://127.0.0.1:", "payments.db", "curl ", "Idempotency-Key: "] {
        assert!(app.greeting().contains(said), "{}", app.greeting());
    }
}

#[tokio::test]
async fn the_greeting_does_not_tell_the_password() {
    let url = idem_testkit::PostgresServer::shared().fresh_database();
    let url = url.replacen("postgres@", "postgres:hunter2@", 1);
    assert!(url.contains("hunter2"));
    let app = setup(Database::Sqlite).variable("DATABASE_URL", url).start();
    assert!(app.greeting().contains("Postgres") && !app.greeting().contains("hunter2"));
}

#[test]
fn a_setting_that_makes_no_sense_is_named_and_nothing_runs() {
    for (name, value, said) in [
        ("ADDR", "nowhere", "ADDR"),
        ("LEASE", "soon", "LEASE"),
        ("LEASE", "0s", "lease"),
        ("PROVIDER_DELAY_MS", "fast", "PROVIDER_DELAY_MS"),
        ("DATABASE_URL", "mysql://localhost/app", "DATABASE_URL"),
        ("DATABASE_URL", "sqlite:/does/not/exist/x.db", "/does/not/exist/x.db"),
        ("DATABASE_URL", "sqlite::memory:", "memory"),
        ("DATABASE_URL", "postgres://127.0.0.1:1/none", "Connection refused"),
    ] {
        let (status, log) = setup(Database::Sqlite).variable(name, value).run_to_end();
        assert_eq!(status.code(), Some(1), "{name}={value}");
        assert!(log.contains(said), "{name}={value}:\n{log}");
    }
}
