//! The example's log.

use std::{
    io::{BufRead, BufReader, Write},
    process::ChildStderr,
    sync::{Mutex, mpsc},
};

/// What the example writes to standard error, shown if the test fails.
#[derive(Debug)]
pub(super) struct Log {
    lines: Mutex<mpsc::Receiver<String>>,
    seen: Mutex<Vec<String>>,
}

impl Log {
    pub(super) fn of(stderr: ChildStderr) -> Self {
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { lines: Mutex::new(lines), seen: Mutex::default() }
    }

    /// Reads the lines that have come, up to one with this text.
    pub(super) fn goes_on_with(&self, text: &str) -> bool {
        self.lines.lock().unwrap().try_iter().any(|line| {
            let found = line.contains(text);
            self.seen.lock().unwrap().push(line);
            found
        })
    }

    /// All that has come.
    pub(super) fn text(&self) -> String {
        let mut seen = self.seen.lock().unwrap();
        seen.extend(self.lines.lock().unwrap().try_iter());
        seen.join("\n")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = std::io::stderr().write_all(self.text().as_bytes());
        }
    }
}
