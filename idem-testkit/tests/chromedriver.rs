//! The throwaway browser: that it runs, and that it leaves nothing behind.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use idem_testkit::ChromeDriver;

const HOST: &str = "IDEM_TESTKIT_HOSTS_A_BROWSER";

#[test]
fn a_dropped_browser_is_gone() {
    let driver = ChromeDriver::start();
    let profile = open_browser(&driver);
    let url = driver.url();
    assert!(profile.exists() && has_processes(&profile));
    drop(driver);
    assert!(!profile.parent().expect("a directory around it").exists());
    assert!(!has_processes(&profile));
    TcpStream::connect(address(&url)).expect_err("it is gone");
}

#[test]
fn the_browser_dies_with_a_killed_process() {
    if env::var_os(HOST).is_some() {
        return host_a_browser_until_killed();
    }
    let mut host = Command::new(env::current_exe().expect("this test"))
        .args(["--exact", "the_browser_dies_with_a_killed_process", "--nocapture"])
        .env(HOST, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test runs");
    let lines = BufReader::new(host.stdout.take().expect("a pipe")).lines();
    let mut ready = lines.map_while(Result::ok).skip_while(|line| !line.ends_with("ready"));
    ready.next().expect("it says when it is ready");
    let url = ready.next().expect("its address");
    let profile = PathBuf::from(ready.next().expect("its profile"));
    let dir = profile.parent().expect("a directory around it");
    assert!(dir.exists() && has_processes(&profile));

    host.kill().expect("SIGKILL");
    host.wait().expect("it is dead");
    let deadline = Instant::now() + Duration::from_secs(20);
    while dir.exists() || has_processes(&profile) || TcpStream::connect(address(&url)).is_ok() {
        assert!(Instant::now() < deadline, "the browser outlives its process");
        thread::sleep(Duration::from_millis(10));
    }
}

#[allow(clippy::print_stdout, reason = "another process reads it")]
fn host_a_browser_until_killed() {
    let driver = ChromeDriver::start();
    let profile = open_browser(&driver);
    println!("\nready\n{}\n{}", driver.url(), profile.display());
    thread::sleep(Duration::from_mins(1));
}

/// Returns the browser's profile.
fn open_browser(driver: &ChromeDriver) -> PathBuf {
    let capabilities = format!(
        r#"{{"capabilities": {{"alwaysMatch": {{"goog:chromeOptions": {{"binary": "{}", "args": {:?}}}}}}}}}"#,
        driver.browser().display(),
        ChromeDriver::ARGUMENTS
    );
    let mut connection = TcpStream::connect(address(&driver.url())).expect("it listens");
    write!(
        connection,
        "POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n\
         {capabilities}",
        capabilities.len()
    )
    .expect("it reads");
    let mut answer = BufReader::new(connection);
    let mut length = 0;
    for header in answer.by_ref().lines().map_while(Result::ok).take_while(|it| !it.is_empty()) {
        if let Some((_, value)) = header.split_once(':').filter(|it| it.0 == "Content-Length") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body).expect("it answers");
    let body = String::from_utf8(body).expect("JSON");
    let profile = body.split_once(r#""userDataDir":""#).expect(&body).1;
    profile.split('"').next().expect("a string").into()
}

/// Whether a process was started with the profile. One that has ended has no command line.
fn has_processes(profile: &Path) -> bool {
    let profile = profile.to_str().expect("UTF-8");
    let processes = fs::read_dir("/proc").expect("Linux").map_while(Result::ok);
    let mut command_lines = processes.filter_map(|it| fs::read(it.path().join("cmdline")).ok());
    command_lines.any(|it| String::from_utf8_lossy(&it).contains(profile))
}

fn address(url: &str) -> &str {
    url.strip_prefix("http://").expect("our form of URL")
}
