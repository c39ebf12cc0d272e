//! What all parts of the engine share.

use std::{
    error::Error,
    fmt,
    future::Future,
    sync::{Arc, Once},
    time::Duration,
};

use http::Response;
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    awaited::Awaited,
    endpoint::{Defaults, Endpoint},
    error::StoreError,
    fingerprint::Fingerprint,
    lease::TimedStore,
    observe::{self, Call, Outcome},
    problem::{Problem, Renderer},
    record::RecordId,
    running::Running,
    store::Store,
};

/// One engine: the store, the settings, and what is going on.
pub(crate) struct Engine {
    pub(crate) store: TimedStore,
    pub(crate) defaults: Defaults,
    pub(crate) renderer: Renderer,
    pub(crate) running: Running,
    pub(crate) awaited: Awaited,
    /// Whether it has begun to listen to the store.
    pub(crate) listening: Once,
    /// Everything that has to be waited for before the process may end.
    pub(crate) tasks: TaskTracker,
    pub(crate) draining: CancellationToken,
}

/// A request that is ready to be claimed.
#[derive(Clone, Debug)]
pub struct GuardedRequest {
    /// Whose key, for which operation.
    pub id: RecordId,
    /// What it asks for.
    pub fingerprint: Fingerprint,
    /// What its endpoint demands.
    pub endpoint: &'static Endpoint,
}

/// What a request gets, and what that is called.
pub(crate) struct Answered<B> {
    pub(crate) outcome: Outcome,
    /// The record's, as far as it is known.
    pub(crate) age: Option<Duration>,
    pub(crate) answer: Result<Response<B>, Problem>,
}

impl<B> From<Problem> for Answered<B> {
    fn from(problem: Problem) -> Self {
        Self { outcome: Outcome::from(&problem), age: None, answer: Err(problem) }
    }
}

impl Engine {
    pub(crate) fn new(store: Arc<dyn Store>, defaults: Defaults, renderer: Renderer) -> Self {
        observe::describe();
        let store = TimedStore { store, timeout: defaults.store_timeout };
        Self {
            store,
            defaults,
            renderer,
            running: Running::default(),
            awaited: Awaited::default(),
            listening: Once::new(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
        }
    }

    /// Repeats a write until the store answers or the time is over. Only the first failure is a
    /// warning.
    pub(crate) async fn persist<T, Fut>(
        &self,
        call: Call,
        failure: &'static str,
        give_up_after: Duration,
        write: impl Fn() -> Fut,
    ) -> Option<T>
    where
        Fut: Future<Output = Result<T, StoreError>>,
    {
        const FIRST_PAUSE: Duration = Duration::from_millis(50);
        let deadline = Instant::now() + give_up_after;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.store.within(call, write()).await {
                Ok(value) => return Some(value),
                Err(error) => {
                    if pause == FIRST_PAUSE {
                        warn_of(&error, failure);
                    } else {
                        tracing::debug!(error = &error as &dyn Error, "{failure}");
                    }
                    if Instant::now() + pause >= deadline {
                        return None;
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
}

impl Drop for Engine {
    /// Ends those who wait for the tasks without keeping the engine.
    fn drop(&mut self) {
        self.tasks.close();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("store", &self.store.store)
            .field("defaults", &self.defaults)
            .finish_non_exhaustive()
    }
}

pub(crate) fn warn_of(error: &StoreError, message: &'static str) {
    tracing::warn!(error = error as &dyn Error, "{message}");
}
