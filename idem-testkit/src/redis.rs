//! Throwaway Redis servers.

mod cluster;

use std::{
    env,
    path::PathBuf,
    process::Command,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

pub use self::cluster::RedisCluster;
use crate::{
    ports::free_port,
    supervisor::{Script, Supervisor},
};

const SCRIPT: Script =
    Script { name: "idem-redis", text: include_str!("redis.sh"), instead_of_root: None };

/// A Redis server of its own, on a free port of 127.0.0.1, with its files in `/tmp`.
///
/// It ends with this process, however the process ends. Durability against a power cut is off; what
/// was answered survives [`stop`](Self::stop) all the same, by the append-only file.
///
/// ```
/// use idem_testkit::RedisServer;
///
/// let server = RedisServer::shared();
/// assert!(server.url().starts_with("redis://127.0.0.1:"));
/// assert_eq!(server.command(&["PING"]), "PONG");
/// ```
#[derive(Debug)]
pub struct RedisServer {
    supervisor: Mutex<Supervisor>,
    programs: PathBuf,
    port: u16,
    options: String,
    prefixes: AtomicU32,
}

impl RedisServer {
    /// Where the server's programs are: the first directory of `PATH` that has them. `None` when
    /// Redis is not installed.
    pub fn programs() -> Option<PathBuf> {
        let complete =
            |dir: &PathBuf| ["redis-server", "redis-cli"].iter().all(|it| dir.join(it).is_file());
        env::split_paths(&env::var_os("PATH")?).find(complete)
    }

    /// Starts a new, empty server and waits until it answers: some hundredths of a second.
    ///
    /// # Panics
    ///
    /// When Redis is not installed or does not start; the message says what to do.
    pub fn start() -> Self {
        Self::start_with(String::new)
    }

    /// Starts a server with further options, which are made anew for each try.
    fn start_with(options: impl Fn() -> String) -> Self {
        let programs = Self::programs().expect(
            "Redis is not installed: PATH has no directory with `redis-server` and `redis-cli`. On \
             Debian and Ubuntu: apt-get install redis-server",
        );
        let mut supervisor = Supervisor::start(&SCRIPT, &programs);
        // Somebody else may take a port before the server does.
        let (port, options) = (0..5)
            .map(|_| (free_port(), options()))
            .find(|(port, options)| supervisor.tell(&format!("start {port} {options}")))
            .unwrap_or_else(|| panic!("Redis does not start:\n{}", supervisor.log()));
        let supervisor = Mutex::new(supervisor);
        Self { supervisor, programs, port, options, prefixes: AtomicU32::new(0) }
    }

    /// The one server that all tests of this process share, started when it is first asked for.
    ///
    /// # Panics
    ///
    /// Like [`start`](Self::start).
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RedisServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The port that it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A prefix for keys that this server has not given out before.
    pub fn fresh_prefix(&self) -> String {
        format!("test-{}:", self.prefixes.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs a command with `redis-cli`, and returns what that prints, also when it is an error.
    ///
    /// # Panics
    ///
    /// When `redis-cli` does not run, or the server cannot be reached.
    pub fn command(&self, arguments: &[&str]) -> String {
        let cli = Command::new(self.programs.join("redis-cli"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(arguments)
            .output()
            .expect("redis-cli runs");
        let stderr = String::from_utf8_lossy(&cli.stderr);
        assert!(cli.status.success(), "redis-cli {arguments:?}: {stderr}");
        String::from_utf8_lossy(&cli.stdout).trim().to_owned()
    }

    /// Stops the server as a crash would: connections break, and nothing is said. What was answered
    /// stays.
    ///
    /// # Panics
    ///
    /// When the server cannot be stopped.
    pub fn stop(&self) {
        assert!(self.supervisor().tell("stop"), "Redis does not stop");
    }

    /// Starts the server again, on the same port with the same data, after stopping it as a crash
    /// would if it was running. Waits until it answers.
    ///
    /// # Panics
    ///
    /// When the server does not start.
    pub fn restart(&self) {
        let mut supervisor = self.supervisor();
        let started = supervisor.tell(&format!("start {} {}", self.port, self.options));
        assert!(started, "Redis does not start again:\n{}", supervisor.log());
    }

    /// Freezes the server: connections stay open and nobody answers. Needs Linux.
    ///
    /// # Panics
    ///
    /// When the server cannot be frozen.
    pub fn pause(&self) {
        assert!(self.supervisor().tell("pause"), "Redis cannot be paused");
    }

    /// Lets a frozen server go on.
    ///
    /// # Panics
    ///
    /// When the server cannot be resumed.
    pub fn resume(&self) {
        assert!(self.supervisor().tell("resume"), "Redis cannot be resumed");
    }

    fn supervisor(&self) -> MutexGuard<'_, Supervisor> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
