//! Fences grow with each claim of a record, whatever happened to the record in between.

use idem_core::{Fence, RecordId, Written};

use super::subject::{LEASE, Subject, TTL, claim, id, just_after, won};

async fn claim_anew(s: &Subject, id: &RecordId, last: Option<Fence>) -> Fence {
    let (fence, _) = won(s.claim(&claim(id, "a")).await);
    assert!(Some(fence) > last, "{fence:?} is not above {last:?}");
    fence
}

/// Each takeover has a higher fence than the one that it follows.
pub async fn a_fence_grows_over_takeovers(s: Subject) {
    let id = id("k");
    let mut last = None;
    for _ in 0..3 {
        last = Some(claim_anew(&s, &id, last).await);
        s.elapse(just_after(LEASE)).await;
    }
}

/// The fence outlives the row.
pub async fn a_fence_grows_over_deletions(s: Subject) {
    let id = id("k");
    let mut last = None;
    for _ in 0..3 {
        last = Some(claim_anew(&s, &id, last).await);
        s.harness.delete(&id).await;
    }
}

/// A release takes back the claim and not its fence.
pub async fn a_fence_grows_over_releases(s: Subject) {
    let id = id("k");
    let mut last = None;
    for _ in 0..3 {
        let claim = claim(&id, "a");
        let (fence, _) = won(s.claim(&claim).await);
        assert!(Some(fence) > last, "{fence:?} is not above {last:?}");
        last = Some(fence);
        assert_eq!(s.release(&claim.owner).await, Written::Accepted);
    }
}

/// A key that is used again after its record expired goes on counting.
pub async fn a_fence_grows_over_expiries(s: Subject) {
    let id = id("k");
    let mut last = None;
    for _ in 0..3 {
        last = Some(claim_anew(&s, &id, last).await);
        s.elapse(just_after(TTL)).await;
    }
}

/// And after the record was swept.
pub async fn a_fence_grows_over_sweeps(s: Subject) {
    let id = id("k");
    let mut last = None;
    for _ in 0..3 {
        last = Some(claim_anew(&s, &id, last).await);
        s.elapse(just_after(TTL)).await;
        assert_eq!(s.sweep(10).await, 1);
    }
}

/// And for another server.
pub async fn a_fence_grows_over_servers(s: Subject) {
    let id = id("k");
    let mut last = None;
    for _ in 0..3 {
        last = Some(claim_anew(&s.reopened().await, &id, last).await);
        last = Some(claim_after_deletion(&s, &id, last).await);
        s.harness.delete(&id).await;
    }
}

async fn claim_after_deletion(s: &Subject, id: &RecordId, last: Option<Fence>) -> Fence {
    s.harness.delete(id).await;
    claim_anew(s, id, last).await
}
