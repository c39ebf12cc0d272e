//! Records whose outcome is unknown wait for a decision.

use idem_core::{Claim, Claimed, Recover, State, Written};

use super::subject::{
    LEASE, Situation, Subject, TTL, Write, claim, completed, id, just_after, response, won,
};

/// An execution in hold mode that was cut off is not followed by another one, whatever mode the
/// next claim has.
pub async fn a_lapsed_hold_mode_record_is_held(s: Subject) {
    let first = s.bring_about(Situation::HoldMode, "k").await;
    assert_eq!(s.state(&first.owner.id).await, Some(State::InFlight));
    s.elapse(just_after(LEASE)).await;
    assert_eq!(s.state(&first.owner.id).await, Some(State::Held));
    for recover in [Recover::Retry, Recover::Hold] {
        let retry = Claim { recover, ..claim(&first.owner.id, "request") };
        assert_eq!(s.claim(&retry).await, Claimed::Held, "{recover:?}");
    }
}

/// The mode is the winner's: a takeover may turn hold mode on.
pub async fn a_takeover_in_hold_mode_is_held_when_it_lapses(s: Subject) {
    let first = s.bring_about(Situation::Lapsed, "k").await;
    let second = Claim { recover: Recover::Hold, ..claim(&first.owner.id, "request") };
    assert_eq!(won(s.claim(&second).await).1, 2);
    s.elapse(just_after(LEASE)).await;
    assert_eq!(s.claim(&claim(&first.owner.id, "request")).await, Claimed::Held);
}

/// What its owner declared unknown is unknown.
pub async fn a_held_record_is_held(s: Subject) {
    for recover in [Recover::Retry, Recover::Hold] {
        let first = Claim { recover, ..claim(&id(&format!("{recover:?}")), "request") };
        won(s.claim(&first).await);
        assert_eq!(s.hold(&first.owner).await, Written::Accepted);
        assert_eq!(s.state(&first.owner.id).await, Some(State::Held));
        assert_eq!(s.claim(&claim(&first.owner.id, "request")).await, Claimed::Held);
        assert_eq!(s.claim(&first).await, Claimed::Held, "its own claim sent again");
    }
}

/// No time makes an unknown outcome known.
pub async fn held_records_never_expire(s: Subject) {
    for situation in [Situation::Held, Situation::HoldMode, Situation::HoldModeLapsed] {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        s.elapse(TTL * 100).await;
        assert_eq!(s.sweep(10).await, 0, "{situation:?}");
        assert_eq!(s.state(&first.owner.id).await, Some(State::Held), "{situation:?}");
        let retry = claim(&first.owner.id, "request");
        assert_eq!(s.claim(&retry).await, Claimed::Held, "{situation:?}");
        let other = claim(&first.owner.id, "other");
        assert_eq!(s.claim(&other).await, Claimed::Mismatch, "{situation:?}");
    }
}

/// The owner of a record that is held because it was late knows the outcome.
pub async fn the_late_owner_of_a_hold_mode_record_may_end_it(s: Subject) {
    for write in Write::ALL {
        let first = s.bring_about(Situation::HoldModeLapsed, &format!("{write:?}")).await;
        s.elapse(TTL * 2).await;
        let written = s.write(write, &first.owner).await.expect("an answer");
        assert_eq!(written, Written::Accepted, "{write:?}");
        let retried = s.claim(&claim(&first.owner.id, "request")).await;
        match write {
            Write::Complete => assert_eq!(retried, completed("written")),
            Write::Fail => assert_eq!(won(retried).1, 2),
            Write::Hold => assert_eq!(retried, Claimed::Held),
            Write::Renew => assert_eq!(retried, Claimed::InFlight),
            Write::Release => assert_eq!(won(retried).1, 1),
        }
    }
}

/// Once it has ended, a record in hold mode is like any other.
pub async fn an_ended_hold_mode_record_expires(s: Subject) {
    for write in [Write::Complete, Write::Fail] {
        let first = s.bring_about(Situation::HoldMode, &format!("{write:?}")).await;
        let written = s.write(write, &first.owner).await.expect("an answer");
        assert_eq!(written, Written::Accepted);
        s.elapse(just_after(TTL)).await;
        assert_eq!(s.get(&first.owner.id).await, None, "{write:?}");
        assert_eq!(s.sweep(10).await, 1, "{write:?}");
    }
}

/// A renewal neither ends hold mode nor lets the record expire.
pub async fn a_renewed_hold_mode_record_stays_in_hold_mode(s: Subject) {
    let first = s.bring_about(Situation::HoldMode, "k").await;
    assert_eq!(s.renew(&first.owner).await, Written::Accepted);
    s.elapse(TTL * 2).await;
    assert_eq!(s.sweep(10).await, 0);
    assert_eq!(s.claim(&claim(&first.owner.id, "request")).await, Claimed::Held);
    let completed = s.store.complete(&first.owner, &response("late"), TTL).await;
    assert_eq!(completed.expect("complete"), Written::Accepted);
}
