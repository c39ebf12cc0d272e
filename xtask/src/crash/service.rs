//! The payments example as processes to be killed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use cargo_metadata::Message;
use fastrand::Rng;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
};

use crate::process::{Result, cargo};

/// How many run at a time, on one database. What only one process knows of protects none of them.
pub(super) const SERVICES: usize = 2;

/// What the clients know of the services.
#[derive(Default)]
pub(super) struct Services {
    urls: [Option<Arc<str>>; SERVICES],
    /// They will not be killed any more.
    pub(super) left: bool,
}

impl Services {
    pub(super) fn up(&mut self, service: usize, url: &str) {
        self.urls[service] = Some(url.into());
    }

    pub(super) fn down(&mut self, service: usize) {
        self.urls[service] = None;
    }

    pub(super) fn is_any_up(&self) -> bool {
        self.urls.iter().any(Option::is_some)
    }

    /// Whom to send so many requests to that are sent at once: to those that are up by turns,
    /// beginning anywhere.
    pub(super) fn draw(&self, rng: &mut Rng, requests: usize) -> Vec<Arc<str>> {
        let up = self.urls.iter().flatten();
        let first = rng.usize(..up.clone().count().max(1));
        up.cycle().skip(first).take(requests).cloned().collect()
    }
}

/// The example, built, and the directory that it runs in.
pub(super) struct Program {
    directory: PathBuf,
    /// None: its SQLite file.
    database_url: Option<String>,
}

impl Program {
    /// Builds the example and takes a copy, so that another build does not change it meanwhile.
    pub(super) fn build(
        directory: &Path,
        control: bool,
        database_url: Option<String>,
    ) -> Result<Self> {
        let features = if control { " --features control" } else { "" };
        let build = format!("build -p payments{features} --message-format json-render-diagnostics");
        println!("\n$ cargo {build}");
        let output = cargo(&build).stderr(Stdio::inherit()).output()?;
        let executable = Message::parse_stream(&*output.stdout)
            .find_map(|message| match message {
                Ok(Message::CompilerArtifact(it)) if it.target.name == "payments" => it.executable,
                _ => None,
            })
            .filter(|_| output.status.success())
            .ok_or("the payments example does not build")?;
        let directory = directory.to_owned();
        fs::copy(executable, directory.join("payments"))?;
        Ok(Self { directory, database_url })
    }

    /// Starts it and waits until it listens.
    pub(super) async fn start(&self, delay: Duration) -> Result<Running> {
        let log = File::options().create(true).append(true).open(self.directory.join("log"))?;
        let mut command = Command::new(self.directory.join("payments"));
        command
            .current_dir(&self.directory)
            .env_remove("DATABASE_URL")
            .envs(self.database_url.as_ref().map(|url| ("DATABASE_URL", url)))
            .env("ADDR", "127.0.0.1:0")
            .env("LEASE", "500ms")
            .env("PROVIDER_DELAY_MS", delay.as_millis().to_string())
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let mut greeting = String::new();
        stdout.read_line(&mut greeting).await?;
        match greeting.split_whitespace().last() {
            Some(url) => Ok(Running { url: url.to_owned(), child, _stdout: stdout }),
            None => Err(format!("the example did not start: {}", self.last_words()).into()),
        }
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }
}

/// It is killed when the value is dropped.
pub(super) struct Running {
    pub(super) url: String,
    child: Child,
    /// It has more to say, and must not find the pipe closed.
    _stdout: BufReader<ChildStdout>,
}

impl Running {
    /// SIGKILL.
    pub(super) fn kill(&mut self) -> Result {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("the example ended by itself: {status}").into());
        }
        Ok(self.child.start_kill()?)
    }

    /// Waits until it is no more.
    pub(super) async fn ended(&mut self) -> Result {
        self.child.wait().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_to_all_that_are_up() {
        let mut rng = Rng::with_seed(1);
        let mut services = Services::default();
        assert!(!services.is_any_up());
        assert!(services.draw(&mut rng, 2).is_empty());
        services.up(1, "b");
        assert!(services.is_any_up());
        assert_eq!(services.draw(&mut rng, 3), ["b".into(), "b".into(), "b".into()]);
        services.up(0, "a");
        let mut first = Vec::new();
        for _ in 0..100 {
            let drawn = services.draw(&mut rng, 2);
            assert_ne!(drawn[0], drawn[1]);
            first.push(drawn[0].clone());
        }
        assert!(first.contains(&"a".into()) && first.contains(&"b".into()));
        services.down(1);
        assert_eq!(services.draw(&mut rng, 1), ["a".into()]);
    }
}
