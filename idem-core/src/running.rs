//! The executions of this process, by record: one claim at a time, and no takeover of what is alive.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::OwnedMutexGuard;

use crate::{fingerprint::Fingerprint, record::RecordId, sync::lock};

/// Which records are being claimed or executed by this engine.
///
/// The store decides between processes. Within one, this table answers duplicates of a running
/// execution without asking the store, sends one claim of a record at a time, and keeps a lease
/// that lapsed under a living execution from being taken over by its own process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running(Arc<Mutex<HashMap<RecordId, Arc<Slot>>>>);

#[derive(Debug, Default)]
struct Slot {
    gate: Arc<tokio::sync::Mutex<()>>,
    executing: Mutex<Option<Fingerprint>>,
}

/// What [`Running::enter`] found.
pub(crate) enum Entered {
    /// This process executes the record, for a request of this fingerprint.
    Executing(Fingerprint),
    /// The caller may ask the store; others wait until it has.
    Gate(Gate),
}

/// The right to claim a record.
pub(crate) struct Gate {
    slot: SlotRef,
    _permit: OwnedMutexGuard<()>,
}

/// Marks a record as executed by this process until it is dropped.
#[must_use]
pub(crate) struct Executing(SlotRef);

struct SlotRef {
    table: Running,
    id: RecordId,
    slot: Arc<Slot>,
}

impl Running {
    pub(crate) async fn enter(&self, id: &RecordId) -> Entered {
        let slot = Arc::clone(self.table().entry(id.clone()).or_default());
        let slot = SlotRef { table: self.clone(), id: id.clone(), slot };
        let permit = Arc::clone(&slot.slot.gate).lock_owned().await;
        let executing = *lock(&slot.slot.executing);
        match executing {
            Some(fingerprint) => Entered::Executing(fingerprint),
            None => Entered::Gate(Gate { slot, _permit: permit }),
        }
    }

    /// Whether this process executes the record.
    pub(crate) fn executes(&self, id: &RecordId) -> bool {
        self.table().get(id).is_some_and(|slot| lock(&slot.executing).is_some())
    }

    fn table(&self) -> MutexGuard<'_, HashMap<RecordId, Arc<Slot>>> {
        lock(&self.0)
    }
}

impl Gate {
    /// The claim was won: lets the others through, to learn that the record is being executed.
    pub(crate) fn execute(self, fingerprint: Fingerprint) -> Executing {
        *lock(&self.slot.slot.executing) = Some(fingerprint);
        Executing(self.slot)
    }
}

impl Drop for Executing {
    fn drop(&mut self) {
        *lock(&self.0.slot.executing) = None;
    }
}

impl Drop for SlotRef {
    fn drop(&mut self) {
        let mut table = self.table.table();
        // References are made and dropped under the lock that we hold, so that exactly one of those
        // who leave at once is the last.
        self.slot = Arc::default();
        if table.get(&self.id).is_some_and(|slot| Arc::strong_count(slot) == 1) {
            table.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{fingerprint, record_id};

    #[tokio::test]
    async fn the_second_waits_for_the_claim_and_sees_the_execution() {
        let running = Running::default();
        let id = record_id("k");
        let Entered::Gate(gate) = running.enter(&id).await else { panic!("nobody is here") };
        let second = tokio::spawn({
            let (running, id) = (running.clone(), id.clone());
            async move { matches!(running.enter(&id).await, Entered::Executing(_)) }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        let executing = gate.execute(fingerprint("a"));
        assert!(second.await.expect("joins"));
        drop(executing);
        assert!(matches!(running.enter(&id).await, Entered::Gate(_)));
        assert!(running.table().is_empty(), "nothing is left behind");
    }

    #[test]
    fn those_who_leave_at_once_leave_nothing_behind() {
        let running = Running::default();
        let id = record_id("k");
        for _ in 0..2_000 {
            let slot = Arc::clone(running.table().entry(id.clone()).or_default());
            let leave = || SlotRef { table: running.clone(), id: id.clone(), slot: slot.clone() };
            let (one, other) = (leave(), leave());
            drop(slot);
            let start = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                for leaving in [one, other] {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        drop(leaving);
                    });
                }
            });
            assert!(running.table().is_empty());
        }
    }
}
