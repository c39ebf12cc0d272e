//! What those who wait for an execution may ask.

use idem_core::RecordId;

use super::subject::{LEASE, Situation, Subject, claim, id, just_after, won};

const IN_FLIGHT: [Situation; 2] = [Situation::Running, Situation::HoldMode];

/// Whoever waits claims as soon as a claim would say anything else.
pub async fn records_that_are_in_flight_are_told_from_all_others(s: Subject) {
    let absent = id("absent");
    let mut all = vec![absent.clone()];
    let mut others = vec![absent];
    // Time passes while some of them are brought about.
    let (now, before): (Vec<_>, Vec<_>) =
        Situation::ALL.into_iter().partition(|it| IN_FLIGHT.contains(it));
    for situation in before.into_iter().chain(now) {
        let claim = s.bring_about(situation, &format!("{situation:?}")).await;
        if !IN_FLIGHT.contains(&situation) {
            others.push(claim.owner.id.clone());
        }
        all.push(claim.owner.id);
    }
    assert_eq!(s.not_in_flight(&all).await, others);
    s.elapse(just_after(LEASE)).await;
    assert_eq!(s.not_in_flight(&all).await, all);
    assert_eq!(s.not_in_flight(&[]).await, []);
}

/// Many records are asked for at once.
pub async fn a_thousand_records_are_asked_for_at_once(s: Subject) {
    let ids: Vec<RecordId> = (0..1000).map(|number| id(&number.to_string())).collect();
    for running in ids.iter().step_by(100) {
        won(s.claim(&claim(running, "a")).await);
    }
    let others: Vec<_> = (0..1000).filter(|it| it % 100 != 0).map(|it| ids[it].clone()).collect();
    assert_eq!(s.not_in_flight(&ids).await, others);
}
