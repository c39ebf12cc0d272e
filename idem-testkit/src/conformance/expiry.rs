//! What the ttl ends, and what a sweep may delete.

use std::time::Duration;

use idem_core::{Claim, Claimed, Resolution, State, Written};

use super::subject::{
    LEASE, MARGIN, Situation, Subject, TTL, claim, completed, id, just_after, just_before,
    response, won,
};

/// An answer is replayed until its ttl has passed, counted from the completion; then the key is as
/// good as new.
pub async fn a_completed_record_frees_its_key_after_its_ttl(s: Subject) {
    let first = s.bring_about(Situation::Running, "k").await;
    s.elapse(just_before(LEASE)).await;
    assert_eq!(s.complete(&first.owner, "answer").await, Written::Accepted);
    s.elapse(just_before(TTL)).await;
    assert_eq!(s.claim(&claim(&first.owner.id, "request")).await, completed("answer"));
    assert_eq!(s.claim(&claim(&first.owner.id, "other")).await, Claimed::Mismatch);
    s.elapse(MARGIN * 2).await;
    assert_eq!(s.get(&first.owner.id).await, None);
    assert_eq!(won(s.claim(&claim(&first.owner.id, "other")).await).1, 1);
    assert_eq!(s.get(&first.owner.id).await.and_then(|record| record.response), None);
}

/// A failed attempt is remembered until its own ttl has passed.
pub async fn a_failed_record_frees_its_key_after_its_ttl(s: Subject) {
    let first = s.bring_about(Situation::Running, "k").await;
    s.elapse(just_before(LEASE)).await;
    assert_eq!(s.fail(&first.owner).await, Written::Accepted);
    s.elapse(just_before(TTL)).await;
    assert_eq!(s.claim(&claim(&first.owner.id, "other")).await, Claimed::Mismatch);
    s.elapse(MARGIN * 2).await;
    assert_eq!(s.get(&first.owner.id).await, None);
    assert_eq!(won(s.claim(&claim(&first.owner.id, "other")).await).1, 1);
}

/// An expired key is free whether or not a sweep has come by. There are many, and the youngest come
/// first, so that a store which sweeps a few with each claim cannot hide behind that.
pub async fn expired_keys_need_no_sweep(s: Subject) {
    let mut expired = Vec::new();
    for i in 0..50 {
        for situation in [Situation::Completed, Situation::Failed, Situation::Running] {
            expired.push(s.bring_about(situation, &format!("{situation:?} {i}")).await);
        }
    }
    s.elapse(just_after(TTL)).await;
    for first in expired.iter().rev() {
        assert_eq!(s.get(&first.owner.id).await, None);
        let other = claim(&first.owner.id, "other");
        assert_eq!(won(s.claim(&other).await).1, 1);
        let record = s.get(&first.owner.id).await.expect("a record");
        assert_eq!((record.number, record.response), (1, None));
        assert_eq!(record.fingerprint, other.fingerprint);
    }
}

/// The ttl of an ending replaces the ttl of the claim, also by a shorter one.
pub async fn an_ending_brings_its_own_ttl(s: Subject) {
    let (done, failed) = (claim(&id("done"), "a"), claim(&id("failed"), "a"));
    won(s.claim(&done).await);
    won(s.claim(&failed).await);
    let written = s.store.complete(&done.owner, &response(""), MARGIN).await;
    assert_eq!(written.expect("complete"), Written::Accepted);
    let written = s.store.fail(&failed.owner, MARGIN).await;
    assert_eq!(written.expect("fail"), Written::Accepted);
    s.elapse(MARGIN * 2).await;
    assert_eq!(s.get(&done.owner.id).await, None);
    assert_eq!(s.get(&failed.owner.id).await, None);
    assert_eq!(s.sweep(10).await, 2);
}

/// Whoever keeps an answer elsewhere must know when the record is gone: never later than it is, and not
/// much sooner.
pub async fn only_the_verdict_that_it_is_completed_tells_when_a_record_expires(s: Subject) {
    for situation in Situation::ALL {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        let other = claim(&first.owner.id, "other");
        assert_eq!(s.judge(&other).await.expires_in, None, "{situation:?}");
        let retry = claim(&first.owner.id, "request");
        if situation != Situation::Completed {
            assert_eq!(s.judge(&retry).await.expires_in, None, "{situation:?}");
            continue;
        }
        for passed in [Duration::ZERO, MARGIN, just_before(LEASE)] {
            s.elapse(passed).await;
        }
        let passed = MARGIN + just_before(LEASE);
        let expires_in = s.judge(&retry).await.expires_in.expect("it expires");
        let left = TTL.saturating_sub(passed);
        assert!(
            (just_before(left)..left).contains(&expires_in),
            "{expires_in:?}, and not {left:?}"
        );
    }
    let resolved = s.bring_about(Situation::Held, "resolved").await;
    let resolution = Resolution::Completed { response: response("found out"), ttl: LEASE };
    assert_eq!(s.resolve(&resolved.owner, &resolution).await, Written::Accepted);
    let judged = s.judge(&claim(&resolved.owner.id, "request")).await;
    let expires_in = judged.expires_in.expect("it expires");
    assert!((just_before(LEASE)..LEASE).contains(&expires_in), "{judged:?}");
}

