//! What a store has accepted is there for every server, and after any interruption.

use std::{future::Future, pin::pin, task::Poll};

use idem_core::{Claimed, State, Written};

use super::subject::{LEASE, Situation, Subject, claim, completed, id, just_after, response, won};

/// No record is lost over a restart, and each means the same to the next process.
pub async fn records_survive_a_reconnect(s: Subject) {
    let mut before = Vec::new();
    for situation in Situation::ALL {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        before.push((situation, first));
    }
    let again = s.reopened().await;
    for (situation, first) in before {
        let record = s.get(&first.owner.id).await;
        assert_eq!(again.get(&first.owner.id).await, record, "{situation:?}");
        let record = record.expect("a record");
        assert_eq!(record.attempt, first.owner.attempt, "{situation:?}");
        assert_eq!(record.response.is_some(), record.state == State::Completed, "{situation:?}");
    }
}

/// An owner whose connection broke ends its record over another one.
pub async fn an_owner_ends_its_record_over_a_new_connection(s: Subject) {
    let first = s.bring_about(Situation::Running, "k").await;
    assert_eq!(s.reopened().await.renew(&first.owner).await, Written::Accepted);
    let again = s.reopened().await;
    drop(s);
    assert_eq!(again.claim(&claim(&first.owner.id, "request")).await, Claimed::InFlight);
    assert_eq!(again.complete(&first.owner, "answer").await, Written::Accepted);
    assert_eq!(again.claim(&claim(&first.owner.id, "request")).await, completed("answer"));
}

/// A reader sees the state as it is by the store's clock.
pub async fn a_reader_sees_every_state(s: Subject) {
    for situation in Situation::ALL {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        let record = s.get(&first.owner.id).await.expect("a record");
        assert_eq!(record.state, situation.state(), "{situation:?}");
        assert_eq!(record.attempt, first.owner.attempt, "{situation:?}");
        assert_eq!(record.fingerprint, first.fingerprint, "{situation:?}");
        assert_eq!(record.number, 1, "{situation:?}");
    }
    assert_eq!(s.get(&id("never claimed")).await, None);
}

/// An operation that is given up at any point has happened or not, and can be sent again.
pub async fn a_dropped_operation_can_be_sent_again(s: Subject) {
    for polls in 0..30 {
        let claim = claim(&id(&format!("{polls}")), "a");
        give_up_after(polls, s.store.claim(&claim)).await;
        let (fence, number) = won(s.claim(&claim).await);
        assert_eq!(number, 1);
        give_up_after(polls, s.store.renew(&claim.owner, LEASE)).await;
        give_up_after(polls, s.store.get(&claim.owner.id)).await;
        give_up_after(polls, s.store.complete(&claim.owner, &response("a"), LEASE)).await;
        assert_eq!(s.complete(&claim.owner, "a").await, Written::Accepted);
        assert_eq!(s.claim(&claim).await, completed("a"));
        assert_eq!(s.get(&claim.owner.id).await.expect("a record").fence, fence);
    }
    s.elapse(just_after(LEASE)).await;
    give_up_after(3, s.store.sweep(10)).await;
}

/// Drops a future after it was polled so often, unless it is done before.
pub(super) async fn give_up_after(polls: u32, operation: impl Future) {
    let mut operation = pin!(operation);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 || operation.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
