//! Announcements of executions that have ended: from a store to the engines of its process.

use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};

/// How far an engine may be behind before it loses announcements.
const CAPACITY: usize = 1024;

/// What a store announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// The execution of the record with this [digest](crate::RecordId::digest) has ended, in
    /// whatever process: its record can be seen, or can be claimed.
    Ended([u8; 32]),
    /// Announcements may have been lost: any execution may have ended.
    Lost,
}

/// Hands what a store learns from its server about ended executions to the engines of this process:
/// for stores that implement [`Store::announcements`](crate::Store::announcements).
///
/// Clones are the same announcer.
///
/// ```
/// use idem_core::{Announced, Announcer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let announcer = Announcer::new();
/// let mut announcements = announcer.announcements();
/// announcer.announce(Announced::Ended([7; 32]));
/// assert_eq!(announcements.next().await, Announced::Ended([7; 32]));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Announcer(Sender<Announced>);

impl Announcer {
    /// An announcer to whom nobody listens yet.
    pub fn new() -> Self {
        Self(Sender::new(CAPACITY))
    }

    /// Tells everybody who listens. It waits for nobody: who is too far behind hears
    /// [`Announced::Lost`] instead.
    pub fn announce(&self, announced: Announced) {
        // An error says that nobody listens.
        let _ = self.0.send(announced);
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.0.receiver_count()
    }

    /// Waits until nobody listens: at once if nobody does. What a store does only in order to hear
    /// may end then.
    pub async fn deserted(&self) {
        self.0.closed().await;
    }

    /// What is announced from now on.
    pub fn announcements(&self) -> Announcements {
        Announcements { of_one: self.0.subscribe(), of_others: None }
    }
}

impl Default for Announcer {
    fn default() -> Self {
        Self::new()
    }
}

/// What a store announces, from the moment on when it was asked for it.
#[derive(Debug)]
pub struct Announcements {
    of_one: Receiver<Announced>,
    of_others: Option<Box<Announcements>>,
}

impl Announcements {
    /// Waits for the next announcement; forever when there is no store any more. It may be dropped
    /// at any time and loses nothing.
    pub async fn next(&mut self) -> Announced {
        let of_others = async {
            match &mut self.of_others {
                Some(others) => Box::pin(others.next()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            announced = next_of(&mut self.of_one) => announced,
            announced = of_others => announced,
        }
    }

    /// What either of two stores announces.
    pub(crate) fn and(self, other: Self) -> Self {
        let others = match self.of_others {
            Some(others) => others.and(other),
            None => other,
        };
        Self { of_one: self.of_one, of_others: Some(Box::new(others)) }
    }
}

async fn next_of(receiver: &mut Receiver<Announced>) -> Announced {
    match receiver.recv().await {
        Ok(announced) => announced,
        Err(RecvError::Lagged(_)) => Announced::Lost,
        Err(RecvError::Closed) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn it_is_deserted_while_nobody_listens() {
        let announcer = Announcer::new();
        announcer.deserted().await;
        for _ in 0..2 {
            let [one, other] = [announcer.announcements(), announcer.clone().announcements()];
            assert_eq!(announcer.listeners(), 2);
            drop(one);
            let waited = timeout(Duration::from_millis(10), announcer.deserted()).await;
            assert!(waited.is_err(), "somebody listens");
            drop(other);
            assert_eq!(announcer.listeners(), 0);
            announcer.deserted().await;
        }
    }

    #[tokio::test]
    async fn who_is_too_far_behind_learns_that_something_was_lost() {
        let announcer = Announcer::new();
        let mut announcements = announcer.announcements();
        for _ in 0..=CAPACITY {
            announcer.announce(Announced::Ended([1; 32]));
        }
        assert_eq!(announcements.next().await, Announced::Lost);
        assert_eq!(announcements.next().await, Announced::Ended([1; 32]));
    }
}
