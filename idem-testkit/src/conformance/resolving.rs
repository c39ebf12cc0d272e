//! Held records are listed, and end by a decision.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::LINK};
use idem_core::{
    Claim, Claimed, Held, Owner, RECORD_VERSION, Recover, Resolution, ScopeValue, State,
    StoredResponse, Written,
};
use tokio::task::JoinSet;

use super::{
    persistence::give_up_after,
    subject::{
        LEASE, MARGIN, Situation, Subject, TTL, Write, claim, completed, id, just_after,
        just_before, record_id, resolutions, response, won,
    },
};

const HELD: [Situation; 2] = [Situation::Held, Situation::HoldModeLapsed];

fn completes(body: &str) -> Resolution {
    Resolution::Completed { response: response(body), ttl: TTL }
}

async fn assert_resolves_nothing(s: &Subject, owner: &Owner, when: &str) {
    let before = s.get(&owner.id).await;
    for resolution in resolutions() {
        assert_eq!(s.resolve(owner, &resolution).await, Written::Stale, "{resolution:?} {when}");
        assert_eq!(s.get(&owner.id).await, before, "{resolution:?} {when}");
    }
}

/// Whoever decides sees all that is held, whoever said so, and nothing that is alive or has ended.
pub async fn held_records_are_listed_and_no_others(s: Subject) {
    assert_eq!(s.held().await, []);
    let mut cut_off = HashMap::new();
    for situation in Situation::ALL {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        cut_off.insert(first.owner.id, first.owner.attempt);
    }
    s.elapse(just_after(LEASE)).await;
    let alive = Claim { recover: Recover::Hold, ..claim(&id("alive"), "request") };
    won(s.claim(&alive).await);
    let again = s.bring_about(Situation::Failed, "again").await;
    let again = Claim { recover: Recover::Hold, ..claim(&again.owner.id, "request") };
    let (fence, number) = won(s.claim(&again).await);
    assert_eq!(s.hold(&again.owner).await, Written::Accepted);

    let held = s.reopened().await.held().await;
    let keys: Vec<_> = held.iter().map(|it| it.id.key()).collect();
    assert_eq!(keys, ["HoldMode", "HoldModeLapsed", "Held", "again"]);
    for it in &held[..3] {
        assert_eq!(cut_off.get(&it.id), Some(&it.attempt_id), "{}", it.id.key());
        assert_eq!(it.number, 1);
    }
    assert_eq!(held[3].owner(), again.owner);
    assert_eq!((held[3].fence, held[3].number), (fence, number));
    for it in &held {
        let record = s.get(&it.id).await.expect("a record");
        assert_eq!(record.state, State::Held);
        assert_eq!((record.attempt, record.fence), (it.attempt_id, it.fence));
    }
}

/// Since its lease ran out, or its owner gave up: not since its claim.
pub async fn a_listed_record_says_for_how_long_it_has_been_held(s: Subject) {
    let lapsing = s.bring_about(Situation::HoldMode, "lapsing").await;
    s.elapse(just_before(LEASE)).await;
    let given_up = s.bring_about(Situation::HoldMode, "given up").await;
    assert_eq!(s.hold(&given_up.owner).await, Written::Accepted);
    s.elapse(MARGIN * 4).await;
    let held = s.held().await;
    let expected = [(&lapsing, MARGIN * 3), (&given_up, MARGIN * 4)];
    assert_eq!(held.len(), expected.len());
    for (held, (first, expected)) in held.iter().zip(expected) {
        assert_eq!(held.owner(), first.owner);
        let (least, most) = (just_before(expected), just_after(expected));
        assert!(held.held_for > least && held.held_for < most, "{:?}", held.held_for);
    }
}

/// A listed id finds the record that it came from, whatever its parts hold.
pub async fn arbitrary_ids_are_listed_as_they_were(s: Subject) {
    let long = "x".repeat(100_000);
    let texts = ["", "a\0b\u{1b}", "\\u{0}", "ä'\"; --", "\r\n\t", "a\u{308}", &long];
    let mut claimed = Vec::new();
    for text in texts {
        let scopes = [ScopeValue::of(text), ScopeValue::of(&(text, 1)), ScopeValue::global()];
        for scope in scopes {
            let first = claim(&record_id(text, &scope, "k \\ '"), "request");
            won(s.claim(&first).await);
            assert_eq!(s.hold(&first.owner).await, Written::Accepted);
            claimed.push(first.owner);
        }
    }
    let listed: Vec<_> = s.held().await.iter().map(Held::owner).collect();
    assert_eq!(listed, claimed);
}

