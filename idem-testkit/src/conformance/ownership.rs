//! Who may write a record: the attempt that is current, and nobody else.

use idem_core::{Owner, State, Written};

use super::subject::{Situation, Subject, TTL, Write, claim, completed, id, just_after, won};

async fn assert_writes_nothing(s: &Subject, old: &Owner, when: &str) {
    let before = s.get(&old.id).await;
    for write in Write::ALL {
        let written = s.write(write, old).await.expect("an answer");
        assert_eq!(written, Written::Stale, "{write:?} {when}");
        assert_eq!(s.get(&old.id).await, before, "{write:?} {when}");
    }
}

/// A slow process cannot touch the record of the one that took over, whatever became of it.
pub async fn a_taken_over_attempt_writes_nothing(s: Subject) {
    let first = s.bring_about(Situation::Lapsed, "k").await;
    let second = claim(&first.owner.id, "request");
    won(s.claim(&second).await);
    assert_writes_nothing(&s, &first.owner, "after a takeover").await;
    assert_eq!(s.fail(&second.owner).await, Written::Accepted);
    assert_writes_nothing(&s, &first.owner, "after the successor failed").await;
    let third = claim(&first.owner.id, "request");
    won(s.claim(&third).await);
    assert_writes_nothing(&s, &second.owner, "after a retry").await;
    assert_eq!(s.complete(&third.owner, "answer").await, Written::Accepted);
    assert_writes_nothing(&s, &first.owner, "after the successor completed").await;
    assert_writes_nothing(&s, &second.owner, "after the successor completed").await;
    assert_eq!(s.claim(&claim(&first.owner.id, "request")).await, completed("answer"));
}

/// Deleting a record can never make an old owner current again.
pub async fn the_attempt_of_a_deleted_record_writes_nothing(s: Subject) {
    let first = s.bring_about(Situation::Running, "k").await;
    s.harness.delete(&first.owner.id).await;
    assert_writes_nothing(&s, &first.owner, "after the record was deleted").await;
    let second = claim(&first.owner.id, "request");
    assert_eq!(won(s.claim(&second).await).1, 1);
    assert_writes_nothing(&s, &first.owner, "after the record was deleted and claimed anew").await;
    assert_eq!(s.complete(&second.owner, "answer").await, Written::Accepted);
    assert_writes_nothing(&s, &first.owner, "after it was completed").await;
}

/// Nor can expiry or a sweep.
pub async fn the_attempt_of_an_expired_record_writes_nothing(s: Subject) {
    for swept in [false, true] {
        let first = s.bring_about(Situation::Running, &format!("{swept}")).await;
        s.elapse(just_after(TTL)).await;
        if swept {
            assert_eq!(s.sweep(10).await, 1);
        }
        won(s.claim(&claim(&first.owner.id, "other")).await);
        assert_writes_nothing(&s, &first.owner, "after expiry").await;
        s.harness.delete(&first.owner.id).await;
    }
}

/// A claim that was taken back is over.
pub async fn the_attempt_of_a_released_record_writes_nothing(s: Subject) {
    let first = s.bring_about(Situation::Running, "k").await;
    assert_eq!(s.release(&first.owner).await, Written::Accepted);
    assert_writes_nothing(&s, &first.owner, "after its release").await;
    won(s.claim(&claim(&first.owner.id, "request")).await);
    assert_writes_nothing(&s, &first.owner, "after another claim").await;
}

/// A release leaves the key as free as if it had never been claimed.
pub async fn a_released_record_has_never_been(s: Subject) {
    for situation in [Situation::Running, Situation::Lapsed, Situation::HoldMode] {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        assert_eq!(s.release(&first.owner).await, Written::Accepted, "{situation:?}");
        assert_eq!(s.get(&first.owner.id).await, None);
        assert_eq!(won(s.claim(&claim(&first.owner.id, "other")).await).1, 1);
    }
    s.elapse(TTL * 2).await;
    assert_eq!(s.sweep(10).await, 3, "only the second claims are there");
}

/// Who is late but was not taken over has done the work all the same.
pub async fn a_late_owner_may_end_its_record(s: Subject) {
    for write in Write::ALL {
        let first = s.bring_about(Situation::Lapsed, &format!("{write:?}")).await;
        let written = s.write(write, &first.owner).await.expect("an answer");
        assert_eq!(written, Written::Accepted, "{write:?}");
        let state = match write {
            Write::Complete => Some(State::Completed),
            Write::Fail => Some(State::Failed),
            Write::Hold => Some(State::Held),
            Write::Renew => Some(State::InFlight),
            Write::Release => None,
        };
        assert_eq!(s.state(&first.owner.id).await, state, "{write:?}");
    }
}

/// An owner that got no answer may write its ending again.
pub async fn an_ending_may_be_written_again_by_its_attempt(s: Subject) {
    for write in [Write::Complete, Write::Fail, Write::Hold] {
        let first = s.bring_about(Situation::Running, &format!("{write:?}")).await;
        assert_eq!(s.write(write, &first.owner).await.expect("an answer"), Written::Accepted);
        let ended = s.get(&first.owner.id).await;
        for _ in 0..2 {
            let again = s.write(write, &first.owner).await.expect("an answer");
            assert_eq!(again, Written::Accepted, "{write:?}");
            assert_eq!(s.get(&first.owner.id).await, ended, "{write:?}");
        }
    }
}

/// What has ended stays as it ended: its own attempt cannot change it either.
pub async fn an_ended_record_is_immutable(s: Subject) {
    for (situation, ending) in [
        (Situation::Completed, Write::Complete),
        (Situation::Failed, Write::Fail),
        (Situation::Held, Write::Hold),
    ] {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        let ended = s.get(&first.owner.id).await;
        for write in Write::ALL.into_iter().filter(|write| *write != ending) {
            let written = s.write(write, &first.owner).await.expect("an answer");
            assert_eq!(written, Written::Stale, "{write:?} of {situation:?}");
            assert_eq!(s.get(&first.owner.id).await, ended, "{write:?} of {situation:?}");
        }
        assert_writes_nothing(&s, &Owner::draw(first.owner.id.clone()), "by a stranger").await;
    }
}

/// The first answer is the answer.
pub async fn a_completed_response_is_never_overwritten(s: Subject) {
    let first = s.bring_about(Situation::Running, "k").await;
    assert_eq!(s.complete(&first.owner, "one").await, Written::Accepted);
    assert_eq!(s.complete(&first.owner, "two").await, Written::Accepted);
    assert_eq!(s.claim(&claim(&id("k"), "request")).await, completed("one"));
}
