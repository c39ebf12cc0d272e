//! A wire between an engine and its server that can be cut at a commit, at a record, or at a `LISTEN`.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, Notify, watch},
};

/// Where a fault happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum At {
    /// At the next `COMMIT`.
    Commit,
    /// At the next execution of the statement that writes a record.
    Record,
}

/// What a client and its server speak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Protocol {
    Postgres,
    MySql,
}

/// What happens there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// It does not reach the server, and the connection is cut.
    CutBefore,
    /// The server does it, and the connection is cut before its answer.
    CutAfter,
    /// The server is told to commit, and the connection is cut when the test says so.
    CutLater,
    /// The server commits, and its answer does not come. The connection stays.
    Silence,
}

/// Forwards connections. It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    plan: Arc<Plan>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Plan {
    /// The next fault, and whether nobody gets through from then on.
    next: std::sync::Mutex<Option<(At, Fault, bool)>>,
    faults: AtomicUsize,
    /// Whether whoever begins to listen is cut off.
    lets_nobody_listen: AtomicBool,
    is_up: watch::Sender<bool>,
    cut: Notify,
}

impl Proxy {
    /// In front of the server on this port of 127.0.0.1.
    pub(crate) async fn to(server: u16, protocol: Protocol) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let plan = Arc::new(Plan {
            next: std::sync::Mutex::default(),
            faults: AtomicUsize::new(0),
            lets_nobody_listen: AtomicBool::new(false),
            is_up: watch::Sender::new(true),
            cut: Notify::new(),
        });
        let accepting = tokio::spawn({
            let plan = Arc::clone(&plan);
            async move {
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    if *plan.is_up.borrow() {
                        tokio::spawn(forward(client, server, protocol, Arc::clone(&plan)));
                    }
                }
            }
        });
        Self { port, plan, accepting }
    }

    pub(crate) fn on_commit(&self, fault: Fault) {
        *self.plan.next.lock().unwrap() = Some((At::Commit, fault, false));
    }

    pub(crate) fn on_record(&self, fault: Fault) {
        *self.plan.next.lock().unwrap() = Some((At::Record, fault, false));
    }

    /// From the fault on, all connections are cut, and new ones are refused.
    pub(crate) fn on_commit_and_down(&self, fault: Fault) {
        *self.plan.next.lock().unwrap() = Some((At::Commit, fault, true));
    }

    /// Cuts the connection of a [`Fault::CutLater`].
    pub(crate) fn cut(&self) {
        self.plan.cut.notify_one();
    }

    pub(crate) fn up(&self) {
        self.plan.is_up.send_replace(true);
    }

    /// Connections that are to receive notifications are cut.
    pub(crate) fn let_nobody_listen(&self) {
        self.plan.lets_nobody_listen.store(true, Ordering::Relaxed);
    }

    /// How many faults there were.
    pub(crate) fn faults(&self) -> usize {
        self.plan.faults.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Until one side ends, a fault cuts it, or nobody gets through any more.
async fn forward(client: TcpStream, server: u16, protocol: Protocol, plan: Arc<Plan>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else { return };
    let mut is_up = plan.is_up.subscribe();
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    // Whoever holds it lets answers through.
    let answers = Arc::new(Mutex::new(()));
    tokio::select! {
        _ = ask(client_read, server_write, protocol, &plan, &answers) => {}
        _ = answer(server_read, client_write, &answers) => {}
        _ = is_up.wait_for(|is_up| !is_up) => {}
    }
}

async fn answer(
    server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    answers: &Mutex<()>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        server.readable().await?;
        let _through = answers.lock().await;
        let length = match server.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        client.write_all(&buffer[..length]).await?;
    }
}

/// What a client sends, message by message.
struct Messages {
    protocol: Protocol,
    is_first: bool,
    prepares_record: bool,
    executes_record: bool,
}

impl Messages {
    async fn next(&mut self, client: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
        let mut message = Vec::new();
        let length = match self.protocol {
            Protocol::Postgres => {
                // Messages have a type, but for the first, which has only a length.
                if !self.is_first {
                    message.push(client.read_u8().await?);
                }
                let length = client.read_u32().await?;
                message.extend(length.to_be_bytes());
                length as usize - 4
            }
            Protocol::MySql => {
                let head = client.read_u32_le().await?;
                message.extend(head.to_le_bytes());
                (head & 0xff_ffff) as usize
            }
        };
        self.is_first = false;
        let head = message.len();
        message.resize(head + length, 0);
        client.read_exact(&mut message[head..]).await?;
        Ok(message)
    }

    /// Where a message is, if that is a place for faults. A record is prepared, executed, and then the
    /// server is asked to answer.
    fn place(&mut self, message: &[u8]) -> Option<At> {
        let has = |text: &[u8]| message.windows(text.len()).any(|it| it == text);
        match (self.protocol, message) {
            (Protocol::Postgres, [b'P', ..]) => self.prepares_record = has(b"written AS "),
            (Protocol::Postgres, [b'E', ..]) => self.executes_record = self.prepares_record,
            (Protocol::Postgres, [b'S', ..]) if self.executes_record => return Some(At::Record),
            (Protocol::Postgres, [b'Q', _, _, _, _, text @ ..]) if text.starts_with(b"COMMIT") => {
                return Some(At::Commit);
            }
            // The length, the number of the packet, the command.
            (Protocol::MySql, [_, _, _, 0, 0x16, ..]) => {
                self.prepares_record = has(b"INSERT INTO") && has(b"status, headers, body");
                self.prepares_record &= !has(b"RETURNING");
            }
            (Protocol::MySql, [_, _, _, 0, 0x17, ..]) if self.prepares_record => {
                return Some(At::Record);
            }
            (Protocol::MySql, [_, _, _, 0, 0x03, text @ ..]) if text.starts_with(b"COMMIT") => {
                return Some(At::Commit);
            }
            _ => {}
        }
        None
    }
}

async fn ask(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    protocol: Protocol,
    plan: &Plan,
    answers: &Mutex<()>,
) -> std::io::Result<()> {
    let mut messages =
        Messages { protocol, is_first: true, prepares_record: false, executes_record: false };
    loop {
        let message = messages.next(&mut client).await?;
        if let [b'Q', _, _, _, _, text @ ..] = &message[..]
            && text.starts_with(b"LISTEN")
            && plan.lets_nobody_listen.load(Ordering::Relaxed)
        {
            plan.faults.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let at = messages.place(&message);
        let fault = plan.next.lock().unwrap().take_if(|(place, ..)| Some(*place) == at);
        let Some((_, fault, then_down)) = fault else {
            server.write_all(&message).await?;
            continue;
        };
        plan.faults.fetch_add(1, Ordering::Relaxed);
        let _silence = answers.lock().await;
        if !matches!(fault, Fault::CutBefore) {
            server.write_all(&message).await?;
        }
        match fault {
            Fault::CutBefore => {}
            Fault::CutLater => plan.cut.notified().await,
            Fault::CutAfter | Fault::Silence => {
                // The answer comes after the commit.
                let mut lost = [0; 1024];
                while server.as_ref().try_read(&mut lost).is_err() {
                    server.as_ref().readable().await?;
                }
            }
        }
        if then_down {
            plan.is_up.send_replace(false);
        }
        if matches!(fault, Fault::Silence) {
            std::future::pending::<()>().await;
        }
        return Ok(());
    }
}
