//! The throwaway Redis servers: what they do for tests, and that they leave nothing behind.

use std::{
    env,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use idem_testkit::{RedisCluster, RedisServer};

const HOST: &str = "IDEM_TESTKIT_HOSTS_A_REDIS_SERVER";

#[test]
fn data_survives_a_crash() {
    let server = RedisServer::start();
    assert_eq!(server.command(&["SET", "k", "7"]), "OK");
    server.stop();
    let refused = connect(server.port()).expect_err("it is stopped");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    server.restart();
    assert_eq!(server.command(&["GET", "k"]), "7");
    server.restart();
    assert_eq!(server.command(&["GET", "k"]), "7");
}

#[test]
fn prefixes_are_separate() {
    let server = RedisServer::shared();
    assert_ne!(server.fresh_prefix(), server.fresh_prefix());
}

#[test]
fn a_paused_server_is_silent_until_it_is_resumed() {
    let server = RedisServer::start();
    let mut client = connect(server.port()).expect("it accepts");
    server.pause();
    client.write_all(b"PING\r\n").expect("the kernel takes it");
    client.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    assert!(client.read(&mut [0]).is_err());
    server.resume();
    client.set_read_timeout(None).expect("no timeout");
    assert_eq!(client.read(&mut [0]).expect("an answer"), 1);

    server.pause();
    let port = server.port();
    drop(server);
    connect(port).expect_err("a paused server can be ended");
}

#[test]
fn a_dropped_server_is_gone() {
    let server = RedisServer::start();
    let (dir, port) = (dir(&server), server.port());
    assert!(Path::new(&dir).exists());
    drop(server);
    assert!(!Path::new(&dir).exists());
    connect(port).expect_err("it is gone");
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
    let port = ready.next().and_then(|it| it.parse().ok()).expect("its port");
    let dir = ready.next().expect("its directory");
    assert!(Path::new(&dir).exists());
    connect(port).expect("it runs");

    host.kill().expect("SIGKILL");
    host.wait().expect("it is dead");
    let deadline = Instant::now() + Duration::from_secs(20);
    while Path::new(&dir).exists() || connect(port).is_ok() {
        assert!(Instant::now() < deadline, "the server outlives its process");
        thread::sleep(Duration::from_millis(10));
    }
}

#[allow(clippy::print_stdout, reason = "another process reads it")]
fn host_a_server_until_killed() {
    let server = RedisServer::shared();
    println!("\nready\n{}\n{}", server.port(), dir(server));
    thread::sleep(Duration::from_mins(1));
}

#[test]
fn a_replica_takes_over_in_a_cluster() {
    let cluster = RedisCluster::start();
    let [master, other, ..] = cluster.nodes() else { panic!("there are six nodes") };
    let replica = &cluster.nodes()[3];
    let role = |node: &RedisServer| node.command(&["ROLE"]).lines().next().map(str::to_owned);
    assert_eq!(role(replica).as_deref(), Some("slave"));
    assert_eq!(master.command(&["SET", "{06S}", "first slot"]), "OK");
    let moved = other.command(&["GET", "{06S}"]);
    assert!(moved.contains(&format!("MOVED 0 127.0.0.1:{}", master.port())), "{moved}");

    master.command(&["WAIT", "1", "0"]);
    master.stop();
    let deadline = Instant::now() + Duration::from_secs(20);
    while role(replica).as_deref() != Some("master") {
        assert!(Instant::now() < deadline, "nobody takes over");
        thread::sleep(Duration::from_millis(50));
    }
    master.restart();
    cluster.await_health();
    assert_eq!(replica.command(&["GET", "{06S}"]), "first slot");
    assert_eq!(role(master).as_deref(), Some("slave"));
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect(("127.0.0.1", port))
}

fn dir(server: &RedisServer) -> String {
    let dir = server.command(&["CONFIG", "GET", "dir"]);
    dir.lines().nth(1).expect("a directory").to_owned()
}
