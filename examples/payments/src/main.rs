//! A payments API whose retries never pay twice.
//!
//! `cargo run -p payments` needs nothing else: it keeps its data in a SQLite file. The environment
//! changes that: `ADDR`, `DATABASE_URL`, `PROVIDER_DELAY_MS`, `LEASE`.
#![allow(clippy::print_stdout, reason = "it tells a newcomer what to do next")]

mod api;
mod auth;
mod database;
mod payments;
mod provider;
mod settings;

use std::{error::Error, process::ExitCode, time::Duration};

use idem::Idem;
use tokio::{net::TcpListener, signal::unix};
use tracing_subscriber::EnvFilter;

use crate::{api::App, database::Database, provider::Provider, settings::Settings};

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &*error as &dyn Error, "payments stopped");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let (database, store) = Database::connect(&settings.database_url).await?;
    let idem = Idem::builder(store).lease(settings.lease).build()?;
    idem.spawn_sweeper(Duration::from_mins(1));

    let listener = TcpListener::bind(settings.addr)
        .await
        .map_err(|error| format!("cannot listen on {} (set ADDR): {error}", settings.addr))?;
    let addr = listener.local_addr()?;
    println!(
        "payments listens on http://{addr}\n\
         database: {database}\n\
         Pay, and pay again with the same key:\n\
         curl -i http://{addr}/payments -H 'Authorization: Bearer ann' -H 'Idempotency-Key: order-1' \
         -H 'Content-Type: application/json' -d '{{\"amount\": 1250, \"currency\": \"EUR\", \"to\": \"bob\"}}'"
    );

    let provider = Provider { delay: settings.provider_delay };
    let router = api::router(App { idem: idem.clone(), database, provider });
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
            std::process::exit(1);
        });
    })
}
