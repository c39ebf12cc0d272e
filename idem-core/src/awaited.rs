//! The records that requests of this process wait for while another one executes them.

use std::{collections::HashMap, mem, sync::Mutex};

use crate::{record::RecordId, sync::lock};

/// Which records are to be polled.
#[derive(Debug, Default)]
pub(crate) struct Awaited(Mutex<Awaiting>);

#[derive(Debug, Default)]
struct Awaiting {
    /// By how many.
    records: HashMap<RecordId, usize>,
    is_polling: bool,
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
        let mut awaiting = lock(&self.0);
        *awaiting.records.entry(id.clone()).or_default() += 1;
        let goes = mem::replace(&mut awaiting.is_polling, true);
        let polling = if goes { Polling::Goes } else { Polling::ToBegin };
        (LookedAfter { awaited: self, id }, polling)
    }

    /// The records to poll; `None` when there are none, and whoever polls is to stop.
    pub(crate) fn ids(&self) -> Option<Vec<RecordId>> {
        let mut awaiting = lock(&self.0);
        awaiting.is_polling = !awaiting.records.is_empty();
        awaiting.is_polling.then(|| awaiting.records.keys().cloned().collect())
    }
}

impl Drop for LookedAfter<'_> {
    fn drop(&mut self) {
        let mut awaiting = lock(&self.awaited.0);
        if let Some(waiters) = awaiting.records.get_mut(self.id) {
            *waiters -= 1;
            if *waiters == 0 {
                awaiting.records.remove(self.id);
            }
        }
    }
}