/// However long the pages are, and whatever is resolved on the way.
pub async fn pages_list_each_held_record_once_and_the_oldest_claim_first(s: Subject) {
    for i in 0..12 {
        let situation = if i % 3 == 0 { Situation::Held } else { Situation::HoldMode };
        s.bring_about(situation, &format!("{i}")).await;
        s.bring_about(Situation::Completed, &format!("completed {i}")).await;
    }
    s.elapse(just_after(LEASE)).await;
    let all = s.held().await;
    assert_eq!(all.len(), 12);
    assert!(all.is_sorted_by(|a, b| a.fence < b.fence));
    assert_eq!(s.store.held(None, 0).await.expect("held"), []);
    for limit in [1, 5, 12, 13] {
        let mut listed = Vec::new();
        loop {
            let after = listed.last().map(|held: &Held| held.fence);
            let page = s.store.held(after, limit).await.expect("held");
            assert!(page.len() <= limit as usize);
            if page.is_empty() {
                break;
            }
            listed.extend(page);
            assert!(listed.len() <= all.len(), "pages of {limit} repeat a record");
        }
        let ids = |of: &[Held]| of.iter().map(|it| it.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&listed), ids(&all), "pages of {limit}");
    }
    let first = s.store.held(None, 1).await.expect("held");
    assert_eq!(s.resolve(&first[0].owner(), &completes("resolved")).await, Written::Accepted);
    let next = s.store.held(Some(first[0].fence), 1).await.expect("held");
    assert_eq!(next[0].id, all[1].id);
}

/// What another version wrote is not ours to decide.
pub async fn an_unknown_version_is_neither_listed_nor_resolved(s: Subject) {
    for situation in HELD {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        let before = s.get(&first.owner.id).await;
        for version in [0, RECORD_VERSION + 1] {
            for resolution in resolutions() {
                s.harness.set_version(&first.owner.id, version).await;
                assert_eq!(s.held().await, [], "{situation:?} of version {version}");
                let written = s.resolve(&first.owner, &resolution).await;
                assert_eq!(written, Written::Stale, "{situation:?} of version {version}");
                s.harness.set_version(&first.owner.id, RECORD_VERSION).await;
                assert_eq!(s.get(&first.owner.id).await, before, "{situation:?}");
            }
        }
        assert_eq!(s.held().await.len(), 1, "{situation:?}");
        assert_eq!(s.resolve(&first.owner, &completes("done")).await, Written::Accepted);
    }
}

/// Retries get the answer that somebody found out, to the byte; other requests still do not.
pub async fn a_record_resolved_as_completed_is_replayed(s: Subject) {
    for situation in HELD {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        let fence = s.get(&first.owner.id).await.expect("a record").fence;
        let value = |bytes| HeaderValue::from_bytes(bytes).expect("a header value");
        let response = StoredResponse {
            status: StatusCode::PAYMENT_REQUIRED,
            headers: vec![(LINK, value(b"<caf\xe9>")), (LINK, value(b""))],
            body: Some((0..=u8::MAX).collect()),
        };
        let resolution = Resolution::Completed { response: response.clone(), ttl: TTL };
        assert_eq!(s.resolve(&first.owner, &resolution).await, Written::Accepted);
        let id = &first.owner.id;
        assert_eq!(s.claim(&claim(id, "request")).await, Claimed::Completed(response.clone()));
        assert_eq!(s.claim(&first).await, Claimed::Completed(response), "its own claim");
        assert_eq!(s.claim(&claim(id, "other")).await, Claimed::Mismatch, "{situation:?}");
        let record = s.get(id).await.expect("a record");
        assert_eq!((record.state, record.fence, record.number), (State::Completed, fence, 1));
        assert_eq!(s.held().await, [], "{situation:?}");
    }
}

