//! The connections that operations share.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::link::Link;

/// Connections for operations of one kind.
pub(crate) enum Lane {
    /// One that all use at the same time.
    Shared(Box<Link>),
    /// Several that are used by one operation at a time each, because `WAIT` blocks them.
    Exclusive { links: Vec<Link>, idle: Mutex<Vec<usize>>, turns: Semaphore },
}

/// A connection to be used now.
pub(crate) struct Place<'a> {
    pub(crate) link: &'a Link,
    _turn: Option<Turn<'a>>,
}

struct Turn<'a> {
    index: usize,
    idle: &'a Mutex<Vec<usize>>,
    /// Given back after the index is.
    _permit: SemaphorePermit<'a>,
}

impl Lane {
    pub(crate) fn exclusive(links: Vec<Link>) -> Self {
        let turns = Semaphore::new(links.len());
        Self::Exclusive { idle: Mutex::new((0..links.len()).collect()), links, turns }
    }

    /// Waits until a connection is free.
    pub(crate) async fn place(&self) -> Place<'_> {
        match self {
            Self::Shared(link) => Place { link, _turn: None },
            Self::Exclusive { links, idle, turns } => {
                let permit = turns.acquire().await.expect("it is never closed");
                let index = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let index = index.expect("as many are idle as there are permits");
                let turn = Turn { index, idle, _permit: permit };
                Place { link: &links[index], _turn: Some(turn) }
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
    }
}
