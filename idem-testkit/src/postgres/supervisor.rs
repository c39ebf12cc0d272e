//! The shell that runs a server for as long as we live.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// The process of `supervisor.sh`, and the pipes to it.
#[derive(Debug)]
pub(super) struct Supervisor {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    dir: PathBuf,
}

impl Supervisor {
    pub(super) fn start(programs: &Path) -> Self {
        let mut command = if is_root() {
            let mut runuser = Command::new("runuser");
            runuser.args(["-u", "postgres", "--", "sh"]);
            runuser
        } else {
            Command::new("sh")
        };
        let mut process = command
            .args(["-c", include_str!("supervisor.sh"), "idem-postgres"])
            .arg(programs)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C in the terminal is for the tests; the closing pipe is for the server.
            .process_group(0)
            .spawn()
            .expect("a shell runs");
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut this = Self { process, commands, answers, dir: PathBuf::new() };
        this.dir = this.answer().into();
        this
    }

    /// Says whether the command succeeded.
    pub(super) fn tell(&mut self, command: &str) -> bool {
        let commands = self.commands.as_mut().expect("open until it is dropped");
        writeln!(commands, "{command}").expect("the supervisor listens");
        self.answer() == "ok"
    }

    /// What the server said since it was started last.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_else(|error| error.to_string())
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        let length = self.answers.read_line(&mut line).expect("the supervisor answers");
        if length == 0 {
            let mut errors = String::new();
            if let Some(stderr) = &mut self.process.stderr {
                let _ = stderr.read_to_string(&mut errors);
            }
            panic!("Postgres could not be set up: {errors}");
        }
        line.trim_end().to_owned()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.process.wait();
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}
