//! Kills services, or stops their database server, at random moments.

use std::time::Duration;

use fastrand::Rng;
use futures_util::future::try_join_all;
use idem_testkit::PostgresServer;
use tokio::{sync::watch, task::block_in_place, time::sleep};

use super::{
    plan::{Plan, Round},
    service::{Program, Running, SERVICES, Services},
};
use crate::process::Result;

pub(super) struct Killer<'a> {
    pub(super) program: &'a Program,
    pub(super) server: Option<&'a PostgresServer>,
    pub(super) services: &'a watch::Sender<Services>,
    pub(super) rng: Rng,
}

impl Killer<'_> {
    /// Kills and stops as planned, and leaves all services running.
    pub(super) async fn run(mut self, mut plan: Plan) -> Result<Vec<Running>> {
        let mut running = Vec::new();
        for service in 0..SERVICES {
            // One after the other: the first one makes the tables.
            running.push(self.start(service).await?);
        }
        while let Some(round) = plan.draw(&mut self.rng) {
            sleep(Duration::from_micros(self.rng.u64(5_000..90_000))).await;
            self.play(round, &mut running).await?;
            let left = plan.left();
            if left.is_multiple_of(500) && left > 0 {
                println!("{left} kills and stops to go");
            }
        }
        self.services.send_modify(|it| it.left = true);
        Ok(running)
    }

    async fn play(&mut self, round: Round, running: &mut [Running]) -> Result {
        match self.server {
            Some(server) if round.stop => {
                // Before the server stops, while it is down, or when it is just back.
                let moment = self.rng.u8(..3);
                block_in_place(|| {
                    self.kill_at(moment == 0, round, running)?;
                    server.stop();
                    self.kill_at(moment == 1, round, running)?;
                    server.restart();
                    self.kill_at(moment == 2, round, running)
                })?;
            }
            _ => self.kill_at(true, round, running)?,
        }
        let mut starts = Vec::new();
        for service in round.victims() {
            running[service].ended().await?;
            starts.push((service, Duration::from_millis(self.rng.u64(..4))));
        }
        let this = &*self;
        let started = starts.iter().map(async |&(service, delay)| {
            Result::Ok((service, this.start_with(service, delay).await?))
        });
        for (service, it) in try_join_all(started).await? {
            running[service] = it;
        }
        Ok(())
    }

    /// Kills all victims at once.
    fn kill_at(&self, is_moment: bool, round: Round, running: &mut [Running]) -> Result {
        if is_moment {
            for service in round.victims() {
                running[service].kill()?;
            }
            self.services.send_modify(|it| round.victims().for_each(|service| it.down(service)));
        }
        Ok(())
    }

    async fn start(&mut self, service: usize) -> Result<Running> {
        let delay = Duration::from_millis(self.rng.u64(..4));
        self.start_with(service, delay).await
    }

    async fn start_with(&self, service: usize, delay: Duration) -> Result<Running> {
        let running = self.program.start(delay).await?;
        self.services.send_modify(|it| it.up(service, &running.url));
        Ok(running)
    }
}
