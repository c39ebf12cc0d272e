//! The executions of this process, by record: one claim at a time, no takeover of what is alive, and
//! news for those who wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedMutexGuard, watch},
    time::Instant,
};

use crate::{
    fingerprint::Fingerprint,
    observe::InFlight,
    record::{RecordId, StoredResponse},
    store::{Claimed, Judged},
    sync::lock,
};

/// Which records are being claimed, executed or waited for by this engine.
///
/// The store decides between processes. Within one, this table answers duplicates of a running
/// execution without asking the store, sends one claim of a record at a time, and keeps a lease
/// that lapsed under a living execution from being taken over by its own process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running(Arc<Mutex<HashMap<RecordId, Arc<Slot>>>>);

#[derive(Debug)]
struct Slot {
    gate: Arc<tokio::sync::Mutex<()>>,
    executing: Mutex<Option<(Fingerprint, Birth)>>,
    /// The store said that another process executes the record, which came to be then, to a request
    /// of this fingerprint, and nothing was heard since.
    elsewhere: Mutex<Option<(Fingerprint, Option<Birth>)>>,
    /// The answer that became known last, and to what.
    answer: watch::Sender<Option<Answer>>,
    /// Somebody who waits may claim.
    turn: Notify,
}

type Answer = (Fingerprint, StoredResponse);

impl Default for Slot {
    fn default() -> Self {
        Self {
            gate: Arc::default(),
            executing: Mutex::default(),
            elsewhere: Mutex::default(),
            answer: watch::Sender::new(None),
            turn: Notify::new(),
        }
    }
}

/// When a record came to be, as far as its store has told its age.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    age: Duration,
    told_at: Instant,
}

/// What [`Running::enter`] found.
pub(crate) enum Entered {
    /// This process executes the record of this age, for a request of this fingerprint.
    Executing(Fingerprint, Birth, Waiting),
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
pub(crate) struct Executing {
    slot: SlotRef,
    pub(crate) birth: Birth,
    _in_flight: InFlight,
}

/// A place among those who wait for a record.
pub(crate) struct Waiting {
    slot: SlotRef,
    answers: watch::Receiver<Option<Answer>>,
}

/// What ends a wait.
pub(crate) enum News {
    /// The record's answer is this.
    Answered(StoredResponse),
    /// It may be claimed, by whoever is told so.
    MayClaim,
}

struct SlotRef {
    table: Running,
    id: RecordId,
    slot: Arc<Slot>,
}

impl Birth {
    pub(crate) fn of(age: Duration) -> Self {
        Self { age, told_at: Instant::now() }
    }

    pub(crate) fn age(self) -> Duration {
        self.age + self.told_at.elapsed()
    }
}

impl Running {
    pub(crate) async fn enter(&self, id: &RecordId) -> Entered {
        let slot = Arc::clone(self.table().entry(id.clone()).or_default());
        let slot = SlotRef { table: self.clone(), id: id.clone(), slot };
        let permit = Arc::clone(&slot.slot.gate).lock_owned().await;
        let executing = lock(&slot.slot.executing);
        if let Some((fingerprint, birth)) = *executing {
            // Before the execution can tell its answer, which it does under this lock.
            let answers = slot.slot.answer.subscribe();
            drop(executing);
            return Entered::Executing(fingerprint, birth, Waiting { slot, answers });
        }
        drop(executing);
        Entered::Gate(Gate { slot, _permit: permit })
    }

    /// Whether this process executes the record.
    pub(crate) fn executes(&self, id: &RecordId) -> bool {
        self.table().get(id).is_some_and(|slot| lock(&slot.executing).is_some())
    }

    /// Lets one of those who wait for the record claim it, also if it only begins to wait.
    pub(crate) fn let_one_claim(&self, digest: &[u8; 32]) {
        if let Some(slot) = self.table().get(digest) {
            *lock(&slot.elsewhere) = None;
            slot.turn.notify_one();
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<RecordId, Arc<Slot>>> {
        lock(&self.0)
    }
}

impl Gate {
    /// The claim was won: lets the others through, to learn that the record of this age is being
    /// executed.
    pub(crate) fn execute(self, fingerprint: Fingerprint, age: Duration) -> Executing {
        let birth = Birth::of(age);
        *lock(&self.slot.slot.elsewhere) = None;
        *lock(&self.slot.slot.executing) = Some((fingerprint, birth));
        let in_flight = InFlight::of(self.slot.id.operation());
        Executing { slot: self.slot, birth, _in_flight: in_flight }
    }

    /// What the store would say to a request of this fingerprint, if it has said to somebody who
    /// makes the same request and still waits that another process executes the record.
    pub(crate) fn elsewhere(&self, fingerprint: Fingerprint) -> Option<Judged> {
        let slot = &self.slot.slot;
        let (told, birth) = (*lock(&slot.elsewhere))?;
        let age = birth.map(Birth::age);
        let still_waits = slot.answer.receiver_count() > 0;
        (still_waits && told == fingerprint).then_some(Judged::new(Claimed::InFlight, age))
    }

    /// Somebody else executes the record, which came to be then: lets the others through, and waits
    /// with them.
    pub(crate) fn wait(self, fingerprint: Fingerprint, birth: Option<Birth>) -> Waiting {
        *lock(&self.slot.slot.elsewhere) = Some((fingerprint, birth));
        let answers = self.slot.slot.answer.subscribe();
        Waiting { slot: self.slot, answers }
    }

    /// Tells those who wait the answer of the record.
    pub(crate) fn publish(&self, fingerprint: Fingerprint, answer: &StoredResponse) {
        *lock(&self.slot.slot.elsewhere) = None;
        self.slot.slot.answer.send_replace(Some((fingerprint, answer.clone())));
    }

    /// Lets the next one of those who wait claim the record.
    pub(crate) fn pass_on(self) {
        *lock(&self.slot.slot.elsewhere) = None;
        self.slot.slot.turn.notify_one();
    }
}

impl Executing {
    /// The record is completed: tells those who wait its answer.
    pub(crate) fn publish(&self, answer: &StoredResponse) {
        let slot = &self.slot.slot;
        if let Some((fingerprint, _)) = lock(&slot.executing).take() {
            slot.answer.send_replace(Some((fingerprint, answer.clone())));
        }
    }
}

impl Drop for Executing {
    fn drop(&mut self) {
        let was_executing = lock(&self.slot.slot.executing).take().is_some();
        if was_executing {
            // Without an answer: somebody may take over.
            self.slot.slot.turn.notify_one();
        }
    }
}

impl Waiting {
    /// What becomes known first about the record, for a request of this fingerprint.
    pub(crate) async fn news(&mut self, fingerprint: Fingerprint) -> News {
        tokio::select! {
            biased;
            _ = self.answers.changed() => match &*self.answers.borrow_and_update() {
                Some((answered, answer)) if *answered == fingerprint => {
                    News::Answered(answer.clone())
                }
                _ => News::MayClaim,
            },
            () = self.slot.slot.turn.notified() => News::MayClaim,
        }
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
            async move { matches!(running.enter(&id).await, Entered::Executing(..)) }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        let executing = gate.execute(fingerprint("a"), Duration::ZERO);
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
