//! An engine's own settings.

use std::time::Duration;

use idem::{ConfigError, Idem, MemoryStore};

#[test]
fn a_ttl_below_the_default_lease_shortens_the_lease() {
    let brief = Duration::from_secs(1);
    assert!(Idem::builder(MemoryStore::new()).ttl(brief).build().is_ok());
}

#[test]
fn a_lease_that_was_given_and_is_longer_than_the_ttl_is_refused() {
    let (ttl, lease) = (Duration::from_secs(1), Duration::from_secs(2));
    let refused = Idem::builder(MemoryStore::new()).lease(lease).ttl(ttl).build();
    assert_eq!(refused.unwrap_err(), ConfigError::LeaseOverTtl { lease, ttl });
    let nothing = Idem::builder(MemoryStore::new()).lease(Duration::ZERO).build();
    assert_eq!(nothing.unwrap_err(), ConfigError::TooShort { setting: "lease" });
}
