//! Throwaway browsers.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::supervisor::{Script, Supervisor};

const SCRIPT: Script = Script {
    name: "idem-chromedriver",
    text: include_str!("chromedriver.sh"),
    instead_of_root: None,
};

/// A `ChromeDriver` of its own, on a free port of 127.0.0.1, with its files in `/tmp`: a server for
/// the [WebDriver](https://www.w3.org/TR/webdriver2/) protocol, by which tests drive a real browser.
///
/// It ends with this process, however the process ends, and so do its browsers if they are started
/// with [`ARGUMENTS`](Self::ARGUMENTS).
#[derive(Debug)]
pub struct ChromeDriver {
    browser: PathBuf,
    port: String,
    _supervisor: Supervisor,
}

impl ChromeDriver {
    /// What a browser is started with: the `args` of `goog:chromeOptions`. It has no window, a new
    /// empty profile, speaks to nobody by itself, and ends with its driver.
    pub const ARGUMENTS: [&str; 10] = [
        "--remote-debugging-pipe",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
    ];

    /// The directories of `PATH` where `chromedriver` and `chromium` are. `None` when one of them is
    /// not installed.
    pub fn programs() -> Option<[PathBuf; 2]> {
        let path = env::var_os("PATH")?;
        let find = |name| env::split_paths(&path).map(|it| it.join(name)).find(|it| it.is_file());
        Some([find("chromedriver")?, find("chromium")?])
    }

    /// Starts a driver and waits until it listens. It starts a browser for each session.
    ///
    /// # Panics
    ///
    /// When driver or browser are not installed, or the driver does not start; the message says what
    /// to do.
    pub fn start() -> Self {
        let [driver, browser] = Self::programs().expect(
            "Chromium is not installed: PATH does not have both `chromedriver` and `chromium`. On \
             Debian and Ubuntu: apt-get install chromium chromium-driver",
        );
        let mut supervisor = Supervisor::start(&SCRIPT, &driver);
        let port = supervisor.answer();
        Self { browser, port, _supervisor: supervisor }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The browser's program: the `binary` of `goog:chromeOptions`.
    pub fn browser(&self) -> &Path {
        &self.browser
    }
}
