//! The wire that fails on demand.

#![allow(clippy::unwrap_used, reason = "what the tests share is a test, too")]

use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use idem_testkit::{Fault, FaultProxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Sends back what it gets.
async fn echo() -> FaultProxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    FaultProxy::in_front_of(&format!("echo://127.0.0.1:{port}/"))
}

async fn connect(proxy: &FaultProxy) -> io::Result<TcpStream> {
    TcpStream::connect(("127.0.0.1", proxy.port())).await
}

/// What comes back, at most as much as was sent.
async fn ask(stream: &mut TcpStream) -> io::Result<String> {
    stream.write_all(b"hello").await?;
    let mut answer = Vec::new();
    stream.take(5).read_to_end(&mut answer).await?;
    Ok(String::from_utf8(answer).unwrap())
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(Duration::from_millis(100), ask(stream)).await.is_err()
}

#[tokio::test]
async fn everything_goes_through_until_it_is_told_to_fail() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut stream).await.unwrap(), "hello");
    assert_eq!(ask(&mut stream).await.unwrap(), "hello");
    assert_eq!(proxy.met(), 0);
}

#[tokio::test]
async fn a_refusing_server_breaks_its_connections_and_comes_back_on_the_same_port() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut stream).await.unwrap(), "hello");
    for _ in 0..3 {
        proxy.fail(Fault::Refuse);
        assert_ne!(ask(&mut stream).await.unwrap_or_default(), "hello");
        let start = Instant::now();
        let refused = Some(ErrorKind::ConnectionRefused);
        while connect(&proxy).await.map_err(|it| it.kind()).err() != refused {
            assert!(start.elapsed() < Duration::from_mins(1), "it does not refuse");
        }
        proxy.repair();
        while connect(&proxy).await.is_err() {
            assert!(start.elapsed() < Duration::from_mins(1), "it does not come back");
        }
        stream = connect(&proxy).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn dropped_connections_break_and_so_do_new_ones() {
    let proxy = echo().await;
    let mut old = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut old).await.unwrap(), "hello");
    proxy.fail(Fault::Drop);
    assert_ne!(ask(&mut old).await.unwrap_or_default(), "hello");
    let mut new = connect(&proxy).await.unwrap();
    assert_ne!(ask(&mut new).await.unwrap_or_default(), "hello");
    proxy.repair();
    assert_eq!(ask(&mut connect(&proxy).await.unwrap()).await.unwrap(), "hello");
    assert_eq!(proxy.met(), 2);
}

#[tokio::test]
async fn an_answer_comes_late() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await.unwrap();
    proxy.fail(Fault::Delay(Duration::from_millis(200)));
    let start = Instant::now();
    assert_eq!(ask(&mut stream).await.unwrap(), "hello");
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(proxy.met(), 1);
}

#[tokio::test]
async fn an_answer_is_cut() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await.unwrap();
    proxy.fail(Fault::CutReply(3));
    assert_eq!(ask(&mut stream).await.unwrap(), "hel");
    proxy.repair();
    assert_eq!(ask(&mut connect(&proxy).await.unwrap()).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_half_open_connection_stays_silent_for_good_and_new_ones_are_healthy_after_the_repair() {
    let proxy = echo().await;
    let mut old = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut old).await.unwrap(), "hello");
    proxy.fail(Fault::HalfOpen);
    assert!(is_silent(&mut old).await);
    let mut new = connect(&proxy).await.unwrap();
    assert!(is_silent(&mut new).await);
    proxy.repair();
    assert!(is_silent(&mut old).await && is_silent(&mut new).await);
    assert_eq!(ask(&mut connect(&proxy).await.unwrap()).await.unwrap(), "hello");
    assert!(proxy.met() >= 2);
}
