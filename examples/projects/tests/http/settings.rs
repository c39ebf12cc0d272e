//! The environment, and what is said of values that make no sense.

use crate::app::{Database, Projects, setup};

#[tokio::test]
async fn without_any_setting_it_keeps_a_sqlite_file_and_says_how_to_create_a_project() {
    let setup = setup(Database::Sqlite);
    let app = setup.start();
    assert!(setup.has_file("projects.db"));
    for said in ["http://127.0.0.1:", "projects.db", "cache: none", "curl ", "name"] {
        assert!(app.greeting().contains(said), "{}", app.greeting());
    }
    app.has_logged("REDIS_URL is not set").await;
    app.has_cache("none").await;
}

#[test]
fn a_setting_that_makes_no_sense_is_named_and_nothing_runs() {
    for (name, value, said) in [
        ("ADDR", "nowhere", "ADDR"),
        ("HANDLER_DELAY_MS", "slow", "HANDLER_DELAY_MS"),
        ("DATABASE_URL", "mysql://localhost/app", "DATABASE_URL"),
        ("DATABASE_URL", "postgres://127.0.0.1:1/none", "Connection refused"),
    ] {
        let (status, log) = setup(Database::Sqlite).variable(name, value).run_to_end();
        assert_eq!(status.code(), Some(1), "{name}={value}");
        assert!(log.contains(said), "{name}={value}:\n{log}");
    }
}
