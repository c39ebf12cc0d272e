//! Many claimers at once: exactly one of them executes.

use std::sync::Arc;

use idem_core::{Claim, Claimed, RecordId, State, Written};
use tokio::{sync::Barrier, task::JoinSet};

use super::subject::{LEASE, Situation, Subject, TTL, claim, completed, id, just_after, won};

const CLAIMERS: usize = 200;
const SERVERS: usize = 4;
const ROUNDS: usize = 5;

/// Sends all claims at once, over several servers.
async fn race(s: &Subject, claims: Vec<Claim>) -> Vec<(Claim, Claimed)> {
    let start = Arc::new(Barrier::new(claims.len()));
    race_from(start, s, claims).await
}

async fn race_from(start: Arc<Barrier>, s: &Subject, claims: Vec<Claim>) -> Vec<(Claim, Claimed)> {
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(s.reopened().await);
    }
    let mut tasks = JoinSet::new();
    for (server, claim) in servers.iter().cycle().zip(claims) {
        let (server, start) = (server.clone(), Arc::clone(&start));
        tasks.spawn(async move {
            start.wait().await;
            let claimed = server.claim(&claim).await;
            (claim, claimed)
        });
    }
    tasks.join_all().await
}

fn equal_claims(id: &RecordId) -> Vec<Claim> {
    (0..CLAIMERS).map(|_| claim(id, "request")).collect()
}

fn different_claims(id: &RecordId) -> Vec<Claim> {
    (0..CLAIMERS).map(|i| claim(id, &format!("request {i}"))).collect()
}

/// One has won, as `number`, and the record is its own; all others got `refusal`.
async fn assert_one_winner(
    s: &Subject,
    verdicts: Vec<(Claim, Claimed)>,
    number: u32,
    refusal: Claimed,
) {
    let (winners, losers): (Vec<_>, Vec<_>) =
        verdicts.into_iter().partition(|(_, claimed)| matches!(claimed, Claimed::Won { .. }));
    assert_eq!(winners.len(), 1, "winners");
    for (_, claimed) in losers {
        assert_eq!(claimed, refusal);
    }
    for (claim, claimed) in winners {
        let record = s.get(&claim.owner.id).await.expect("the winner's record");
        assert_eq!(won(claimed), (record.fence, number));
        assert_eq!(record.number, number);
        assert_eq!(record.attempt, claim.owner.attempt);
        assert_eq!(s.complete(&claim.owner, "the winner's").await, Written::Accepted);
    }
}

/// A double click, two hundredfold.
pub async fn one_of_many_wins_a_new_key(s: Subject) {
    for round in 0..ROUNDS {
        let id = id(&format!("{round}"));
        let verdicts = race(&s, equal_claims(&id)).await;
        assert_one_winner(&s, verdicts, 1, Claimed::InFlight).await;
        assert_eq!(s.claim(&claim(&id, "request")).await, completed("the winner's"));
    }
}

/// The same key for many different requests.
pub async fn one_of_many_different_requests_wins_a_new_key(s: Subject) {
    for round in 0..ROUNDS {
        let verdicts = race(&s, different_claims(&id(&format!("{round}")))).await;
        assert_one_winner(&s, verdicts, 1, Claimed::Mismatch).await;
    }
}

/// Everybody retries after a crash.
pub async fn one_of_many_takes_over_a_lapsed_lease(s: Subject) {
    for round in 0..ROUNDS {
        let first = s.bring_about(Situation::Lapsed, &format!("{round}")).await;
        let verdicts = race(&s, equal_claims(&first.owner.id)).await;
        assert_one_winner(&s, verdicts, 2, Claimed::InFlight).await;
    }
}

/// Everybody retries after a failure.
pub async fn one_of_many_retries_a_failed_record(s: Subject) {
    for round in 0..ROUNDS {
        let first = s.bring_about(Situation::Failed, &format!("{round}")).await;
        let verdicts = race(&s, equal_claims(&first.owner.id)).await;
        assert_one_winner(&s, verdicts, 2, Claimed::InFlight).await;
    }
}

/// Everybody comes back after the ttl.
pub async fn one_of_many_wins_an_expired_key(s: Subject) {
    for round in 0..ROUNDS {
        let first = s.bring_about(Situation::Completed, &format!("equal {round}")).await;
        s.elapse(just_after(TTL)).await;
        let verdicts = race(&s, equal_claims(&first.owner.id)).await;
        assert_one_winner(&s, verdicts, 1, Claimed::InFlight).await;

        let first = s.bring_about(Situation::Completed, &format!("different {round}")).await;
        s.elapse(just_after(TTL)).await;
        let verdicts = race(&s, different_claims(&first.owner.id)).await;
        assert_one_winner(&s, verdicts, 1, Claimed::Mismatch).await;
    }
}

/// Nobody executes what is done.
pub async fn all_of_many_replay_a_completed_record(s: Subject) {
    let first = s.bring_about(Situation::Completed, "k").await;
    for (_, claimed) in race(&s, equal_claims(&first.owner.id)).await {
        assert_eq!(claimed, completed("answer"));
    }
    for (_, claimed) in race(&s, different_claims(&first.owner.id)).await {
        assert_eq!(claimed, Claimed::Mismatch);
    }
}

/// Nobody executes what may have been done.
pub async fn none_of_many_wins_a_held_record(s: Subject) {
    for situation in [Situation::Held, Situation::HoldModeLapsed] {
        let first = s.bring_about(situation, &format!("{situation:?}")).await;
        for (_, claimed) in race(&s, equal_claims(&first.owner.id)).await {
            assert_eq!(claimed, Claimed::Held, "{situation:?}");
        }
    }
}

