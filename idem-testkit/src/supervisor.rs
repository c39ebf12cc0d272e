//! The shell that runs a server for as long as we live.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A shell script that runs a server until its standard input is closed. It first says where the
/// server's files are.
#[derive(Debug)]
pub(crate) struct Script {
    /// What it is called among the processes.
    pub(crate) name: &'static str,
    /// The script.
    pub(crate) text: &'static str,
    /// Who runs it where we are root and the server refuses to.
    pub(crate) instead_of_root: Option<&'static str>,
}

/// The process of a [`Script`], and the pipes to it.
#[derive(Debug)]
pub(crate) struct Supervisor {
    process: Child,
    name: &'static str,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    dir: PathBuf,
}

impl Supervisor {
    pub(crate) fn start(script: &Script, programs: &Path) -> Self {
        Self::start_with(script, programs, &[])
    }

    /// Starts the script with further arguments.
    pub(crate) fn start_with(script: &Script, programs: &Path, arguments: &[&str]) -> Self {
        let mut command = match script.instead_of_root.filter(|_| is_root()) {
            Some(user) => {
                let mut runuser = Command::new("runuser");
                runuser.args(["-u", user, "--", "sh"]);
                runuser
            }
            None => Command::new("sh"),
        };
        let mut process = command
            .args(["-c", script.text, script.name])
            .arg(programs)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C in the terminal is for the tests; the closing pipe is for the server.
            .process_group(0)
            .spawn()
            .expect("a shell runs");
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        let name = script.name;
        let mut this = Self { process, name, commands, answers, dir: PathBuf::new() };
        this.dir = this.answer().into();
        this
    }

    /// Says whether the command succeeded.
    pub(crate) fn tell(&mut self, command: &str) -> bool {
        let commands = self.commands.as_mut().expect("open until it is dropped");
        writeln!(commands, "{command}").expect("the supervisor listens");
        self.answer() == "ok"
    }

    /// What the server said since it was started last.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_else(|error| error.to_string())
    }

    /// The next line that the script says.
    pub(crate) fn answer(&mut self) -> String {
        let mut line = String::new();
        let length = self.answers.read_line(&mut line).expect("the supervisor answers");
        if length == 0 {
            let mut errors = String::new();
            if let Some(stderr) = &mut self.process.stderr {
                let _ = stderr.read_to_string(&mut errors);
            }
            panic!("{} could not be set up: {errors}", self.name);
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
