//! The throwaway MariaDB server: what it does for tests, and that it leaves nothing behind.

use std::{
    env,
    io::{BufRead, BufReader, ErrorKind, Read},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use idem_testkit::MariaDbServer;

const HOST: &str = "IDEM_TESTKIT_HOSTS_A_MARIADB_SERVER";

#[test]
fn data_survives_a_crash() {
    let server = MariaDbServer::start();
    server.execute("CREATE TABLE mysql.t AS SELECT 7 AS n");
    server.stop();
    let refused = connect(&server.url()).expect_err("it is stopped");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    server.restart();
    assert_eq!(server.execute("SELECT n FROM mysql.t"), "7");
    server.restart();
    assert_eq!(server.execute("SELECT n FROM mysql.t"), "7");
}

#[test]
fn databases_are_separate() {
    let server = MariaDbServer::shared();
    let [a, b] = [server.fresh_database(), server.fresh_database()]
        .map(|url| url.rsplit('/').next().expect("a database").to_owned());
    server.execute(&format!("CREATE TABLE {a}.t (n int); CREATE TABLE {b}.t (n int)"));
    assert_eq!(server.execute(&format!("SELECT count(*) FROM {a}.t, {b}.t")), "0");
}

#[test]
fn options_are_kept_over_a_restart() {
    let server = MariaDbServer::start_with(&["--max-allowed-packet=2M", "--sql-mode=ANSI"]);
    for _ in 0..2 {
        let set = server.execute("SELECT @@max_allowed_packet, @@sql_mode LIKE '%ANSI%'");
        assert_eq!(set, format!("{}\t1", 2 << 20));
        server.restart();
    }
}

#[test]
fn a_paused_server_is_silent_until_it_is_resumed() {
    let server = MariaDbServer::start();
    server.pause();
    // The server speaks first, and the kernel accepts in its place.
    let mut client = connect(&server.url()).expect("the kernel takes it");
    client.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    assert!(client.read(&mut [0]).is_err());
    server.resume();
    client.set_read_timeout(None).expect("no timeout");
    assert_eq!(client.read(&mut [0]).expect("an answer"), 1);

    server.pause();
    let url = server.url();
    drop(server);
    connect(&url).expect_err("a paused server can be ended");
}

#[test]
fn a_dropped_server_is_gone() {
    let server = MariaDbServer::start();
    let (dir, url) = (dir(&server), server.url());
    assert!(dir.exists());
    drop(server);
    assert!(!dir.exists());
    connect(&url).expect_err("it is gone");
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
    let dir = ready.next().expect("its directory");
    assert!(Path::new(&dir).exists());
    connect(&url).expect("it runs");

    host.kill().expect("SIGKILL");
    host.wait().expect("it is dead");
    let deadline = Instant::now() + Duration::from_secs(20);
    while Path::new(&dir).exists() || connect(&url).is_ok() {
        assert!(Instant::now() < deadline, "the server outlives its process");
        thread::sleep(Duration::from_millis(10));
    }
}

#[allow(clippy::print_stdout, reason = "another process reads it")]
fn host_a_server_until_killed() {
    let server = MariaDbServer::shared();
    println!("\nready\n{}\n{}", server.url(), dir(server).display());
    thread::sleep(Duration::from_mins(1));
}

/// Where all files of a server are.
fn dir(server: &MariaDbServer) -> PathBuf {
    let socket = PathBuf::from(server.execute("SELECT @@socket"));
    socket.parent().expect("a directory around it").to_owned()
}

fn connect(url: &str) -> std::io::Result<TcpStream> {
    let rest = url.strip_prefix("mysql://root@").expect("our form of URL");
    TcpStream::connect(rest.split('/').next().expect("an address"))
}
