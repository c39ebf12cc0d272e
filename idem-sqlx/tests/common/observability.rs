//! The SQL of `docs/observability.md`, and records for it to find.

use std::time::Duration;

use idem_core::{Claim, Recover, Store, Written};
use idem_testkit::Harness;

use super::{TTL, claim, id, is_won, response};

const PAGE: &str = include_str!("../../../docs/observability.md");

/// The statement of a section whose comment begins so, for the record of this key.
pub(crate) fn statement(section: &str, comment: &str, key: &str) -> String {
    let section = PAGE.split("\n### ").find(|it| it.starts_with(section)).unwrap();
    let sql = section.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    let comment = format!("-- {comment}");
    let found = sql.split(";\n").map(str::trim).find(|it| it.starts_with(&comment));
    found.unwrap_or_else(|| panic!("no {comment}")).replace("1f0c9a3e", &key_hash(key))
}

/// How many statements a section has.
pub(crate) fn statements(section: &str) -> usize {
    let section = PAGE.split("\n### ").find(|it| it.starts_with(section)).unwrap();
    section.matches("\n-- ").count()
}

/// As events show it.
fn key_hash(key: &str) -> String {
    id(key).digest()[..4].iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Brings records into all kinds of situations.
pub(crate) async fn bring_about(store: &impl Store, harness: &impl Harness) {
    let minutes = Duration::from_mins;
    let claimed = async |claim: Claim| {
        assert!(is_won(&store.claim(&claim).await.unwrap()));
        claim.owner
    };
    let paid = claimed(claim("paid")).await;
    assert_eq!(store.complete(&paid, &response("paid"), TTL).await.unwrap(), Written::Accepted);
    let gone = claimed(claim("gone")).await;
    assert_eq!(store.fail(&gone, minutes(1)).await.unwrap(), Written::Accepted);
    claimed(Claim { recover: Recover::Hold, ..claim("held") }).await;
    claimed(Claim { lease: minutes(60), ..claim("slow") }).await;
    claimed(claim("cut off")).await;
    harness.elapse(minutes(10)).await;
    claimed(claim("cut off")).await;
    claimed(claim("young")).await;
}
