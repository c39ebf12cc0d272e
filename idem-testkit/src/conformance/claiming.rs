//! The verdict on a claim, by the situation of the record.

use std::time::Duration;

use idem_core::{After, Claim, Claimed, Recover, State, Written};

use super::subject::{
    LEASE, MARGIN, Situation, Subject, TTL, after, claim, completed, id, just_after, won,
};

/// A key is free until it is claimed; reading it does not claim it.
pub async fn an_absent_record_is_won(s: Subject) {
    let claim = claim(&id("k"), "a");
    assert_eq!(s.get(&claim.owner.id).await, None);
    let (fence, number) = won(s.claim(&claim).await);
    assert_eq!(number, 1);
    let record = s.get(&claim.owner.id).await.expect("a record");
    assert_eq!(record.state, State::InFlight);
    assert_eq!((record.fence, record.number), (fence, 1));
    assert_eq!(record.attempt, claim.owner.attempt);
    assert_eq!(record.fingerprint, claim.fingerprint);
    assert_eq!(record.response, None);
}

/// The same request meets its own running execution.
pub async fn a_running_record_is_in_flight(s: Subject) {
    for situation in [Situation::Running, Situation::HoldMode] {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        let retry = claim(&first.owner.id, "request");
        assert_eq!(s.claim(&retry).await, Claimed::InFlight, "{situation:?}");
    }
}

/// Each retry gets the answer of the one execution.
pub async fn a_completed_record_is_replayed(s: Subject) {
    let first = s.bring_about(Situation::Completed, "k").await;
    for _ in 0..3 {
        assert_eq!(s.claim(&claim(&first.owner.id, "request")).await, completed("answer"));
    }
    let record = s.get(&first.owner.id).await.expect("a record");
    assert_eq!(record.state, State::Completed);
    assert_eq!(record.attempt, first.owner.attempt);
    assert_eq!(record.number, 1);
}

/// A failed attempt is followed by the next one.
pub async fn a_failed_record_is_won_again(s: Subject) {
    let id = id("k");
    let mut last = None;
    for expected in 1..=3 {
        let claim = claim(&id, "a");
        let (fence, number) = won(s.claim(&claim).await);
        assert_eq!(number, expected);
        assert!(Some(fence) > last, "the fence grows");
        last = Some(fence);
        assert_eq!(s.state(&id).await, Some(State::InFlight));
        assert_eq!(s.fail(&claim.owner).await, Written::Accepted);
        assert_eq!(s.state(&id).await, Some(State::Failed));
    }
    let claim = claim(&id, "a");
    assert_eq!(won(s.claim(&claim).await).1, 4);
    assert_eq!(s.complete(&claim.owner, "answer").await, Written::Accepted);
    assert_eq!(s.get(&id).await.expect("a record").number, 4);
}

/// A key that was used for another request is refused before anything else is said about it.
pub async fn another_request_is_a_mismatch_in_every_situation(s: Subject) {
    for situation in Situation::ALL {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        let before = s.get(&first.owner.id).await;
        let other = claim(&first.owner.id, "another request");
        assert_eq!(s.claim(&other).await, Claimed::Mismatch, "{situation:?}");
        assert_eq!(s.get(&first.owner.id).await, before, "{situation:?}");
    }
}

/// A refused claim leaves no trace: neither its lease, nor its ttl, nor its mode.
pub async fn a_refused_claim_changes_nothing(s: Subject) {
    let first = s.bring_about(Situation::Running, "k").await;
    let before = s.get(&first.owner.id).await;
    let retry = Claim {
        lease: LEASE * 10,
        ttl: TTL * 10,
        recover: Recover::Hold,
        ..claim(&first.owner.id, "request")
    };
    assert_eq!(s.claim(&retry).await, Claimed::InFlight);
    let other = Claim { fingerprint: claim(&first.owner.id, "other").fingerprint, ..retry.clone() };
    assert_eq!(s.claim(&other).await, Claimed::Mismatch);
    assert_eq!(s.get(&first.owner.id).await, before);

    s.elapse(just_after(LEASE)).await;
    assert_eq!(s.state(&first.owner.id).await, Some(State::InFlight));
    s.elapse(TTL).await;
    assert_eq!(s.get(&first.owner.id).await, None);
}

