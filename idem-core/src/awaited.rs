//! The records that requests of this process wait for while another one executes them.

use std::{collections::HashMap, mem, sync::Mutex, time::Duration};

use tokio::{sync::Notify, time::timeout};

use crate::{record::RecordId, sync::lock};

/// Which records are to be polled.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    awaiting: Mutex<Awaiting>,
    /// There is a reason not to pause any longer.
    stirred: Notify,
}

#[derive(Debug, Default)]
struct Awaiting {
    /// By how many.
    records: HashMap<RecordId, usize>,
    is_polling: bool,
    /// Whether to poll without a pause.
    is_urgent: bool,
}

/// Whether there is somebody who polls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Polling {
    ToBegin,
    Goes,
}

/// Has a record polled for as long as it is there.
#[must_use]
pub(crate) struct LookedAfter<'a> {
    awaited: &'a Awaited,
    id: &'a RecordId,
}

impl Awaited {
    pub(crate) fn look_after<'a>(&'a self, id: &'a RecordId) -> (LookedAfter<'a>, Polling) {
        let mut awaiting = lock(&self.awaiting);
        *awaiting.records.entry(id.clone()).or_default() += 1;
        let goes = mem::replace(&mut awaiting.is_polling, true);
        let polling = if goes { Polling::Goes } else { Polling::ToBegin };
        (LookedAfter { awaited: self, id }, polling)
    }

    /// Has the records polled at once, or as soon as there are any.
    pub(crate) fn look_now(&self) {
        lock(&self.awaiting).is_urgent = true;
        self.stirred.notify_one();
    }

    /// The pause before a poll. It ends early when that is urgent, and when nobody waits any more.
    pub(crate) async fn pause(&self, interval: Duration) {
        let reason = async {
            loop {
                self.stirred.notified().await;
                let mut awaiting = lock(&self.awaiting);
                if mem::take(&mut awaiting.is_urgent) || awaiting.records.is_empty() {
                    return;
                }
            }
        };
        // An error says that the time is over.
        let _ = timeout(interval, reason).await;
    }

    /// The records to poll; `None` when there are none, and whoever polls is to stop.
    pub(crate) fn ids(&self) -> Option<Vec<RecordId>> {
        let mut awaiting = lock(&self.awaiting);
        awaiting.is_polling = !awaiting.records.is_empty();
        awaiting.is_polling.then(|| awaiting.records.keys().cloned().collect())
    }
}

impl Drop for LookedAfter<'_> {
    fn drop(&mut self) {
        let mut awaiting = lock(&self.awaited.awaiting);
        if let Some(waiters) = awaiting.records.get_mut(self.id) {
            *waiters -= 1;
            if *waiters == 0 {
                awaiting.records.remove(self.id);
                if awaiting.records.is_empty() {
                    self.awaited.stirred.notify_one();
                }
            }
        }
    }
}
