//! The database servers that the tests start.

use std::process::Command;

use idem_testkit::PostgresServer;

use crate::process::{Result, run};

const ADVICE: &str = "install the Postgres server and its client programs (on Debian and Ubuntu: \
                      apt-get install postgresql), or put the directory of initdb on the PATH";

/// Installs Postgres if it is missing and the system lets us.
pub(crate) fn ensure_postgres() -> Result {
    if let Some(programs) = PostgresServer::programs() {
        println!("Postgres: {}", programs.display());
        return Ok(());
    }
    println!("Postgres is not installed");
    for args in ["update", "install -y --no-install-recommends postgresql"] {
        run(&mut apt_get(args)).map_err(|error| format!("{error}; {ADVICE}"))?;
    }
    PostgresServer::programs().map(drop).ok_or_else(|| {
        format!("Postgres was installed and its programs cannot be found; {ADVICE}").into()
    })
}

fn apt_get(args: &str) -> Command {
    let mut command = if is_root() {
        Command::new("env")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env"]);
        sudo
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(args.split(' '));
    command
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}
