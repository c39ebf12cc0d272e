//! A payments API whose retries never pay twice.
//!
//! `cargo run -p payments` needs nothing else: it keeps its data in a SQLite file. The environment
//! changes that: `ADDR`, `DATABASE_URL`, `PROVIDER_DELAY_MS`, `LEASE`.
#![allow(clippy::print_stdout, reason = "it tells a newcomer what to do next")]

mod api;
mod auth;
mod business;
#[cfg(feature = "control")]
mod control;
mod database;
mod payments;
mod provider;
mod settings;

use std::{error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use axum::Router;
use idem::Idem;
use tokio::{net::TcpListener, signal::unix};
use tracing_subscriber::EnvFilter;

use crate::settings::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    #[cfg(feature = "crash-points")]
    idem_testkit::crash::arm();
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
    let (url, delay) = (&settings.database_url, settings.provider_delay);
    if let Some(file) = url.strip_prefix("sqlite:") {
        let file = file.strip_prefix("//").unwrap_or(file);
        let (database, store) = database::Sqlite::open(file).await?;
        let idem = Idem::builder(store).lease(settings.lease).build()?;
        let greeting = database.to_string();
        let router = api::sqlite::router(api::sqlite::App::new(idem.clone(), database, delay));
        serve(idem, router, &greeting, settings.addr).await
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        let (database, store) = database::Postgres::open(url).await?;
        let idem = Idem::builder(store).lease(settings.lease).build()?;
        let greeting = database.to_string();
        let router = api::postgres::router(api::postgres::App::new(idem.clone(), database, delay));
        serve(idem, router, &greeting, settings.addr).await
    } else {
        Err("DATABASE_URL must begin with sqlite: or postgres://".into())
    }
}

async fn serve<D>(
    idem: Idem<D>,
    router: Router,
    database: &str,
    addr: SocketAddr,
) -> Result<(), Box<dyn Error>> {
    idem.spawn_sweeper(Duration::from_mins(1));
    let listener = TcpListener::bind(addr)
        .await
        .map_err(|error| format!("cannot listen on {addr} (set ADDR): {error}"))?;
    let addr = listener.local_addr()?;
    println!(
        "payments listens on http://{addr}\n\
         database: {database}\n\
         Pay, and pay again with the same key:\n\
         curl -i http://{addr}/payments -H 'Authorization: Bearer ann' -H 'Idempotency-Key: order-1' \
         -H 'Content-Type: application/json' -d '{{\"amount\": 1250, \"currency\": \"EUR\", \"to\": \"bob\"}}'"
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
            std::process::exit(1);
        });
    })
}
