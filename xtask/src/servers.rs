//! The servers and browsers that the tests start.

use std::{path::PathBuf, process::Command};

use idem_testkit::{ChromeDriver, MariaDbServer, PostgresServer, RedisServer};

use crate::process::{Result, run};

/// Something that must be installed.
#[derive(Clone, Copy)]
pub(crate) struct Requirement {
    name: &'static str,
    /// Where it is, if it is there.
    find: fn() -> Option<PathBuf>,
    /// What it is called on Debian and Ubuntu.
    packages: &'static str,
    /// What must be found.
    programs: &'static str,
}

pub(crate) const POSTGRES: Requirement = Requirement {
    name: "Postgres",
    find: PostgresServer::programs,
    packages: "postgresql",
    programs: "the server's programs (initdb, postgres, pg_isready, psql)",
};

/// The package may start a server of its own. The tests want only the programs.
pub(crate) const MARIADB: Requirement = Requirement {
    name: "MariaDB",
    find: || MariaDbServer::programs().map(|[server, ..]| server),
    packages: "mariadb-server",
    programs: "mariadbd, mariadb-install-db and mariadb",
};

pub(crate) const REDIS: Requirement = Requirement {
    name: "Redis",
    find: RedisServer::programs,
    packages: "redis-server",
    programs: "redis-server and redis-cli",
};

pub(crate) const CHROMIUM: Requirement = Requirement {
    name: "Chromium",
    find: || ChromeDriver::programs().map(|[driver, _]| driver),
    packages: "chromium chromium-driver",
    programs: "chromium and chromedriver",
};

impl Requirement {
    fn is_met(&self) -> bool {
        let found = (self.find)();
        let place = found.as_ref().map_or("not installed".into(), |it| it.display().to_string());
        println!("{}: {place}", self.name);
        found.is_some()
    }

    fn advice(&self) -> String {
        let Self { packages, programs, .. } = self;
        format!(
            "install {programs} and put them on the PATH (on Debian and Ubuntu: apt-get install \
             {packages})"
        )
    }
}

/// Installs what is missing, if the system lets us.
pub(crate) fn ensure(requirements: &[Requirement]) -> Result {
    let missing: Vec<_> = requirements.iter().filter(|it| !it.is_met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let advice = missing.iter().map(|it| it.advice()).collect::<Vec<_>>().join("; ");
    let packages = missing.iter().map(|it| it.packages).collect::<Vec<_>>().join(" ");
    let install = format!("install -y --no-install-recommends {packages}");
    for args in ["update", &install] {
        run(&mut apt_get(args)).map_err(|error| format!("{error}; {advice}"))?;
    }
    if missing.iter().all(|it| it.is_met()) {
        Ok(())
    } else {
        Err(format!("something was installed and cannot be found; {advice}").into())
    }
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
