//! Keeps several processes of the payments example on one database under load, kills them at random
//! moments, restarts them, and then compares what their clients were told with what they have.
//!
//! `book` is what a client keeps of its `intent`s and of the `answer`s, `client` what it does; `service`,
//! `plan` and `killer` are the other side; `audit` compares, `violations` are what it finds.

mod answer;
mod audit;
mod book;
mod client;
mod intent;
mod killer;
mod options;
mod plan;
mod service;
mod violations;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use fastrand::Rng;
use idem_testkit::PostgresServer;
use tempfile::TempDir;
use tokio::{runtime, sync::watch, task::JoinSet};

pub(crate) use self::options::Options;
use self::{
    book::Book,
    client::Client,
    killer::Killer,
    options::Database,
    plan::Plan,
    service::{Program, Services},
    violations::{Kind, Violations},
};
use crate::{process::Result, servers};

/// Each of them has the same names for its keys.
const USERS: usize = 12;

pub(crate) fn run(options: &Options) -> Result {
    let server = match options.database {
        Database::Sqlite => None,
        Database::Postgres => {
            servers::ensure(&[servers::POSTGRES])?;
            Some(PostgresServer::start())
        }
    };
    let directory = TempDir::new()?;
    let url = server.as_ref().map(PostgresServer::fresh_database);
    let program = Program::build(directory.path(), options.control, url)?;
    println!("\nseed {}", options.seed);
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let start = Instant::now();
    let (books, violations) = runtime.block_on(rounds(options, &program, server.as_ref()))?;
    summarize(options, &books, &violations, start.elapsed());

    let found = violations.of(Kind::PaidTwice) > 0;
    match (options.control, violations.is_empty()) {
        (true, _) if !found => Err("the control found no double payment".into()),
        (false, false) => {
            let kept = directory.keep();
            Err(format!("promises were broken; the files are in {}", kept.display()).into())
        }
        _ => Ok(()),
    }
}

/// As often as every test run can bear: the example on both databases, and what must be found.
pub(crate) fn check() -> Result {
    for database in [Database::Sqlite, Database::Postgres] {
        let stops = if database == Database::Postgres { 10 } else { 0 };
        let options = Options { kills: 120, stops, database, ..Options::default() };
        run(&options)?;
        run(&Options { kills: 60, stops: 0, control: true, ..options })?;
    }
    Ok(())
}

/// Kills, waits until every client has its answers, and compares.
async fn rounds(
    options: &Options,
    program: &Program,
    server: Option<&PostgresServer>,
) -> Result<(Vec<Book>, Violations)> {
    let mut rng = Rng::with_seed(options.seed);
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        // Each restart has a port of its own, and leaves what was kept for the one before.
        .pool_idle_timeout(Duration::from_secs(2))
        .build()?;
    let path = if options.control { "/control/payments" } else { "/payments" };
    let services = watch::Sender::new(Services::default());
    let mut clients = JoinSet::new();
    for user in 0..USERS {
        let client = Client::new(
            Book::of(user, options.stops > 0),
            rng.fork(),
            http.clone(),
            path,
            services.subscribe(),
        );
        clients.spawn(client.run());
    }
    let killer = Killer { program, server, services: &services, rng };
    let plan = Plan { kills: options.kills, stops: options.stops };
    let mut running = killer.run(plan).await?;
    let mut books = clients.join_all().await;
    books.sort_unstable_by_key(|it| it.user);
    let violations = audit::compare(&http, &running[0].url, &mut books).await?;
    for service in &mut running {
        service.kill()?;
        service.ended().await?;
    }
    Ok((books, violations))
}

fn summarize(options: &Options, books: &[Book], violations: &Violations, took: Duration) {
    let sum = |of: fn(&Book) -> u64| books.iter().map(of).sum::<u64>();
    let mut troubles = BTreeMap::<_, u64>::new();
    for (trouble, times) in books.iter().flat_map(|it| &it.troubles) {
        *troubles.entry(trouble).or_default() += times;
    }
    let troubles: Vec<_> = troubles.iter().map(|(name, times)| format!("{times} {name}")).collect();
    println!(
        "{:?}{}: {} kills, {} stops of the server, {:.0} s\n\
         {} intents, {} payments, {} answers, {} of them replays\n\
         problems: {}\n\
         violations: {violations}",
        options.database,
        if options.control { ", the control" } else { "" },
        options.kills,
        options.stops,
        took.as_secs_f64(),
        sum(|it| it.intents.len() as u64),
        sum(|it| it.intents.iter().filter(|it| it.payment().is_some()).count() as u64),
        sum(|it| it.answers),
        sum(|it| it.replays),
        if troubles.is_empty() { "none".to_owned() } else { troubles.join(", ") },
    );
}
