//! `RedisStore` against real servers and clusters.

#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

mod cache;
mod cluster;
mod damage;
mod database;
mod expiry;
mod faults;
mod fences;
mod listening;
mod replicas;
mod requests;
mod setup;
mod waiting;

mod conformance {
    idem_testkit::conformance!(crate::database::Database::on_server());
    idem_testkit::announcements!(crate::database::Database::on_server());
}

mod conformance_on_a_cluster {
    idem_testkit::conformance!(crate::database::Database::on_cluster());
    idem_testkit::announcements!(crate::database::Database::on_cluster());
}

mod conformance_with_replicas {
    idem_testkit::conformance!(crate::database::Database::with_replicas());
    idem_testkit::announcements!(crate::database::Database::with_replicas());
}