/// A retry is the next execution of the same record.
pub async fn a_record_resolved_as_failed_is_won_again(s: Subject) {
    for situation in HELD {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        let id = &first.owner.id;
        let fence = s.get(id).await.expect("a record").fence;
        let resolution = Resolution::Failed { ttl: TTL };
        assert_eq!(s.resolve(&first.owner, &resolution).await, Written::Accepted);
        assert_eq!(s.state(id).await, Some(State::Failed), "{situation:?}");
        assert_eq!(s.held().await, [], "{situation:?}");
        assert_eq!(s.claim(&claim(id, "other")).await, Claimed::Mismatch, "{situation:?}");
        let second = claim(id, "request");
        let (higher, number) = won(s.claim(&second).await);
        assert!(higher > fence);
        assert_eq!(number, 2);
        assert_eq!(s.complete(&second.owner, "second").await, Written::Accepted);
        assert_eq!(s.claim(&claim(id, "request")).await, completed("second"), "{situation:?}");
    }
}

/// Once it is decided, a record lives as long as the decision says, from then on.
pub async fn a_resolved_record_expires(s: Subject) {
    for (i, resolution) in resolutions().into_iter().enumerate() {
        let first = s.bring_about(Situation::HoldMode, &format!("{i}")).await;
        s.elapse(TTL * 3).await;
        assert_eq!(s.resolve(&first.owner, &resolution).await, Written::Accepted);
        s.elapse(just_before(TTL)).await;
        assert_eq!(s.sweep(10).await, 0, "{resolution:?}");
        assert!(s.get(&first.owner.id).await.is_some(), "{resolution:?}");
        s.elapse(MARGIN * 2).await;
        assert_eq!(s.get(&first.owner.id).await, None, "{resolution:?}");
        assert_eq!(s.sweep(10).await, 1, "{resolution:?}");
    }
}

/// Nobody decides about what is alive, may be retried, or has ended.
pub async fn only_held_records_are_resolved(s: Subject) {
    for situation in Situation::ALL.into_iter().filter(|it| !HELD.contains(it)) {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        assert_resolves_nothing(&s, &first.owner, &format!("of {situation:?}")).await;
    }
    let renewed = s.bring_about(Situation::HoldModeLapsed, "renewed").await;
    assert_eq!(s.renew(&renewed.owner).await, Written::Accepted);
    assert_resolves_nothing(&s, &renewed.owner, "after a renewal").await;
    assert_resolves_nothing(&s, &Owner::draw(id("absent")), "of an absent record").await;
}

/// Who looked too long ago does not decide about a later execution.
pub async fn an_older_attempt_is_not_resolved(s: Subject) {
    for situation in HELD {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        let failed = Resolution::Failed { ttl: TTL };
        assert_eq!(s.resolve(&first.owner, &failed).await, Written::Accepted);
        let second = Claim { recover: Recover::Hold, ..claim(&first.owner.id, "request") };
        won(s.claim(&second).await);
        assert_resolves_nothing(&s, &first.owner, "while a retry runs").await;
        assert_eq!(s.hold(&second.owner).await, Written::Accepted);
        assert_resolves_nothing(&s, &first.owner, "while a retry is held").await;
        assert_resolves_nothing(&s, &Owner::draw(first.owner.id.clone()), "by a stranger").await;
        assert_eq!(s.resolve(&second.owner, &failed).await, Written::Accepted);
        assert_resolves_nothing(&s, &first.owner, "after the same decision about a retry").await;
    }
}

/// Who was only late finds that somebody decided, even if it would have written the same.
pub async fn the_late_owner_of_a_resolved_record_writes_nothing(s: Subject) {
    for situation in HELD {
        for (i, resolution) in resolutions().into_iter().enumerate() {
            let first = s.bring_about(situation, &format!("{situation:?} {i}")).await;
            assert_eq!(s.resolve(&first.owner, &resolution).await, Written::Accepted);
            let resolved = s.get(&first.owner.id).await;
            for write in Write::ALL {
                let written = s.write(write, &first.owner).await.expect("an answer");
                assert_eq!(written, Written::Stale, "{write:?} of {situation:?}, {resolution:?}");
                assert_eq!(s.get(&first.owner.id).await, resolved, "{write:?} of {situation:?}");
            }
        }
    }
}

/// Who got no answer may send its decision again.
pub async fn a_resolution_may_be_written_again(s: Subject) {
    for situation in HELD {
        for (i, resolution) in resolutions().into_iter().enumerate() {
            let first = s.bring_about(situation, &format!("{situation:?} {i}")).await;
            assert_eq!(s.resolve(&first.owner, &resolution).await, Written::Accepted);
            let resolved = s.get(&first.owner.id).await;
            let again = s.reopened().await;
            assert_eq!(again.resolve(&first.owner, &resolution).await, Written::Accepted);
            assert_eq!(s.get(&first.owner.id).await, resolved, "{situation:?} {resolution:?}");
        }
    }
}

