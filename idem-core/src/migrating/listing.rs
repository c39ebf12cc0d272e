//! Held records of both stores, by the fence that their executions got.

use std::{collections::HashMap, time::Duration};

use super::Migrating;
use crate::{
    error::StoreError,
    record::{Fence, Held, Record, RecordId, State},
    store::Resolution,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Old,
    New,
}

/// The list of one of the stores, as far as it was read.
struct List {
    side: Side,
    read_to: Option<Fence>,
    is_read: bool,
}

impl Migrating {
    /// Reads both lists, and always on from where less was read, until it is known what the first
    /// records are. An execution got the greater one of two fences: so a record that one list has is
    /// in its place only when the other one was read as far.
    pub(super) async fn held_in_either(
        &self,
        after: Option<Fence>,
        limit: u32,
    ) -> Result<Vec<Held>, StoreError> {
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut lists =
            [Side::Old, Side::New].map(|side| List { side, read_to: after, is_read: wanted == 0 });
        let mut found: HashMap<RecordId, Held> = HashMap::new();
        loop {
            let behind = lists.iter_mut().filter(|it| !it.is_read).min_by_key(|it| it.read_to);
            let bound = behind.as_ref().map(|it| it.read_to);
            let is_known = |held: &&Held| bound.is_none_or(|bound| Some(held.fence) <= bound);
            let enough = found.values().filter(is_known).count() >= wanted;
            let Some(list) = behind.filter(|_| !enough) else {
                let mut page: Vec<_> = found.values().filter(is_known).cloned().collect();
                page.sort_unstable_by_key(|held| held.fence);
                // Two sequences may have drawn the same fence, after which the next page begins.
                let end = page.get(wanted.saturating_sub(1)).map(|last| last.fence);
                page.retain(|held| end.is_none_or(|end| held.fence <= end));
                return Ok(page);
            };
            let store = match list.side {
                Side::Old => &self.old,
                Side::New => &self.new,
            };
            let page = store.held(list.read_to, limit).await?;
            list.read_to = page.last().map(|held| held.fence).or(list.read_to);
            list.is_read = page.len() < wanted;
            for held in page {
                if let Some(held) = self.held_here(held, list.side).await?
                    && Some(held.fence) > after
                {
                    found.entry(held.id.clone()).or_insert(held);
                }
            }
        }
    }

    /// A record that one of the stores holds, unless a claim would find something else.
    async fn held_here(&self, held: Held, side: Side) -> Result<Option<Held>, StoreError> {
        let other = match side {
            Side::Old => self.new.get(&held.id).await,
            Side::New => self.old.get(&held.id).await,
        };
        let other = match other {
            Ok(Some(other)) => other,
            Ok(None) => return Ok(Some(held)),
            Err(StoreError::UnknownVersion(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_held = match side {
            Side::Old => !has_ended(&held, &other),
            Side::New => self.is_left_to_new(&held, &other).await?,
        };
        Ok(is_held.then(|| merged(held, &other)))
    }

    /// Whether the old store lets the new one decide.
    async fn is_left_to_new(&self, held: &Held, old: &Record) -> Result<bool, StoreError> {
        Ok(match old.state {
            State::Failed => true,
            State::Held => old.attempt == held.attempt_id,
            State::Completed => false,
            State::InFlight => {
                let id = std::slice::from_ref(&held.id);
                !self.old.not_in_flight(id).await?.is_empty()
            }
        })
    }
}

/// Whether the new store says how an execution has ended that the old one holds.
fn has_ended(held: &Held, new: &Record) -> bool {
    let ttl = Duration::ZERO;
    let resolution = match (new.state, &new.response) {
        (State::Completed, Some(response)) => {
            Resolution::Completed { response: response.clone(), ttl }
        }
        (State::Failed, _) => Resolution::Failed { ttl },
        _ => return false,
    };
    [held.attempt_id, resolution.attempt_after(held.attempt_id)].contains(&new.attempt)
}

/// What is known of an execution that both stores have.
fn merged(mut held: Held, other: &Record) -> Held {
    if other.attempt == held.attempt_id {
        held.fence = held.fence.max(other.fence);
        held.number = held.number.max(other.number);
    }
    held
}
