//! Admission: one claim of a record at a time, and waiting for what somebody else executes.

use std::{error::Error, future::Future, sync::Arc};

use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    awaited::{LookedAfter, Polling},
    engine::{Engine, GuardedRequest},
    record::RecordId,
    running::{Entered, Gate, News, Waiting},
    store::Claimed,
};

/// What the store says to a request.
pub(crate) enum Verdict<T> {
    /// It runs, with this.
    Won(T),
    /// Any verdict but that it is won.
    Refused(Claimed),
}

/// What becomes of a request.
pub(crate) enum Admitted<T> {
    /// It runs, once others know.
    Won(Gate, T),
    /// It does not run.
    Refused(Claimed),
}

impl Engine {
    /// Asks the store about the record, one request at a time, and again whenever it may have
    /// changed if the endpoint lets its duplicates wait. `ask` is given the time by which it has to
    /// have an answer.
    ///
    /// # Errors
    ///
    /// Those of `ask`.
    pub(crate) async fn admit<T, E, Fut>(
        self: &Arc<Self>,
        request: &GuardedRequest,
        mut ask: impl FnMut(Instant) -> Fut,
    ) -> Result<Admitted<T>, E>
    where
        Fut: Future<Output = Result<Verdict<T>, E>>,
    {
        let patience = request.endpoint.patience(&self.defaults);
        let until = patience.map(|it| Instant::now() + it);
        let mut has_waited = false;
        loop {
            // Whoever is ahead of us gives up before we have to.
            let deadline = Instant::now() + self.store.timeout;
            let gate = match self.running.enter(&request.id).await {
                Entered::Gate(gate) => gate,
                Entered::Executing(other, _) if other != request.fingerprint => {
                    return Ok(Admitted::Refused(Claimed::Mismatch));
                }
                Entered::Executing(_, waiting) => {
                    match wait(waiting, request, until).await {
                        Some(News::MayClaim) => has_waited = true,
                        news => return Ok(Admitted::Refused(told(news))),
                    }
                    continue;
                }
            };
            let refused = match ask(deadline).await {
                Ok(Verdict::Won(won)) => return Ok(Admitted::Won(gate, won)),
                Ok(Verdict::Refused(refused)) => refused,
                Err(error) => {
                    if has_waited {
                        gate.pass_on();
                    }
                    return Err(error);
                }
            };
            if let Claimed::Completed(answer) = &refused {
                gate.publish(request.fingerprint, answer);
            } else if refused == Claimed::InFlight && until.is_some() {
                let waiting = gate.wait();
                let _looked_after = self.look_after(&request.id);
                match wait(waiting, request, until).await {
                    Some(News::MayClaim) => has_waited = true,
                    news => return Ok(Admitted::Refused(told(news))),
                }
                continue;
            } else if has_waited {
                gate.pass_on();
            }
            return Ok(Admitted::Refused(refused));
        }
    }

    /// Has a record polled for as long as the value is there.
    fn look_after<'a>(self: &'a Arc<Self>, id: &'a RecordId) -> LookedAfter<'a> {
        let (looked_after, polling) = self.awaited.look_after(id);
        if polling == Polling::ToBegin {
            self.tasks.spawn(Arc::clone(self).poll());
        }
        looked_after
    }

    /// Reads all awaited records in one query, again and again, until nobody waits.
    async fn poll(self: Arc<Self>) {
        loop {
            sleep(self.defaults.poll_interval).await;
            let Some(ids) = self.awaited.ids() else { return };
            match self.store.within(self.store.store.not_in_flight(&ids)).await {
                Ok(ids) => ids.iter().for_each(|id| self.running.let_one_claim(id)),
                Err(error) => {
                    let error = &error as &dyn Error;
                    tracing::warn!(error, "records that requests wait for could not be read");
                }
            }
        }
    }
}

/// Waits for news of a record, if the endpoint lets its duplicates wait; `None` when there are none
/// in time.
async fn wait(
    mut waiting: Waiting,
    request: &GuardedRequest,
    until: Option<Instant>,
) -> Option<News> {
    timeout_at(until?, waiting.news(request.fingerprint)).await.ok()
}

fn told(news: Option<News>) -> Claimed {
    match news {
        Some(News::Answered(answer)) => Claimed::Completed(answer),
        Some(News::MayClaim) | None => Claimed::InFlight,
    }
}
