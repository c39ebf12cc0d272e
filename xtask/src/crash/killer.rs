//! Kills the service, or stops its database server, at random moments.

use std::time::Duration;

use fastrand::Rng;
use idem_testkit::PostgresServer;
use tokio::{sync::watch, task::block_in_place, time::sleep};

use super::service::{Program, Running};
use crate::process::Result;

/// What the clients know of the service.
pub(super) enum Service {
    Down,
    /// At this URL.
    Up(String),
    /// At this URL, and it will not be killed any more.
    Left(String),
}

impl Service {
    pub(super) fn url(&self) -> Option<&str> {
        match self {
            Self::Down => None,
            Self::Up(url) | Self::Left(url) => Some(url),
        }
    }
}

pub(super) struct Killer<'a> {
    pub(super) program: &'a Program,
    pub(super) server: Option<&'a PostgresServer>,
    pub(super) service: &'a watch::Sender<Service>,
    pub(super) rng: Rng,
}

impl Killer<'_> {
    /// Kills and stops this often, in any order, and leaves the service running.
    pub(super) async fn run(mut self, kills: u32, stops: u32) -> Result<Running> {
        let (mut kills, mut stops) = (kills, stops);
        let mut running = self.start().await?;
        while kills + stops > 0 {
            sleep(Duration::from_micros(self.rng.u64(5_000..150_000))).await;
            if self.rng.u32(..kills + stops) < kills {
                kills -= 1;
                running.kill().await?;
                self.service.send_replace(Service::Down);
                running = self.start().await?;
            } else {
                stops -= 1;
                self.stop_and_restart_the_server();
            }
            let left = kills + stops;
            if left.is_multiple_of(500) && left > 0 {
                println!("{left} rounds to go");
            }
        }
        self.service.send_replace(Service::Left(running.url.clone()));
        Ok(running)
    }

    async fn start(&mut self) -> Result<Running> {
        let delay = Duration::from_millis(self.rng.u64(..4));
        let running = self.program.start(delay).await?;
        self.service.send_replace(Service::Up(running.url.clone()));
        Ok(running)
    }

    fn stop_and_restart_the_server(&self) {
        if let Some(server) = self.server {
            block_in_place(|| {
                server.stop();
                server.restart();
            });
        }
    }
}
