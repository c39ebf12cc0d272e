//! A connection that is made behind the backs of those who need it.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use idem_core::CacheError;
use redis::RedisError;

use crate::{
    clock::Clocks,
    server::{Connection, Server},
};

/// One connection for all. It is made when it is first needed, and again when it was discarded: in a
/// task of its own, so that nobody who gives up keeps it from being made.
pub(crate) struct Standing {
    server: Server,
    state: Mutex<State>,
}

struct State {
    /// Of the last connection that was made or is being made.
    number: u64,
    progress: Progress,
}

enum Progress {
    Idle,
    Making(Making),
    Made(Connection, Clocks),
}

type Making = Shared<BoxFuture<'static, Result<Connection, Arc<RedisError>>>>;

/// A connection, and what the servers' clocks said on it: another one may lead to another server.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) connection: Connection,
    pub(crate) clocks: Clocks,
    number: u64,
}

impl Standing {
    pub(crate) const fn to(server: Server) -> Self {
        let state = Mutex::new(State { number: 0, progress: Progress::Idle });
        Self { server, state }
    }

    /// The connection; waits for one that is being made. May be dropped.
    pub(crate) async fn connection(&self) -> Result<Made, CacheError> {
        let (number, making) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match &state.progress {
                Progress::Made(connection, clocks) => {
                    let (connection, clocks) = (connection.clone(), clocks.clone());
                    return Ok(Made { connection, clocks, number: state.number });
                }
                Progress::Making(making) => (state.number, making.clone()),
                Progress::Idle => {
                    let making = self.make();
                    state.number += 1;
                    state.progress = Progress::Making(making.clone());
                    (state.number, making)
                }
            }
        };
        let made = making.await;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first_to_know =
            state.number == number && matches!(state.progress, Progress::Making(_));
        match made {
            Ok(connection) => {
                let mut clocks = Clocks::new();
                match &state.progress {
                    Progress::Made(_, known) if state.number == number => clocks = known.clone(),
                    _ if is_first_to_know => {
                        state.progress = Progress::Made(connection.clone(), clocks.clone());
                    }
                    _ => {}
                }
                Ok(Made { connection, clocks, number })
            }
            Err(error) => {
                if is_first_to_know {
                    state.progress = Progress::Idle;
                }
                Err(error.into())
            }
        }
    }

    /// Takes a connection out of use.
    pub(crate) fn discard(&self, made: &Made) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.number == made.number && matches!(state.progress, Progress::Made(..)) {
            let progress = mem::replace(&mut state.progress, Progress::Idle);
            drop(state);
            drop(progress);
        }
    }

    fn make(&self) -> Making {
        let server = self.server.clone();
        let connecting = tokio::spawn(async move { server.connect().await });
        let made = async move {
            match connecting.await {
                Ok(made) => made.map_err(Arc::new),
                // The runtime that it was made on has ended.
                Err(error) => Err(Arc::new(std::io::Error::other(error).into())),
            }
        };
        made.boxed().shared()
    }
}