/// A claim that was sent twice, and of which one copy comes when its execution has failed, must not
/// start another one that nobody knows of.
pub async fn a_claim_that_comes_after_its_own_failure_does_not_win(s: Subject) {
    let first = claim(&id("k"), "request");
    won(s.claim(&first).await);
    assert_eq!(s.fail(&first.owner).await, Written::Accepted);
    assert_eq!(s.claim(&first).await, Claimed::InFlight);
    let record = s.get(&first.owner.id).await.expect("a record");
    assert_eq!((record.state, record.number), (State::Failed, 1));
    won(s.claim(&claim(&first.owner.id, "request")).await);
}

/// An engine that got no answer may send its claim again.
pub async fn a_claim_sent_again_wins_again(s: Subject) {
    for recover in [Recover::Retry, Recover::Hold] {
        let claim = Claim { recover, ..claim(&id(&format!("{recover:?}")), "a") };
        let first = s.claim(&claim).await;
        won(first.clone());
        assert_eq!(s.claim(&claim).await, first, "{recover:?}");
        s.elapse(just_after(LEASE)).await;
        assert_eq!(s.claim(&claim).await, first, "{recover:?}, lapsed");
        assert_eq!(s.complete(&claim.owner, "answer").await, Written::Accepted);
        assert_eq!(s.claim(&claim).await, completed("answer"));
    }
}

/// A retry, a takeover and a first execution are told from each other, also when the claim is sent
/// again.
pub async fn a_claim_that_is_won_says_what_it_follows(s: Subject) {
    for (situation, expected) in
        [(Situation::Failed, After::Failure), (Situation::Lapsed, After::Lapse)]
    {
        let key = format!("{situation:?}");
        let absent = claim(&id(&format!("absent {key}")), "request");
        assert_eq!(after(&s.claim(&absent).await), After::Nothing);

        let first = s.bring_about(situation, &key).await;
        let second = claim(&first.owner.id, "request");
        let won = s.claim(&second).await;
        assert_eq!(after(&won), expected);
        assert_eq!(s.claim(&second).await, won, "sent again");
        assert_eq!(s.fail(&second.owner).await, Written::Accepted);
        let third = claim(&first.owner.id, "request");
        assert_eq!(after(&s.claim(&third).await), After::Failure, "what came last counts");
        s.elapse(just_after(LEASE)).await;
        let fourth = claim(&first.owner.id, "request");
        assert_eq!(after(&s.claim(&fourth).await), After::Lapse);

        s.elapse(just_after(TTL)).await;
        let anew = claim(&first.owner.id, "request");
        assert_eq!(after(&s.claim(&anew).await), After::Nothing, "it had expired");
    }
}

/// The age tells how late a duplicate comes. It goes on over retries and takeovers.
pub async fn every_verdict_tells_the_age_of_the_record(s: Subject) {
    for situation in Situation::ALL {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        let id = &first.owner.id;
        let mut passed = match situation {
            Situation::Lapsed | Situation::HoldModeLapsed => just_after(LEASE),
            _ => Duration::ZERO,
        };
        assert_age(&s, &claim(id, "other"), passed).await;
        for request in ["other", "request", "request"] {
            s.elapse(MARGIN).await;
            passed += MARGIN;
            assert_age(&s, &claim(id, request), passed).await;
        }
    }
}

/// A key that is free again has a record of its own age.
pub async fn an_age_starts_anew_with_the_record(s: Subject) {
    let first = s.bring_about(Situation::Completed, "expired").await;
    s.elapse(just_after(TTL)).await;
    assert_age(&s, &claim(&first.owner.id, "request"), Duration::ZERO).await;

    let first = s.bring_about(Situation::Running, "released").await;
    s.elapse(MARGIN).await;
    assert_eq!(s.release(&first.owner).await, Written::Accepted);
    assert_age(&s, &claim(&first.owner.id, "request"), Duration::ZERO).await;
}

async fn assert_age(s: &Subject, claim: &Claim, at_least: Duration) {
    let judged = s.judge(claim).await;
    let age = judged.age.expect("there is a record");
    assert!((at_least..at_least + MARGIN).contains(&age), "{judged:?}, and not {at_least:?}");
}
