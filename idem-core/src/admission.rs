//! Admission: one claim of a record at a time, and waiting for what somebody else executes.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::{
    awaited::{LookedAfter, Polling},
    engine::{Engine, GuardedRequest},
    observe::{self, Call, Outcome},
    record::RecordId,
    running::{Birth, Entered, Executing, News, Waiting},
    store::{After, Claimed, Judged},
};

/// How long those who wait do not ask the store again at most after it could not answer.
const AFTER_A_FAILURE: Duration = Duration::from_secs(1);

/// What the store says to a request.
pub(crate) enum Verdict<T> {
    /// It runs, with this.
    Won { won: T, after: After, age: Duration },
    /// Any verdict but that it is won.
    Refused(Judged),
}

/// What becomes of a request.
pub(crate) enum Admitted<T> {
    /// It runs, and others know.
    Won(Executing, T),
    /// It does not run.
    Refused(Judged),
}

/// How long a request waits.
struct Patience {
    /// `None`: not at all.
    until: Option<Instant>,
    /// When it began to.
    since: Option<Instant>,
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
        ask: impl FnMut(Instant) -> Fut,
    ) -> Result<Admitted<T>, E>
    where
        Fut: Future<Output = Result<Verdict<T>, E>>,
    {
        let patience = request.endpoint.patience(&self.defaults);
        let until = patience.map(|it| Instant::now() + it);
        if until.is_some() {
            self.listen();
        }
        let mut patience = Patience { until, since: None };
        let admitted = self.admit_patiently(request, ask, &mut patience).await;
        if let Some(since) = patience.since {
            let (outcome, age) = match &admitted {
                Ok(Admitted::Won(executing, _)) => (Outcome::Executed, Some(executing.birth.age())),
                Ok(Admitted::Refused(refused)) => (Outcome::from(&refused.claimed), refused.age),
                Err(_) => (Outcome::StoreUnavailable, None),
            };
            observe::waited(&request.id, outcome, age, since.elapsed());
        }
        admitted
    }

    async fn admit_patiently<T, E, Fut>(
        self: &Arc<Self>,
        request: &GuardedRequest,
        mut ask: impl FnMut(Instant) -> Fut,
        patience: &mut Patience,
    ) -> Result<Admitted<T>, E>
    where
        Fut: Future<Output = Result<Verdict<T>, E>>,
    {
        loop {
            // Whoever is ahead of us gives up before we have to.
            let deadline = Instant::now() + self.store.timeout;
            let gate = match self.running.enter(&request.id).await {
                Entered::Gate(gate) => gate,
                Entered::Executing(other, birth, _) if other != request.fingerprint => {
                    let age = Some(birth.age());
                    return Ok(Admitted::Refused(Judged::new(Claimed::Mismatch, age)));
                }
                Entered::Executing(_, birth, waiting) => {
                    match patience.wait(waiting, request).await {
                        Some(News::MayClaim) => continue,
                        news => return Ok(told(news, Some(birth))),
                    }
                }
            };
            let may_join = patience.until.is_some() && !patience.has_waited();
            let known = may_join.then(|| gate.elsewhere(request.fingerprint)).flatten();
            let asked = match known {
                Some(judged) => Ok(Verdict::Refused(judged)),
                None => ask(deadline).await,
            };
            let refused = match asked {
                Ok(Verdict::Won { won, after, age }) => {
                    if after == After::Lapse {
                        observe::answered(&request.id, Outcome::TakenOver, Some(age));
                    }
                    return Ok(Admitted::Won(gate.execute(request.fingerprint, age), won));
                }
                Ok(Verdict::Refused(refused)) => refused,
                Err(error) => {
                    if patience.has_waited() {
                        gate.pass_on();
                    }
                    return Err(error);
                }
            };
            if let Claimed::Completed(answer) = &refused.claimed {
                gate.publish(request.fingerprint, answer);
            } else if refused.claimed == Claimed::InFlight && patience.until.is_some() {
                let birth = refused.age.map(Birth::of);
                let waiting = gate.wait(request.fingerprint, birth);
                let _looked_after = self.look_after(&request.id);
                match patience.wait(waiting, request).await {
                    Some(News::MayClaim) => continue,
                    news => return Ok(told(news, birth)),
                }
            } else if patience.has_waited() {
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
        let interval = self.defaults.poll_interval;
        let mut pause = interval;
        loop {
            self.awaited.pause(pause).await;
            let Some(ids) = self.awaited.ids() else { return };
            pause = match self
                .store
                .within(Call::NotInFlight, self.store.store.not_in_flight(&ids))
                .await
            {
                Ok(ids) => {
                    for id in &ids {
                        self.running.let_one_claim(id.digest());
                    }
                    interval
                }
                Err(error) => {
                    let error = &error as &dyn Error;
                    tracing::warn!(error, "records that requests wait for could not be read");
                    // There may have been a reason to ask now.
                    interval.min(AFTER_A_FAILURE)
                }
            };
        }
    }
}

impl Patience {
    /// Waits for news of a record, if the endpoint lets its duplicates wait; `None` when there are
    /// none in time.
    async fn wait(&mut self, mut waiting: Waiting, request: &GuardedRequest) -> Option<News> {
        let until = self.until?;
        self.since.get_or_insert_with(Instant::now);
        timeout_at(until, waiting.news(request.fingerprint)).await.ok()
    }

    const fn has_waited(&self) -> bool {
        self.since.is_some()
    }
}

fn told<T>(news: Option<News>, birth: Option<Birth>) -> Admitted<T> {
    let claimed = match news {
        Some(News::Answered(answer)) => Claimed::Completed(answer),
        Some(News::MayClaim) | None => Claimed::InFlight,
    };
    Admitted::Refused(Judged::new(claimed, birth.map(Birth::age)))
}
