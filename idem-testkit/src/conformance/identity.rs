//! Operations, scopes and keys never collide.

use std::collections::HashSet;

use idem_core::{Claimed, RecordId, ScopeValue, Written};
use proptest::{
    collection::{hash_set, vec},
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tokio::{runtime::Handle, task::spawn_blocking};

use super::subject::{Subject, claim, record_id, won};

type Parts = (String, Scope, String);

/// What a scope is made of, so that different values are different scopes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Global,
    Text(String),
    Pair(String, String),
    Number(i64),
}

impl Scope {
    fn value(&self) -> ScopeValue {
        match self {
            Self::Global => ScopeValue::global(),
            Self::Text(text) => ScopeValue::of(text),
            Self::Pair(a, b) => ScopeValue::of(&(a, b)),
            Self::Number(number) => ScopeValue::of(number),
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ab]{0,2}",
        4 => "[\\x00-\\x1f'\"\\\\%_;:,(){}\\[\\]$ /-]{0,6}",
        2 => vec(any::<char>(), 0..20).prop_map(String::from_iter),
        1 => "[a-c]{2000,4000}",
    ]
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        1 => Just(Scope::Global),
        4 => text().prop_map(Scope::Text),
        4 => (text(), text()).prop_map(|(a, b)| Scope::Pair(a, b)),
        1 => (-2..2_i64).prop_map(Scope::Number),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{1,2}", "[ !#-~][ -~]{0,20}", "[a-c]{255}"]
}

fn combinations(
    operations: &HashSet<String>,
    scopes: &HashSet<Scope>,
    keys: &HashSet<String>,
) -> Vec<Parts> {
    let mut ids = Vec::new();
    for operation in operations {
        for scope in scopes {
            ids.extend(keys.iter().map(|key| (operation.clone(), scope.clone(), key.clone())));
        }
    }
    ids
}

/// Claims each id for a request of its own, and finds each record as it was left. Two ids that
/// shared a record would meet as a mismatch.
async fn assert_records_of_their_own(s: &Subject, ids: &[Parts]) {
    let ids: Vec<RecordId> =
        ids.iter().map(|(op, scope, key)| record_id(op, &scope.value(), key)).collect();
    let mut claims = Vec::new();
    for (i, id) in ids.iter().enumerate() {
        let claim = claim(id, &format!("request {i}"));
        assert_eq!(won(s.claim(&claim).await).1, 1);
        claims.push(claim);
    }
    for (i, claim) in claims.iter().enumerate() {
        let record = s.get(&claim.owner.id).await.expect("a record");
        assert_eq!(record.attempt, claim.owner.attempt);
        assert_eq!(record.fingerprint, claim.fingerprint);
        if i % 2 == 0 {
            assert_eq!(s.complete(&claim.owner, &format!("{i}")).await, Written::Accepted);
        } else {
            assert_eq!(s.release(&claim.owner).await, Written::Accepted);
        }
    }
    for (i, claim) in claims.iter().enumerate() {
        let record = s.get(&claim.owner.id).await;
        let body = record.and_then(|record| record.response).and_then(|response| response.body);
        let expected = (i % 2 == 0).then(|| format!("{i}").into());
        assert_eq!(body, expected);
        s.harness.delete(&claim.owner.id).await;
    }
}

/// Whatever the parts of an id hold, a different part is a different record.
pub async fn arbitrary_ids_have_records_of_their_own(s: Subject) {
    // All combinations of a few parts, so that no part can be ignored.
    let ids = (hash_set(text(), 1..4), hash_set(scope(), 1..5), hash_set(key(), 1..3));
    // A failed case leaves its records behind, so that every smaller one would fail as well.
    let config =
        Config { cases: 24, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome = spawn_blocking(move || {
        TestRunner::new_with_rng(config, rng).run(&ids, |(operations, scopes, keys)| {
            let ids = combinations(&operations, &scopes, &keys);
            Handle::current().block_on(assert_records_of_their_own(&s, &ids));
            Ok(())
        })
    });
    outcome.await.expect("the runner ends").unwrap_or_else(|failure| panic!("{failure}"));
}

/// The neighbours that encodings without lengths, types or escapes mix up.
pub async fn neighbouring_ids_have_records_of_their_own(s: Subject) {
    let text = |text: &str| Scope::Text(text.to_owned());
    let pair = |a: &str, b: &str| Scope::Pair(a.to_owned(), b.to_owned());
    let long = "x".repeat(100_000);
    let scopes = [
        Scope::Global,
        text("global"),
        text(""),
        text("\0"),
        text("\\0"),
        text("\\u{0}"),
        text("a"),
        text("A"),
        text("a "),
        text("a\0"),
        text("ä"),
        text("a\u{308}"),
        text("'; DROP TABLE idem; --"),
        text("(a, bc)"),
        pair("a", "bc"),
        pair("ab", "c"),
        pair("", "abc"),
        text("1"),
        Scope::Number(1),
        text(&long),
        text(&format!("{long}y")),
    ];
    let operations = ["", "g", "k", "POST /a", "POST /ak"].map(str::to_owned);
    let keys = ["k", "K", "k ", "gk", "kg"].map(str::to_owned);
    let ids = combinations(&operations.into(), &scopes.into(), &keys.into());
    assert_records_of_their_own(&s, &ids).await;
}

/// Nobody learns anything of a record in another scope: not its answer, and not whether it exists.
pub async fn another_scope_sees_nothing(s: Subject) {
    let of = |who: &str| record_id("POST /payments", &ScopeValue::of(who), "k");
    let ann = claim(&of("ann"), "a");
    won(s.claim(&ann).await);
    assert_eq!(s.complete(&ann.owner, "ann's").await, Written::Accepted);
    assert_eq!(s.get(&of("bob")).await, None);
    let bob = claim(&of("bob"), "a");
    assert_eq!(won(s.claim(&bob).await).1, 1);
    assert_eq!(s.release(&bob.owner).await, Written::Accepted);
    assert!(matches!(s.claim(&claim(&of("ann"), "a")).await, Claimed::Completed(_)));
}
