//! Caches in front of durable stores.

#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

mod costs;
#[path = "../../idem-sqlx/tests/postgres/database.rs"]
#[allow(dead_code, reason = "the store's own tests use the rest")]
mod database;
mod entries;
#[path = "../../idem-sqlx/tests/sqlite/file.rs"]
#[allow(dead_code, reason = "the store's own tests use the rest")]
mod file;
mod harness;
#[path = "../common/log.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod log;
mod observed;
mod support;
mod trouble;

mod conformance_of_memory_over_sqlite {
    idem_testkit::conformance!(crate::harness::Tiers::memory_over_sqlite().await);
}

mod conformance_of_redis_over_postgres {
    idem_testkit::conformance!(crate::harness::Tiers::redis_over_postgres().await);
}

mod announcements_of_redis_over_postgres {
    idem_testkit::announcements!(crate::harness::Tiers::redis_over_postgres().await);
}
