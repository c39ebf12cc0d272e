//! How long a claim holds, and who takes over.

use idem_core::{Claim, Claimed, State, Written};

use super::subject::{
    LEASE, MARGIN, Situation, Subject, TTL, claim, id, just_after, just_before, won,
};

/// An execution whose process died is followed by another one, when its lease has run out and not
/// before.
pub async fn a_lapsed_lease_is_taken_over_and_not_before(s: Subject) {
    let first = claim(&id("k"), "a");
    let (fence, _) = won(s.claim(&first).await);
    s.elapse(just_before(LEASE)).await;
    assert_eq!(s.claim(&claim(&first.owner.id, "a")).await, Claimed::InFlight);
    s.elapse(MARGIN * 2).await;
    assert_eq!(s.state(&first.owner.id).await, Some(State::InFlight));
    let second = claim(&first.owner.id, "a");
    let (higher, number) = won(s.claim(&second).await);
    assert!(higher > fence, "the fence grows");
    assert_eq!(number, 2);
    let record = s.get(&first.owner.id).await.expect("a record");
    assert_eq!(record.attempt, second.owner.attempt);
    assert_eq!((record.fence, record.number), (higher, 2));
}

/// The one that takes over holds the record as long as the first one did.
pub async fn a_takeover_starts_a_lease_and_a_ttl_of_its_own(s: Subject) {
    let first = s.bring_about(Situation::Lapsed, "k").await;
    let second = claim(&first.owner.id, "request");
    won(s.claim(&second).await);
    s.elapse(just_before(LEASE)).await;
    assert_eq!(s.claim(&claim(&first.owner.id, "request")).await, Claimed::InFlight);
    s.elapse(TTL.saturating_sub(LEASE)).await;
    assert_eq!(s.claim(&claim(&first.owner.id, "other")).await, Claimed::Mismatch);
    s.elapse(MARGIN * 2).await;
    assert_eq!(s.get(&first.owner.id).await, None);
}

/// Another request must not take over what this one left behind.
pub async fn only_the_same_request_takes_over(s: Subject) {
    let first = s.bring_about(Situation::Lapsed, "k").await;
    assert_eq!(s.claim(&claim(&first.owner.id, "other")).await, Claimed::Mismatch);
    won(s.claim(&claim(&first.owner.id, "request")).await);
}

/// Once nobody has renewed it and its ttl has passed, an abandoned claim does not block its key.
pub async fn an_abandoned_and_expired_claim_frees_its_key(s: Subject) {
    let first = s.bring_about(Situation::Running, "k").await;
    s.elapse(just_after(TTL)).await;
    assert_eq!(s.get(&first.owner.id).await, None);
    let (_, number) = won(s.claim(&claim(&first.owner.id, "other")).await);
    assert_eq!(number, 1);
}

/// A lease that is longer than the ttl protects its execution to the end.
pub async fn a_record_does_not_expire_under_its_lease(s: Subject) {
    let first = Claim { ttl: MARGIN, ..claim(&id("k"), "a") };
    won(s.claim(&first).await);
    s.elapse(just_before(LEASE)).await;
    assert_eq!(s.claim(&claim(&first.owner.id, "a")).await, Claimed::InFlight);
    assert_eq!(s.claim(&claim(&first.owner.id, "other")).await, Claimed::Mismatch);
    assert_eq!(s.sweep(10).await, 0);
    s.elapse(MARGIN * 2).await;
    assert_eq!(won(s.claim(&claim(&first.owner.id, "other")).await).1, 1);
}

/// A heartbeat keeps others out.
pub async fn a_renewal_extends_the_lease(s: Subject) {
    let first = s.bring_about(Situation::Running, "k").await;
    s.elapse(just_before(LEASE)).await;
    assert_eq!(s.renew(&first.owner).await, Written::Accepted);
    s.elapse(just_before(LEASE)).await;
    assert_eq!(s.claim(&claim(&first.owner.id, "request")).await, Claimed::InFlight);
    s.elapse(MARGIN * 2).await;
    won(s.claim(&claim(&first.owner.id, "request")).await);
}

/// A renewal sets the end of the lease, also to an earlier time.
pub async fn a_renewal_counts_from_now(s: Subject) {
    let first = s.bring_about(Situation::Running, "k").await;
    let renewed = s.store.renew(&first.owner, MARGIN * 3).await.expect("renew");
    assert_eq!(renewed, Written::Accepted);
    s.elapse(MARGIN).await;
    assert_eq!(s.claim(&claim(&first.owner.id, "request")).await, Claimed::InFlight);
    s.elapse(MARGIN * 3).await;
    won(s.claim(&claim(&first.owner.id, "request")).await);
}

/// An execution that takes longer than its ttl keeps its record.
pub async fn a_renewed_record_outlives_its_ttl(s: Subject) {
    let first = Claim { ttl: LEASE, ..claim(&id("k"), "a") };
    won(s.claim(&first).await);
    for _ in 0..5 {
        s.elapse(just_before(LEASE)).await;
        assert_eq!(s.renew(&first.owner).await, Written::Accepted);
    }
    s.elapse(just_before(LEASE)).await;
    assert_eq!(s.sweep(10).await, 0);
    assert_eq!(s.state(&first.owner.id).await, Some(State::InFlight));
    assert_eq!(s.claim(&claim(&first.owner.id, "a")).await, Claimed::InFlight);
    assert_eq!(s.claim(&claim(&first.owner.id, "other")).await, Claimed::Mismatch);
    s.elapse(MARGIN * 2).await;
    assert_eq!(s.get(&first.owner.id).await, None);
}

/// A renewal never takes visible time away from a record.
pub async fn a_renewal_keeps_a_longer_ttl(s: Subject) {
    let first = s.bring_about(Situation::Running, "k").await;
    assert_eq!(s.renew(&first.owner).await, Written::Accepted);
    s.elapse(just_before(TTL)).await;
    assert_eq!(s.claim(&claim(&first.owner.id, "other")).await, Claimed::Mismatch);
    s.elapse(MARGIN * 2).await;
    assert_eq!(s.get(&first.owner.id).await, None);
}

/// A process that was only slow goes on, as long as nobody took over.
pub async fn a_lapsed_lease_can_be_renewed(s: Subject) {
    let first = s.bring_about(Situation::Lapsed, "k").await;
    assert_eq!(s.renew(&first.owner).await, Written::Accepted);
    assert_eq!(s.claim(&claim(&first.owner.id, "request")).await, Claimed::InFlight);
    assert_eq!(s.complete(&first.owner, "late").await, Written::Accepted);
}
