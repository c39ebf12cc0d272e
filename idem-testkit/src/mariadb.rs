//! Throwaway MariaDB servers.

use std::{
    env,
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

const SCRIPT: Script =
    Script { name: "idem-mariadb", text: include_str!("mariadb.sh"), instead_of_root: None };

/// A MariaDB server of its own, on a free port of 127.0.0.1, with its files in `/tmp`.
///
/// It ends with this process, however the process ends. Durability against a power cut is off; what
/// was committed survives [`stop`](Self::stop) all the same. The user `root` has no password.
///
/// ```
/// use idem_testkit::MariaDbServer;
///
/// let server = MariaDbServer::shared();
/// let url = server.fresh_database();
/// assert!(url.starts_with("mysql://root@127.0.0.1:"));
/// ```
#[derive(Debug)]
pub struct MariaDbServer {
    supervisor: Mutex<Supervisor>,
    client: PathBuf,
    port: u16,
    options: String,
    databases: AtomicU32,
}

impl MariaDbServer {
    /// Where the server (`mariadbd`), the program that makes its files (`mariadb-install-db`) and its
    /// client (`mariadb`) are: in the directories of `PATH`, or in `/usr/sbin`, where Debian has the
    /// server. `None` when one of them is not installed.
    pub fn programs() -> Option<[PathBuf; 3]> {
        let path = env::var_os("PATH")?;
        let dirs: Vec<_> = env::split_paths(&path).chain(["/usr/sbin".into()]).collect();
        let find = |name| dirs.iter().map(|it| it.join(name)).find(|it| it.is_file());
        Some([find("mariadbd")?, find("mariadb-install-db")?, find("mariadb")?])
    }

    /// Starts a new, empty server and waits until it accepts connections: about two seconds.
    ///
    /// # Panics
    ///
    /// When MariaDB is not installed or does not start; the message says what to do.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further options, such as `--max-allowed-packet=2M`, which it keeps when
    /// it is [restarted](Self::restart). They have no spaces in them.
    ///
    /// # Panics
    ///
    /// Like [`start`](Self::start).
    pub fn start_with(options: &[&str]) -> Self {
        let [server, _, client] = Self::programs().expect(
            "MariaDB is not installed: PATH does not have all of `mariadbd`, `mariadb-install-db` and \
             `mariadb`. On Debian and Ubuntu: apt-get install mariadb-server",
        );
        let options = options.join(" ");
        let mut supervisor = Supervisor::start(&SCRIPT, &server);
        // Somebody else may take the port before the server does.
        let port = (0..5)
            .map(|_| free_port())
            .find(|port| supervisor.tell(&format!("start {port} {options}")))
            .unwrap_or_else(|| panic!("MariaDB does not start:\n{}", supervisor.log()));
        let supervisor = Mutex::new(supervisor);
        Self { supervisor, client, port, options, databases: AtomicU32::new(0) }
    }

    /// The one server that all tests of this process share, started when it is first asked for.
    ///
    /// # Panics
    ///
    /// Like [`start`](Self::start).
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MariaDbServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The URL of the database `mysql`.
    pub fn url(&self) -> String {
        self.url_of("mysql")
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub fn fresh_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute(&format!("CREATE DATABASE {name}"));
        self.url_of(&name)
    }

    /// Runs statements with the client, as `root`, and returns what that prints: a line for each row,
    /// with tabs between its columns.
    ///
    /// # Panics
    ///
    /// When the client does not run, or the server refuses.
    pub fn execute(&self, sql: &str) -> String {
        let client = Command::new(&self.client)
            .args(["--no-defaults", "--user=root", "--host=127.0.0.1", "--protocol=tcp"])
            .arg(format!("--port={}", self.port))
            .args(["--batch", "--skip-column-names", "--execute", sql])
            .output()
            .expect("the client runs");
        let stderr = String::from_utf8_lossy(&client.stderr);
        assert!(client.status.success(), "{sql}: {stderr}");
        String::from_utf8_lossy(&client.stdout).trim().to_owned()
    }

    /// Stops the server as a crash would: connections break, and nothing is flushed. What was
    /// committed stays.
    ///
    /// # Panics
    ///
    /// When the server cannot be stopped.
    pub fn stop(&self) {
        assert!(self.supervisor().tell("stop"), "MariaDB does not stop");
    }

    /// Starts the server again, on the same port with the same data, after stopping it as a crash
    /// would if it was running. Waits until it accepts connections.
    ///
    /// # Panics
    ///
    /// When the server does not start.
    pub fn restart(&self) {
        let mut supervisor = self.supervisor();
        let started = supervisor.tell(&format!("start {} {}", self.port, self.options));
        assert!(started, "MariaDB does not start again:\n{}", supervisor.log());
    }

    /// Freezes the server: connections stay open and nobody answers. Needs Linux.
    ///
    /// # Panics
    ///
    /// When the server cannot be frozen.
    pub fn pause(&self) {
        assert!(self.supervisor().tell("pause"), "MariaDB cannot be paused");
    }

    /// Lets a frozen server go on.
    ///
    /// # Panics
    ///
    /// When the server cannot be resumed.
    pub fn resume(&self) {
        assert!(self.supervisor().tell("resume"), "MariaDB cannot be resumed");
    }

    fn url_of(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.port)
    }

    fn supervisor(&self) -> MutexGuard<'_, Supervisor> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
