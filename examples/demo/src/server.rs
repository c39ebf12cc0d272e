//! A process that serves until it is told to stop.
#![allow(clippy::print_stdout, reason = "it tells a newcomer what to do next")]

use std::{
    error::Error,
    fmt::Display,
    process::{self, ExitCode},
};

use axum::Router;
use idem::Idem;
use tokio::{net::TcpListener, signal::unix};
use tracing_subscriber::EnvFilter;

use crate::settings::Settings;

/// What a newcomer reads first.
#[derive(Clone, Copy, Debug)]
pub struct Greeting<'a> {
    /// The example's name.
    pub example: &'a str,
    /// What to try.
    pub advice: &'a str,
    /// What to try it with: what `curl -i http://<address>` goes on with.
    pub request: &'a str,
}

/// Logs to standard error, at the level that `RUST_LOG` says, and ends with what the example returns.
pub async fn run(
    example: &str,
    work: impl Future<Output = Result<(), Box<dyn Error>>>,
) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match work.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &*error as &dyn Error, "{example} stopped");
            ExitCode::FAILURE
        }
    }
}

/// Serves until the process is told to stop. What runs then is finished, answered and recorded first.
///
/// # Errors
///
/// Says where it cannot listen.
pub async fn serve<D>(
    idem: Idem<D>,
    router: Router,
    settings: &Settings,
    database: &impl Display,
    greeting: Greeting<'_>,
) -> Result<(), Box<dyn Error>> {
    let addr = settings.addr;
    let listener = TcpListener::bind(addr)
        .await
        .map_err(|error| format!("cannot listen on {addr} (set ADDR): {error}"))?;
    let addr = listener.local_addr()?;
    let Greeting { example, advice, request } = greeting;
    println!(
        "{example} listens on http://{addr}\n\
         database: {database}\n\
         {advice}\n\
         curl -i http://{addr}{request}"
    );
    axum::serve(listener, router).with_graceful_shutdown(told_to_stop()?).await?;
    // Executions whose clients have gone are still at work.
    idem.drain().await;
    Ok(())
}

/// Listens from now on, so that no signal is missed before the server runs. A second signal ends the
/// process at once: a client that never finishes its request would keep it otherwise.
fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
    let mut signal = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(async move {
        signal().await;
        tokio::spawn(async move {
            signal().await;
            process::exit(1);
        });
    })
}
