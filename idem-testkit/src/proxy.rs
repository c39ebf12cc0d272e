//! A wire that fails on demand.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

/// What a [`FaultProxy`] does to its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// As when the server's process has gone: connections break, and new ones are refused.
    Refuse,
    /// As when a machine in between gives up: connections break, and new ones break at once.
    Drop,
    /// Each answer comes so much later.
    Delay(Duration),
    /// Requests reach the server, and of the next answer only so many bytes come back; then the
    /// connection breaks.
    CutReply(usize),
    /// As when the network swallows everything: connections stay open, new ones are accepted, and
    /// nothing ever comes through. A connection that lost something stays silent after a
    /// [`repair`](FaultProxy::repair), too.
    HalfOpen,
}

/// Stands between a client and a server on this machine, and forwards everything until it is told
/// to fail. It ends when it is dropped.
///
/// ```
/// use idem_testkit::{Fault, FaultProxy, PostgresServer};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let url = PostgresServer::shared().fresh_database();
/// let proxy = FaultProxy::in_front_of(&url);
/// let through = proxy.url(&url);
/// assert_ne!(through, url);
///
/// proxy.fail(Fault::Refuse); // clients of `through` cannot connect now
/// proxy.repair();
/// # });
/// ```
#[derive(Debug)]
pub struct FaultProxy {
    server: SocketAddr,
    port: u16,
    wire: Arc<Wire>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Wire {
    fault: watch::Sender<Option<Fault>>,
    met: AtomicUsize,
}

type Faults = watch::Receiver<Option<Fault>>;

impl Wire {
    fn meets(&self) -> Option<Fault> {
        *self.fault.borrow()
    }

    fn count(&self) {
        self.met.fetch_add(1, Ordering::Relaxed);
    }
}

impl FaultProxy {
    /// In front of a server at `127.0.0.1:<port>`.
    ///
    /// # Panics
    ///
    /// When there is no port left, or outside of a tokio runtime.
    pub fn to(server: u16) -> Self {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
        // Bound and never listening: it keeps the port while connections to it are refused.
        let reserved = bound(0).expect("a free port");
        let port = reserved.local_addr().expect("it is bound").port();
        let wire = Arc::new(Wire { fault: watch::Sender::new(None), met: AtomicUsize::new(0) });
        let listener = listen(port).expect("the port is ours");
        let accepting = tokio::spawn(accept(listener, reserved, server, Arc::clone(&wire)));
        Self { server, port, wire, accepting }
    }

    /// In front of the server that a url names, which must be `127.0.0.1` with a port.
    ///
    /// # Panics
    ///
    /// Like [`to`](Self::to), and when the url names no such server.
    pub fn in_front_of(url: &str) -> Self {
        let (_, rest) = url.split_once("127.0.0.1:").expect("a url with 127.0.0.1:<port>");
        let digits = rest.chars().take_while(char::is_ascii_digit).collect::<String>();
        Self::to(digits.parse().expect("a port"))
    }

    /// Where clients connect to, on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The server's url, as clients of the proxy need it.
    pub fn url(&self, url: &str) -> String {
        let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        url.replacen(&self.server.to_string(), &proxy.to_string(), 1)
    }

    /// From now on, this happens to all connections.
    pub fn fail(&self, fault: Fault) {
        self.wire.fault.send_replace(Some(fault));
    }

    /// From now on, all connections are forwarded. What was broken stays broken.
    pub fn repair(&self) {
        self.wire.fault.send_replace(None);
    }

    /// How often a connection, or something sent over it, met a fault. A connection that is refused
    /// is not seen and not counted.
    pub fn met(&self) -> usize {
        self.wire.met.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.wire.fault.send_replace(Some(Fault::Drop));
    }
}

fn bound(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into())?;
    Ok(socket)
}

fn listen(port: u16) -> io::Result<TcpListener> {
    bound(port)?.listen(1024)
}

async fn accept(
    mut listener: TcpListener,
    reserved: TcpSocket,
    server: SocketAddr,
    wire: Arc<Wire>,
) {
    let refuses = |it: &Option<Fault>| *it == Some(Fault::Refuse);
    let port = reserved.local_addr().expect("it is bound").port();
    let mut fault = wire.fault.subscribe();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                tokio::spawn(forward(client, server, Arc::clone(&wire)));
            },
            () = until(&mut fault, refuses) => {
                drop(listener);
                until(&mut fault, |it| !refuses(it)).await;
                listener = listen(port).expect("the port is ours");
            }
        }
    }
}

/// The sender lives in the wire, which all that wait hold.
async fn until(fault: &mut Faults, is_so: impl FnMut(&Option<Fault>) -> bool) {
    let _ = fault.wait_for(is_so).await;
}

/// Until one side ends, or a fault breaks it.
async fn forward(client: TcpStream, server: SocketAddr, wire: Arc<Wire>) {
    let mut fault = wire.fault.subscribe();
    match wire.meets() {
        Some(Fault::Drop | Fault::Refuse) => {
            wire.count();
            return;
        }
        Some(Fault::HalfOpen) => {
            wire.count();
            return silence(client, &mut fault).await;
        }
        _ => {}
    }
    let Ok(upstream) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = upstream.into_split();
    tokio::select! {
        // What comes when it is broken already does not get through.
        biased;
        () = broken(&mut fault) => wire.count(),
        _ = requests(client_read, server_write, &wire) => {}
        _ = answers(server_read, client_write, &wire) => {}
    }
}

/// Returns when connections break.
async fn broken(fault: &mut Faults) {
    until(fault, |it| matches!(it, Some(Fault::Drop | Fault::Refuse))).await;
}

/// Keeps the connection open until connections break, or the client has enough.
async fn silence(mut client: TcpStream, fault: &mut Faults) {
    let ignore = async {
        let mut swallowed = [0; 1024];
        while client.read(&mut swallowed).await.is_ok_and(|length| length > 0) {}
    };
    tokio::select! {
        () = ignore => {}
        () = broken(fault) => {}
    }
}

async fn requests(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    wire: &Wire,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut lost = false;
    loop {
        let length = client.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        lost |= wire.meets() == Some(Fault::HalfOpen);
        if lost {
            wire.count();
        } else {
            server.write_all(&buffer[..length]).await?;
        }
    }
}

async fn answers(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    wire: &Wire,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut lost = false;
    loop {
        let length = server.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let answer = &buffer[..length];
        match wire.meets() {
            Some(Fault::HalfOpen) => lost = true,
            Some(Fault::Delay(delay)) if !lost => {
                wire.count();
                sleep(delay).await;
            }
            Some(Fault::CutReply(bytes)) if !lost => {
                wire.count();
                client.write_all(&answer[..bytes.min(length)]).await?;
                return client.flush().await;
            }
            _ => {}
        }
        if lost {
            wire.count();
        } else {
            client.write_all(answer).await?;
        }
    }
}