/// What is kept for as long as an engine can ask for is no held record, and outlives all others.
pub async fn the_longest_ttl_is_a_ttl(s: Subject) {
    const CENTURY: Duration = Duration::from_hours(100 * 365 * 24);
    let first = Claim { ttl: CENTURY, ..claim(&id("k"), "request") };
    won(s.claim(&first).await);
    let written = s.store.complete(&first.owner, &response("answer"), CENTURY).await;
    assert_eq!(written.expect("complete"), Written::Accepted);
    s.elapse(just_before(CENTURY)).await;
    assert_eq!(s.sweep(10).await, 0);
    assert_eq!(s.store.held(None, 10).await.expect("held"), []);
    assert_eq!(s.claim(&claim(&first.owner.id, "request")).await, completed("answer"));
    s.elapse(MARGIN * 2).await;
    assert_eq!(s.sweep(10).await, 1);
}

/// A sweep deletes what has expired and nothing that still means something.
pub async fn a_sweep_deletes_only_what_has_expired(s: Subject) {
    let long = TTL * 100;
    let running = Claim { lease: long, ..claim(&id("running"), "a") };
    let lapsed = Claim { ttl: long, ..claim(&id("lapsed"), "a") };
    let kept = claim(&id("kept"), "a");
    for claim in [&running, &lapsed, &kept] {
        won(s.claim(claim).await);
    }
    let written = s.store.complete(&kept.owner, &response("kept"), long).await;
    assert_eq!(written.expect("complete"), Written::Accepted);
    let held = s.bring_about(Situation::Held, "held").await;
    let hold_mode = s.bring_about(Situation::HoldMode, "hold mode").await;
    let expired = [
        s.bring_about(Situation::Completed, "completed").await,
        s.bring_about(Situation::Failed, "failed").await,
        s.bring_about(Situation::Running, "abandoned").await,
    ];
    assert_eq!(s.sweep(100).await, 0);

    s.elapse(just_after(TTL)).await;
    assert_eq!(s.sweep(100).await, 3);
    assert_eq!(s.sweep(100).await, 0);
    for claim in expired {
        assert_eq!(s.get(&claim.owner.id).await, None);
    }
    for (claim, state) in [
        (&running, State::InFlight),
        (&lapsed, State::InFlight),
        (&kept, State::Completed),
        (&held, State::Held),
        (&hold_mode, State::Held),
    ] {
        assert_eq!(s.state(&claim.owner.id).await, Some(state), "{:?}", claim.owner.id.key());
    }
    assert_eq!(s.claim(&claim(&running.owner.id, "a")).await, Claimed::InFlight);
    assert_eq!(s.claim(&claim(&kept.owner.id, "a")).await, completed("kept"));
    assert_eq!(won(s.claim(&claim(&lapsed.owner.id, "a")).await).1, 2);
}

/// A sweep takes as many as it may and leaves the others to the next one.
pub async fn a_sweep_deletes_up_to_its_limit(s: Subject) {
    for i in 0..5 {
        s.bring_about(Situation::Completed, &format!("{i}")).await;
    }
    s.elapse(just_after(TTL)).await;
    for expected in [2, 2, 1, 0] {
        assert_eq!(s.sweep(2).await, expected);
    }
}

/// An execution that is alive is not swept from under its owner.
pub async fn a_late_answer_is_kept_for_its_whole_ttl(s: Subject) {
    let first = Claim { ttl: LEASE, ..claim(&id("k"), "a") };
    won(s.claim(&first).await);
    s.elapse(just_before(LEASE)).await;
    assert_eq!(s.renew(&first.owner).await, Written::Accepted);
    s.elapse(just_before(LEASE)).await;
    assert_eq!(s.sweep(10).await, 0);
    assert_eq!(s.complete(&first.owner, "answer").await, Written::Accepted);
    s.elapse(just_before(TTL)).await;
    assert_eq!(s.sweep(10).await, 0);
    assert_eq!(s.claim(&claim(&first.owner.id, "a")).await, completed("answer"));
}
