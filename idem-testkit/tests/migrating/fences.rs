//! Two sequences of fences, and lists that are sorted by them.

use idem_core::{Fence, MemoryStore, Recover, Store, Written};

use crate::support::{LEASE, Stores, TTL, claim, won};

/// Draws fences that no record of these tests gets.
async fn draw(store: &MemoryStore, number: u32) {
    for i in 0..number {
        let other = claim(&format!("drawn {i}"), Recover::Retry);
        won(store, &other).await;
        assert_eq!(store.release(&other.owner).await.unwrap(), Written::Accepted);
    }
}

async fn executed(store: &impl Store) -> Fence {
    let claim = claim("k", Recover::Retry);
    let (fence, _) = won(store, &claim).await;
    assert_eq!(store.fail(&claim.owner, TTL).await.unwrap(), Written::Accepted);
    fence
}

#[tokio::test]
async fn a_fence_grows_over_the_whole_move() {
    let stores = Stores::empty();
    draw(&stores.old, 10).await;
    let mut fences = Vec::new();
    for _ in 0..3 {
        fences.push(executed(&stores.old).await);
        fences.push(executed(&stores.both).await);
    }
    draw(&stores.new, 100).await;
    for _ in 0..3 {
        fences.push(executed(&stores.both).await);
        fences.push(executed(&stores.new).await);
    }
    assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
}

#[tokio::test]
async fn a_record_has_the_fence_that_its_execution_got() {
    for ahead in ["old", "new"] {
        let stores = Stores::empty();
        draw(if ahead == "old" { &stores.old } else { &stores.new }, 7).await;
        let claim = claim("k", Recover::Hold);
        let (fence, _) = won(&stores.both, &claim).await;
        assert_eq!(stores.both.get(&claim.owner.id).await.unwrap().unwrap().fence, fence);
        assert_eq!(stores.both.hold(&claim.owner).await.unwrap(), Written::Accepted);
        assert_eq!(stores.both.held(None, 1).await.unwrap()[0].fence, fence);
    }
}

/// Some are held in one of the stores, some in both, and the sequences cross.
#[tokio::test]
async fn pages_list_each_record_of_either_store_once() {
    let stores = Stores::empty();
    let mut expected = Vec::new();
    draw(&stores.new, 10).await;
    for i in 0..30 {
        let claim = claim(&format!("{i}"), Recover::Hold);
        let (fence, _) = match i % 3 {
            0 => won(&stores.old, &claim).await,
            1 => won(&stores.both, &claim).await,
            _ => won(&stores.new, &claim).await,
        };
        if i % 5 == 0 {
            draw(&stores.old, 4).await;
        }
        expected.push((fence, claim.owner));
    }
    stores.elapse(LEASE);
    for limit in [1, 2, 7, 30, 31] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = stores.both.held(after, limit).await.unwrap();
            // One more where the sequences drew the same fence.
            assert!(page.len() <= limit as usize + 1);
            listed.extend(page.iter().map(|it| (it.fence, it.owner())));
            let Some(last) = page.last() else { break };
            after = Some(last.fence);
        }
        assert!(listed.is_sorted_by_key(|(fence, _)| *fence), "pages of {limit}");
        let key = |(fence, owner): &(Fence, idem_core::Owner)| (*fence, *owner.id.digest());
        listed.sort_by_key(key);
        expected.sort_by_key(key);
        assert_eq!(listed, expected, "pages of {limit}");
    }
}
