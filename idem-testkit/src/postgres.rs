//! Throwaway Postgres servers.

use std::{
    env, fs,
    path::PathBuf,
    process::Command,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    ports::free_port,
    supervisor::{Script, Supervisor},
};

const SCRIPT: Script = Script {
    name: "idem-postgres",
    text: include_str!("postgres.sh"),
    instead_of_root: Some("postgres"),
};

/// A Postgres server of its own, on a free port of 127.0.0.1, with its files in `/tmp`.
///
/// It ends with this process, however the process ends. Durability against a power cut is off; what
/// was committed survives [`stop`](Self::stop) all the same. `pg_stat_statements` is loaded.
///
/// The server refuses to run as root, so for root it runs as the user `postgres`.
///
/// ```
/// use idem_testkit::PostgresServer;
///
/// let server = PostgresServer::shared();
/// let url = server.fresh_database();
/// assert!(url.starts_with("postgres://postgres@127.0.0.1:"));
/// ```
#[derive(Debug)]
pub struct PostgresServer {
    supervisor: Mutex<Supervisor>,
    programs: PathBuf,
    port: u16,
    databases: AtomicU32,
}

impl PostgresServer {
    /// Where the server's programs are: the first directory of `PATH` that has them, or else the
    /// highest version in Debian's `/usr/lib/postgresql/*/bin`. `None` when Postgres is not
    /// installed.
    pub fn programs() -> Option<PathBuf> {
        let complete = |dir: &PathBuf| {
            ["initdb", "postgres", "pg_isready", "psql"].iter().all(|it| dir.join(it).is_file())
        };
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).find(complete).or_else(|| {
            let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
            versions
                .filter_map(|entry| {
                    let version: u32 = entry.file_name().to_str()?.parse().ok()?;
                    Some((version, entry.path().join("bin")))
                })
                .filter(|(_, dir)| complete(dir))
                .max()
                .map(|(_, dir)| dir)
        })
    }

    /// Starts a new, empty server and waits until it accepts connections: about a second.
    ///
    /// # Panics
    ///
    /// When Postgres is not installed or does not start; the message says what to do.
    pub fn start() -> Self {
        let programs = Self::programs().expect(
            "Postgres is not installed: neither PATH nor /usr/lib/postgresql/*/bin has its \
             programs (initdb, postgres, pg_isready, psql). On Debian and Ubuntu: \
             apt-get install postgresql",
        );
        let supervisor = Supervisor::start(&SCRIPT, &programs);
        Self::started(supervisor, programs)
    }

    /// Starts a standby of this server: a copy of all its databases, which follows what happens here
    /// and only reads, until it is [promoted](Self::promote).
    ///
    /// # Panics
    ///
    /// When it cannot be made or does not start.
    #[must_use = "it ends when it is dropped"]
    pub fn standby(&self) -> Self {
        let port = self.port.to_string();
        let supervisor = Supervisor::start_with(&SCRIPT, &self.programs, &[&port]);
        Self::started(supervisor, self.programs.clone())
    }

    fn started(mut supervisor: Supervisor, programs: PathBuf) -> Self {
        // Somebody else may take the port before the server does.
        let port = (0..5)
            .map(|_| free_port())
            .find(|port| supervisor.tell(&format!("start {port}")))
            .unwrap_or_else(|| panic!("Postgres does not start:\n{}", supervisor.log()));
        Self { supervisor: Mutex::new(supervisor), programs, port, databases: AtomicU32::new(0) }
    }

    /// The one server that all tests of this process share, started when it is first asked for.
    ///
    /// # Panics
    ///
    /// Like [`start`](Self::start).
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The URL of the database `postgres`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub fn fresh_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql(&format!("CREATE DATABASE {name}"));
        self.url_of(&name)
    }

    /// Makes a standby a server of its own, which writes. Connections to it stay open.
    ///
    /// # Panics
    ///
    /// When it is none, or refuses.
    pub fn promote(&self) {
        self.psql("SELECT pg_promote()");
    }

    fn psql(&self, sql: &str) {
        let psql = Command::new(self.programs.join("psql"))
            .args(["--no-psqlrc", "--quiet", "--output=/dev/null", "--command", sql])
            .arg(self.url())
            .output()
            .expect("psql runs");
        assert!(psql.status.success(), "{sql}: {}", String::from_utf8_lossy(&psql.stderr));
    }

    /// Where a database of this name is on this server, for one that was created on its primary.
    ///
    /// ```
    /// # use idem_testkit::PostgresServer;
    /// # let (primary, standby) = (PostgresServer::shared(), PostgresServer::shared());
    /// let url = primary.fresh_database();
    /// let same_on_standby = standby.url_beside(&url);
    /// ```
    ///
    /// # Panics
    ///
    /// When the URL names no database.
    pub fn url_beside(&self, url: &str) -> String {
        let (_, database) = url.rsplit_once('/').expect("the URL of a database");
        self.url_of(database)
    }

    /// Stops the server as a crash would: connections break and nothing is flushed. What was
    /// committed stays.
    ///
    /// # Panics
    ///
    /// When the server cannot be stopped.
    pub fn stop(&self) {
        assert!(self.supervisor().tell("stop"), "Postgres does not stop");
    }

    /// Starts the server again, on the same port with the same data, after stopping it as a crash
    /// would if it was running. Waits until it accepts connections.
    ///
    /// # Panics
    ///
    /// When the server does not start.
    pub fn restart(&self) {
        let mut supervisor = self.supervisor();
        let started = supervisor.tell(&format!("start {}", self.port));
        assert!(started, "Postgres does not start again:\n{}", supervisor.log());
    }

    /// Freezes the server: connections stay open and nobody answers. Needs Linux.
    ///
    /// # Panics
    ///
    /// When the server cannot be frozen.
    pub fn pause(&self) {
        assert!(self.supervisor().tell("pause"), "Postgres cannot be paused");
    }

    /// Lets a frozen server go on.
    ///
    /// # Panics
    ///
    /// When the server cannot be resumed.
    pub fn resume(&self) {
        assert!(self.supervisor().tell("resume"), "Postgres cannot be resumed");
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    fn supervisor(&self) -> MutexGuard<'_, Supervisor> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