/// The first decision is the decision, also against one that differs only in its answer.
pub async fn a_resolution_is_never_overwritten(s: Subject) {
    let with = |change: fn(&mut StoredResponse)| {
        let mut response = response("one");
        change(&mut response);
        Resolution::Completed { response, ttl: TTL }
    };
    let others = [
        with(|it| it.body = Some(Bytes::from_static(b"two"))),
        with(|it| it.body = Some(Bytes::new())),
        with(|it| it.body = None),
        with(|it| it.status = StatusCode::OK),
        with(|it| it.headers.clear()),
        Resolution::Failed { ttl: TTL },
    ];
    let first = s.bring_about(Situation::Held, "k").await;
    assert_eq!(s.resolve(&first.owner, &completes("one")).await, Written::Accepted);
    for other in others {
        assert_eq!(s.resolve(&first.owner, &other).await, Written::Stale, "{other:?}");
        assert_eq!(s.claim(&claim(&id("k"), "request")).await, completed("one"), "{other:?}");
    }
    let first = s.bring_about(Situation::Held, "empty").await;
    let empty = with(|it| it.body = Some(Bytes::new()));
    assert_eq!(s.resolve(&first.owner, &empty).await, Written::Accepted);
    assert_eq!(s.resolve(&first.owner, &with(|it| it.body = None)).await, Written::Stale);
    let first = s.bring_about(Situation::Held, "failed").await;
    let failed = Resolution::Failed { ttl: TTL };
    assert_eq!(s.resolve(&first.owner, &failed).await, Written::Accepted);
    assert_eq!(s.resolve(&first.owner, &completes("one")).await, Written::Stale);
    assert_eq!(s.state(&first.owner.id).await, Some(State::Failed));
}

/// Many decide at once, each otherwise: one decision counts.
pub async fn one_of_many_resolutions_is_written(s: Subject) {
    for round in 0..10 {
        let situation = HELD[round % HELD.len()];
        let first = s.bring_about(situation, &format!("{round}")).await;
        let mut deciding = JoinSet::new();
        for i in 0..10 {
            let (server, owner) = (s.reopened().await, first.owner.clone());
            let body = format!("{i}");
            deciding.spawn(async move { (server.resolve(&owner, &completes(&body)).await, body) });
        }
        let decided = deciding.join_all().await;
        let accepted = decided.into_iter().filter(|(written, _)| *written == Written::Accepted);
        let [(_, body)] = &accepted.collect::<Vec<_>>()[..] else { panic!("one is accepted") };
        assert_eq!(s.claim(&claim(&first.owner.id, "request")).await, completed(body));
    }
}

/// A late owner completes while somebody decides: one of both counts, never both.
pub async fn a_late_owner_and_a_resolution_exclude_each_other(s: Subject) {
    for round in 0..20 {
        let first = s.bring_about(Situation::HoldModeLapsed, &format!("{round}")).await;
        let (server, owner) = (s.reopened().await, first.owner.clone());
        let late = tokio::spawn(async move { server.complete(&owner, "late").await });
        let resolved = s.resolve(&first.owner, &completes("resolved")).await;
        let late = late.await.expect("an answer");
        let counts = match (late, resolved) {
            (Written::Accepted, Written::Stale) => "late",
            (Written::Stale, Written::Accepted) => "resolved",
            both => panic!("{both:?}"),
        };
        assert_eq!(s.claim(&claim(&first.owner.id, "request")).await, completed(counts));
    }
}

/// A resolution that is given up at any point has happened or not, and can be sent again.
pub async fn a_dropped_resolution_can_be_sent_again(s: Subject) {
    for polls in 0..20 {
        for (i, resolution) in resolutions().into_iter().enumerate() {
            let first = s.bring_about(Situation::Held, &format!("{polls} {i}")).await;
            give_up_after(polls, s.store.held(None, 10)).await;
            give_up_after(polls, s.store.resolve(&first.owner, &resolution)).await;
            assert_eq!(s.resolve(&first.owner, &resolution).await, Written::Accepted, "{polls}");
        }
    }
    assert_eq!(s.held().await, []);
}
