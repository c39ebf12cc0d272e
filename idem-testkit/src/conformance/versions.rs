//! A record of another format version is refused, never guessed at.

use idem_core::{RECORD_VERSION, RecordId, StoreError, Written};

use super::subject::{MARGIN, Situation, Subject, TTL, Write, claim, just_after};

const UNKNOWN: [i16; 3] = [0, RECORD_VERSION + 1, i16::MAX];

async fn assert_refused(s: &Subject, id: &RecordId, version: i16, when: &str) {
    for request in ["request", "another request"] {
        match s.store.claim(&claim(id, request)).await {
            Err(StoreError::UnknownVersion(found)) => assert_eq!(found, version),
            other => panic!("claim of version {version}, {when}: {other:?}"),
        }
    }
    match s.store.get(id).await {
        Err(StoreError::UnknownVersion(found)) => assert_eq!(found, version),
        other => panic!("get of version {version}, {when}: {other:?}"),
    }
}

/// Neither claims nor reads guess what another version meant, whatever state it seems to be in.
pub async fn an_unknown_version_is_refused(s: Subject) {
    for situation in Situation::ALL {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        let id = &first.owner.id;
        let before = s.get(id).await;
        for version in UNKNOWN {
            s.harness.set_version(id, version).await;
            assert_refused(&s, id, version, &format!("{situation:?}")).await;
            let own = s.store.claim(&first).await;
            assert!(matches!(own, Err(StoreError::UnknownVersion(_))), "{situation:?}: {own:?}");
        }
        s.harness.set_version(id, RECORD_VERSION).await;
        assert_eq!(s.get(id).await, before, "{situation:?}");
    }
}

/// Its expiry is not ours to judge either.
pub async fn an_unknown_version_is_never_swept_nor_taken_over(s: Subject) {
    let situations =
        [Situation::Running, Situation::Completed, Situation::Failed, Situation::Lapsed];
    for situation in situations {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        s.harness.set_version(&first.owner.id, RECORD_VERSION + 1).await;
        s.elapse(just_after(TTL)).await;
        assert_eq!(s.sweep(10).await, 0, "{situation:?}");
        let when = format!("{situation:?} and expired");
        assert_refused(&s, &first.owner.id, RECORD_VERSION + 1, &when).await;
    }
    assert_eq!(s.sweep(10).await, 0);
}

/// A server that is too old does not write into what a newer one has taken up.
pub async fn an_owner_does_not_write_an_unknown_version(s: Subject) {
    let first = s.bring_about(Situation::Running, "k").await;
    let before = s.get(&first.owner.id).await;
    for version in UNKNOWN {
        for write in Write::ALL {
            s.harness.set_version(&first.owner.id, version).await;
            match s.write(write, &first.owner).await {
                Ok(Written::Stale) | Err(StoreError::UnknownVersion(_)) => {}
                other => panic!("{write:?} of version {version}: {other:?}"),
            }
            s.harness.set_version(&first.owner.id, RECORD_VERSION).await;
            assert_eq!(s.get(&first.owner.id).await, before, "{write:?} of version {version}");
        }
    }
}

/// One strange record does not stop the sweeper from reaching the others.
pub async fn an_unknown_version_does_not_block_sweeps(s: Subject) {
    for i in 0..3 {
        let first = s.bring_about(Situation::Completed, &format!("strange {i}")).await;
        s.harness.set_version(&first.owner.id, RECORD_VERSION + 1).await;
    }
    s.elapse(MARGIN).await;
    for i in 0..3 {
        s.bring_about(Situation::Completed, &format!("known {i}")).await;
    }
    s.elapse(just_after(TTL)).await;
    for expected in [1, 1, 1, 0] {
        assert_eq!(s.sweep(1).await, expected);
    }
}
