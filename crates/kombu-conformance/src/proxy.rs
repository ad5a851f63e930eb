//! A proxy before a broker, which can be cut, frozen and closed without touching the broker.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

/// A TCP proxy on a port of this machine. Dropping it closes all that goes through it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    wish: watch::Sender<Wish>,
    /// Whether the port is open.
    listening: watch::Receiver<bool>,
    task: AbortHandle,
}

/// What is to happen to connections.
#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    frozen: bool,
    refusing: bool,
    /// Connections made before the last cut end.
    cuts: u64,
}

impl Proxy {
    /// Opens a port that leads to a host and port.
    ///
    /// # Errors
    ///
    /// When no port can be opened.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn start(host: &str, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (wish, wishes) = watch::channel(Wish::default());
        let (opened, listening) = watch::channel(true);
        let upstream = Arc::new((host.to_owned(), port));
        let task = tokio::spawn(serve(listener, address, upstream, wishes, opened)).abort_handle();
        Ok(Self { address, wish, listening, task })
    }

    /// The port that it listens on, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends all connections at once; new ones are let through.
    pub fn cut(&self) {
        self.wish.send_modify(|wish| wish.cuts += 1);
    }

    /// Lets nothing pass any more in either direction; connections stay open, and new ones are
    /// accepted but reach nobody.
    pub fn freeze(&self) {
        self.wish.send_modify(|wish| wish.frozen = true);
    }

    /// Lets everything pass again, what was held back included.
    pub fn thaw(&self) {
        self.wish.send_modify(|wish| wish.frozen = false);
    }

    /// Closes the port, and ends all connections: as if there were no broker.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the port closes all the same.
    pub async fn refuse(&self) {
        self.wish.send_modify(|wish| {
            wish.refusing = true;
            wish.cuts += 1;
        });
        self.until_listening(false).await;
    }

    /// Opens the port again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the port opens all the same.
    pub async fn restore(&self) {
        self.wish.send_modify(|wish| wish.refusing = false);
        self.until_listening(true).await;
    }

    async fn until_listening(&self, wanted: bool) {
        let mut listening = self.listening.clone();
        let _proxy_ended = listening.wait_for(|listening| *listening == wanted).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Upstream = Arc<(String, u16)>;

/// Accepts connections while it is to.
async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    upstream: Upstream,
    mut wishes: watch::Receiver<Wish>,
    opened: watch::Sender<bool>,
) {
    let mut listener = Some(listener);
    // Aborted with this task.
    let mut connections = JoinSet::new();
    loop {
        let refusing = wishes.borrow_and_update().refusing;
        match listener.take().filter(|_| !refusing) {
            Some(open) => {
                opened.send_replace(true);
                tokio::select! {
                    // One that came with the wish to refuse is not let in by chance.
                    accepted = open.accept() => if let Ok((client, _)) = accepted
                        && !wishes.borrow().refusing
                    {
                        connections.spawn(pass(client, Arc::clone(&upstream), wishes.clone()));
                    },
                    changed = wishes.changed() => if changed.is_err() {
                        return;
                    },
                    Some(_ended) = connections.join_next() => {}
                }
                listener = Some(open);
            }
            None if refusing => {
                opened.send_replace(false);
                if wishes.changed().await.is_err() {
                    return;
                }
            }
            None => match TcpListener::bind(address).await {
                Ok(open) => listener = Some(open),
                Err(_still_taken) => sleep(Duration::from_millis(10)).await,
            },
        }
    }
}

/// Passes on what comes, until one side ends or the connection is cut.
async fn pass(client: TcpStream, upstream: Upstream, wishes: watch::Receiver<Wish>) {
    let cuts = wishes.borrow().cuts;
    let both = async {
        until_thawed(&mut wishes.clone()).await;
        let Ok(server) = TcpStream::connect((upstream.0.as_str(), upstream.1)).await else {
            return;
        };
        let _no_delay = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            () = one_way(from_client, to_server, wishes.clone()) => {}
            () = one_way(from_server, to_client, wishes.clone()) => {}
        }
    };
    let mut until_cut = wishes.clone();
    tokio::select! {
        () = both => {}
        _cut = until_cut.wait_for(|wish| wish.cuts != cuts) => {}
    }
    drop(wishes);
}

async fn one_way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut wishes: watch::Receiver<Wish>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        until_thawed(&mut wishes).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn until_thawed(wishes: &mut watch::Receiver<Wish>) {
    let _proxy_ended = wishes.wait_for(|wish| !wish.frozen).await;
}
