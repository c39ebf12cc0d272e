//! A service that moves from one real store to another one.

#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

#[allow(dead_code, reason = "the tests of the store need more of it")]
#[path = "../../idem-sqlx/tests/sqlite/file.rs"]
mod file;
#[path = "../../idem-testkit/tests/common/mod.rs"]
mod moving;
#[allow(dead_code, reason = "the tests of the store need more of it")]
#[path = "../../idem-sqlx/tests/postgres/database.rs"]
mod postgres;
#[allow(dead_code, reason = "the tests of the store need more of it")]
#[path = "../../idem-redis/tests/redis/database.rs"]
mod redis;
mod rolling;
mod service;

mod conformance_from_sqlite_to_postgres {
    use crate::{file::File, moving::Moving, postgres::Database};

    idem_testkit::conformance!(Moving::of(File::fresh().await, Database::fresh().await));
}

mod conformance_from_redis_to_postgres {
    use crate::{moving::Moving, postgres, redis};

    idem_testkit::conformance!(Moving::of(
        redis::Database::on_server(),
        postgres::Database::fresh().await
    ));
}

mod conformance_from_postgres_to_redis {
    use crate::{moving::Moving, postgres, redis};

    idem_testkit::conformance!(Moving::of(
        postgres::Database::fresh().await,
        redis::Database::on_server()
    ));
}
