//! Listening to the store: who waits learns at once what has ended in another process.

use std::sync::{Arc, Weak};

use tokio_util::task::TaskTracker;

use crate::{
    announcer::{Announced, Announcements},
    engine::Engine,
    store::Store,
};

impl Engine {
    /// Listens from now on, if the store announces anything. Whoever asks the store afterwards and
    /// is told that an execution goes on will hear of its end.
    pub(crate) fn listen(self: &Arc<Self>) {
        self.listening.call_once(|| {
            if let Some(announcements) = self.store.store.announcements() {
                tokio::spawn(listen(announcements, Arc::downgrade(self), self.tasks.clone()));
            }
        });
    }
}

/// Until the engine is drained, or gone.
async fn listen(mut announcements: Announcements, engine: Weak<Engine>, tasks: TaskTracker) {
    loop {
        let announced = tokio::select! {
            it = announcements.next() => it,
            () = tasks.wait() => return,
        };
        let Some(engine) = engine.upgrade() else { return };
        match announced {
            Announced::Ended(digest) => engine.running.let_one_claim(&digest),
            Announced::Lost => engine.awaited.look_now(),
        }
    }
}