/// One claim that is on its way several times is one claim.
pub async fn one_claim_sent_many_times_wins_once(s: Subject) {
    for round in 0..ROUNDS {
        let claim = claim(&id(&format!("{round}")), "request");
        let verdicts = race(&s, vec![claim.clone(); 20]).await;
        let first = verdicts[0].1.clone();
        assert_eq!(won(first.clone()).1, 1);
        for (_, claimed) in verdicts {
            assert_eq!(claimed, first);
        }
    }
}

/// A late owner completes while others take over: one of both happens, never both.
pub async fn a_late_completion_and_a_takeover_exclude_each_other(s: Subject) {
    for round in 0..20 {
        let first = s.bring_about(Situation::Lapsed, &format!("{round}")).await;
        let owner = first.owner.clone();
        let late = s.reopened().await;
        let completion = tokio::spawn(async move { late.complete(&owner, "late").await });
        let verdicts = race(&s, (0..10).map(|_| claim(&first.owner.id, "request")).collect()).await;
        let written = completion.await.expect("an answer");
        let winners =
            verdicts.iter().filter(|(_, claimed)| matches!(claimed, Claimed::Won { .. })).count();
        match written {
            Written::Accepted => {
                assert_eq!(winners, 0);
                assert_eq!(s.claim(&claim(&first.owner.id, "request")).await, completed("late"));
            }
            Written::Stale => {
                assert_eq!(winners, 1);
                assert_eq!(s.state(&first.owner.id).await, Some(State::InFlight));
            }
        }
    }
}

/// Several servers sweep at once: each record is deleted and counted once.
pub async fn concurrent_sweeps_share_the_work(s: Subject) {
    const EXPIRED: u64 = 50;
    for i in 0..EXPIRED {
        s.bring_about(Situation::Completed, &format!("{i}")).await;
    }
    s.elapse(just_after(TTL)).await;
    let mut sweepers = JoinSet::new();
    for _ in 0..SERVERS {
        let server = s.reopened().await;
        sweepers.spawn(async move { sweep_to_the_end(&server, 3).await });
    }
    let swept: u64 = sweepers.join_all().await.into_iter().sum();
    assert_eq!(swept + sweep_to_the_end(&s, 3).await, EXPIRED);
}

/// A sweep never deletes the record of a claim that came in between.
pub async fn sweeps_and_claims_do_not_disturb_each_other(s: Subject) {
    const RECORDS: usize = 50;
    for round in 0..ROUNDS {
        let mut claims = Vec::new();
        for i in 0..RECORDS {
            let first = s.bring_about(Situation::Completed, &format!("{round} {i}")).await;
            claims.extend((0..4).map(|_| claim(&first.owner.id, "another request")));
        }
        s.elapse(just_after(TTL)).await;
        let start = Arc::new(Barrier::new(claims.len() + SERVERS));
        let mut sweepers = JoinSet::new();
        for _ in 0..SERVERS {
            let (server, start) = (s.reopened().await, Arc::clone(&start));
            sweepers.spawn(async move {
                start.wait().await;
                sweep_to_the_end(&server, 20).await
            });
        }
        let verdicts = race_from(start, &s, claims).await;
        sweepers.join_all().await;

        let (winners, losers): (Vec<_>, Vec<_>) =
            verdicts.into_iter().partition(|(_, claimed)| matches!(claimed, Claimed::Won { .. }));
        assert_eq!(winners.len(), RECORDS, "winners");
        assert!(losers.iter().all(|(_, claimed)| *claimed == Claimed::InFlight));
        for (claim, claimed) in winners {
            assert_eq!(won(claimed).1, 1);
            assert_eq!(s.complete(&claim.owner, "answer").await, Written::Accepted);
        }
        s.elapse(LEASE).await;
        assert_eq!(s.sweep(1_000).await, 0);
    }
}

/// A late owner completes while others sweep: its answer is kept, or it learns that its record is gone.
pub async fn a_late_completion_and_a_sweep_exclude_each_other(s: Subject) {
    const RECORDS: usize = 50;
    for round in 0..ROUNDS {
        let mut late = Vec::new();
        for i in 0..RECORDS {
            late.push(s.bring_about(Situation::Running, &format!("{round} {i}")).await.owner);
        }
        s.elapse(just_after(TTL)).await;
        let start = Arc::new(Barrier::new(RECORDS + SERVERS));
        let mut sweepers = JoinSet::new();
        for _ in 0..SERVERS {
            let (server, start) = (s.reopened().await, Arc::clone(&start));
            sweepers.spawn(async move {
                start.wait().await;
                sweep_to_the_end(&server, 5).await
            });
        }
        let mut completions = JoinSet::new();
        for owner in late {
            let (s, start) = (s.clone(), Arc::clone(&start));
            completions.spawn(async move {
                start.wait().await;
                let written = s.complete(&owner, "late").await;
                (owner, written)
            });
        }
        let completions = completions.join_all().await;
        sweepers.join_all().await;
        sweep_to_the_end(&s, 100).await;
        for (owner, written) in completions {
            let kept = (written == Written::Accepted).then_some(State::Completed);
            assert_eq!(s.state(&owner.id).await, kept, "{written:?}");
        }
    }
}

async fn sweep_to_the_end(s: &Subject, limit: u32) -> u64 {
    let mut swept = 0;
    loop {
        let batch = s.sweep(limit).await;
        swept += batch;
        if batch == 0 {
            return swept;
        }
    }
}
