//! What a store announces, if it announces anything.

use std::time::Duration;

use idem_core::{Announced, Announcements, RecordId, Written};
use tokio::time::timeout;

use super::subject::{LEASE, Subject, Write, claim, id, just_after, resolutions, won};

fn announcements_of(s: &Subject) -> Announcements {
    s.store.announcements().expect("this store is to announce endings")
}

/// The next record of which the ending is announced.
async fn next(announcements: &mut Announcements) -> [u8; 32] {
    let ended = async {
        loop {
            if let Announced::Ended(digest) = announcements.next().await {
                return digest;
            }
        }
    };
    timeout(Duration::from_mins(1), ended).await.expect("an ending is announced")
}

async fn until(announcements: &mut Announcements, id: &RecordId) {
    while next(announcements).await != *id.digest() {}
}

/// Ends executions until both servers hear of it: from then on they hear everything.
async fn both(s: &Subject, other: &Subject) -> [Announcements; 2] {
    let [mut here, mut there] = [announcements_of(s), announcements_of(other)];
    for attempt in 0.. {
        let claim = claim(&id(&format!("attempt {attempt}")), "a");
        won(s.claim(&claim).await);
        assert_eq!(s.complete(&claim.owner, "answer").await, Written::Accepted);
        let id = &claim.owner.id;
        let heard = async { tokio::join!(until(&mut here, id), until(&mut there, id)) };
        if timeout(Duration::from_millis(500), heard).await.is_ok() {
            break;
        }
    }
    [here, there]
}

async fn heard_by(both: &mut [Announcements; 2], id: &RecordId) {
    for announcements in both {
        assert_eq!(next(announcements).await, *id.digest());
    }
}

/// Whatever ends an execution, every server hears of it once it can be seen.
pub async fn every_ending_is_announced_to_every_server(s: Subject) {
    let other = s.reopened().await;
    let mut both = both(&s, &other).await;
    for write in Write::ALL.into_iter().filter(|it| *it != Write::Renew) {
        let claim = claim(&id(&format!("{write:?}")), "a");
        won(s.claim(&claim).await);
        assert_eq!(s.write(write, &claim.owner).await.expect("it is written"), Written::Accepted);
        heard_by(&mut both, &claim.owner.id).await;
        let ids = [claim.owner.id];
        assert_eq!(other.not_in_flight(&ids).await, ids);
    }
    for (number, resolution) in resolutions().into_iter().enumerate() {
        let claim = claim(&id(&format!("resolved {number}")), "a");
        won(s.claim(&claim).await);
        assert_eq!(s.hold(&claim.owner).await, Written::Accepted);
        heard_by(&mut both, &claim.owner.id).await;
        assert_eq!(s.resolve(&claim.owner, &resolution).await, Written::Accepted);
        heard_by(&mut both, &claim.owner.id).await;
    }
}

/// What ended nothing is not announced.
pub async fn nothing_but_endings_is_announced(s: Subject) {
    let other = s.reopened().await;
    let mut both = both(&s, &other).await;
    let late = claim(&id("taken over"), "a");
    won(s.claim(&late).await);
    assert_eq!(s.renew(&late.owner).await, Written::Accepted);
    s.elapse(just_after(LEASE)).await;
    let current = claim(&id("taken over"), "a");
    won(s.claim(&current).await);
    for write in Write::ALL {
        assert_eq!(s.write(write, &late.owner).await.expect("an answer"), Written::Stale);
    }
    for resolution in resolutions() {
        assert_eq!(s.resolve(&current.owner, &resolution).await, Written::Stale);
    }
    let last = claim(&id("last"), "a");
    won(s.claim(&last).await);
    assert_eq!(s.complete(&last.owner, "answer").await, Written::Accepted);
    heard_by(&mut both, &last.owner.id).await;
}
