//! The throwaway Postgres server: what it does for tests, and that it leaves nothing behind.

use std::{
    env,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use idem_testkit::PostgresServer;

const HOST: &str = "IDEM_TESTKIT_HOSTS_A_SERVER";

#[test]
fn data_survives_a_crash() {
    let server = PostgresServer::start();
    let url = server.fresh_database();
    query(&url, "CREATE TABLE t AS SELECT 7 AS n");
    server.stop();
    let refused = TcpStream::connect(address(&url)).expect_err("it is stopped");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    server.restart();
    assert_eq!(query(&url, "SELECT n FROM t"), "7");
    server.restart();
    assert_eq!(query(&url, "SELECT n FROM t"), "7");
}

#[test]
fn databases_are_separate_and_statistics_are_at_hand() {
    let server = PostgresServer::shared();
    let (a, b) = (server.fresh_database(), server.fresh_database());
    query(&a, "CREATE TABLE t ()");
    query(&b, "CREATE TABLE t ()");
    query(&a, "CREATE EXTENSION pg_stat_statements");
    assert_ne!(query(&a, "SELECT count(*) FROM pg_stat_statements"), "0");
    assert_eq!(query(&server.url(), "SHOW max_connections"), "300");
}

#[test]
fn a_paused_server_is_silent_until_it_is_resumed() {
    let server = PostgresServer::start();
    let mut client = TcpStream::connect(address(&server.url())).expect("it accepts");
    server.pause();
    let ssl_request = [0, 0, 0, 8, 4, 210, 22, 47];
    client.write_all(&ssl_request).expect("the kernel takes it");
    client.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    assert!(client.read(&mut [0]).is_err());
    server.resume();
    client.set_read_timeout(None).expect("no timeout");
    assert_eq!(client.read(&mut [0]).expect("an answer"), 1);

    server.pause();
    let url = server.url();
    drop(server);
    TcpStream::connect(address(&url)).expect_err("a paused server can be ended");
}

#[test]
fn a_dropped_server_is_gone() {
    let server = PostgresServer::start();
    let data = query(&server.url(), "SHOW data_directory");
    let url = server.url();
    assert!(Path::new(&data).exists());
    drop(server);
    assert!(!Path::new(&data).parent().expect("a directory around it").exists());
    TcpStream::connect(address(&url)).expect_err("it is gone");
}

#[test]
fn the_server_dies_with_a_killed_process() {
    if env::var_os(HOST).is_some() {
        return host_a_server_until_killed();
    }
    let mut host = Command::new(env::current_exe().expect("this test"))
        .args(["--exact", "the_server_dies_with_a_killed_process", "--nocapture"])
        .env(HOST, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test runs");
    let lines = BufReader::new(host.stdout.take().expect("a pipe")).lines();
    let mut ready = lines.map_while(Result::ok).skip_while(|line| !line.ends_with("ready"));
    ready.next().expect("it says when it is ready");
    let url = ready.next().expect("its address");
    let data = ready.next().expect("its data directory");
    let dir = Path::new(&data).parent().expect("a directory around it");
    assert!(dir.exists());
    assert_eq!(query(&url, "SELECT 1"), "1");

    host.kill().expect("SIGKILL");
    host.wait().expect("it is dead");
    let deadline = Instant::now() + Duration::from_secs(20);
    while dir.exists() || TcpStream::connect(address(&url)).is_ok() {
        assert!(Instant::now() < deadline, "the server outlives its process");
        thread::sleep(Duration::from_millis(10));
    }
}

#[allow(clippy::print_stdout, reason = "another process reads it")]
fn host_a_server_until_killed() {
    let server = PostgresServer::shared();
    let data = query(&server.url(), "SHOW data_directory");
    println!("\nready\n{}\n{data}", server.url());
    thread::sleep(Duration::from_mins(1));
}

fn address(url: &str) -> &str {
    let rest = url.strip_prefix("postgres://postgres@").expect("our form of URL");
    rest.split('/').next().expect("an address")
}

fn query(url: &str, sql: &str) -> String {
    let psql = PostgresServer::programs().expect("Postgres is installed").join("psql");
    let output = Command::new(psql).args(["-XqAt", "-c", sql, url]).output().expect("psql runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}
