//! The way to a broker: name, socket, TLS, and the broker's greeting.
//!
//! The greeting is read here, before a driver sees the socket: what is no AMQP broker at all gets
//! a clear answer, and the server's properties, which the driver keeps to itself, become known.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kombu_core::{Error, ErrorKind, Result, Scope};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use crate::driver::greeting::{Greeting, PROTOCOL_HEADER};
use crate::driver::stream::{Io, Stream};

/// Where to, and how.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<Tls>,
    pub(crate) timeout: Duration,
}

/// What TLS needs.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
}

/// A socket on which the broker has greeted.
pub(crate) struct Dialled {
    pub(crate) stream: Stream,
    pub(crate) greeting: Greeting,
    #[cfg(feature = "amqprs")]
    pub(crate) peer: SocketAddr,
    pub(crate) cut: Cut,
    /// Resolves when the stream is dropped, hence when its driver has ended.
    pub(crate) dropped: oneshot::Receiver<()>,
}

impl Target {
    /// `host:port`, for messages.
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Connects and reads the greeting, all within the timeout.
    pub(crate) async fn dial(&self) -> Result<Dialled> {
        let mut stage = "connect to the broker";
        match tokio::time::timeout(self.timeout, self.connect(&mut stage)).await {
            Ok(result) => result,
            Err(_elapsed) => {
                Err(Error::new(ErrorKind::Timeout, format!("no answer within {:?}", self.timeout))
                    .during(stage)
                    .scoped(Scope::Connection))
            }
        }
        .map_err(|error| error.with("broker", self.address()))
    }

    async fn connect(&self, stage: &mut &'static str) -> Result<Dialled> {
        let tcp = self.connect_tcp().await.map_err(|error| error.during(stage))?;
        let failed = |error: io::Error| Error::lost(error.to_string()).caused_by(error);
        #[cfg(feature = "amqprs")]
        let peer = tcp.peer_addr().map_err(failed)?;
        let (tcp, cut) = Cut::of(tcp).map_err(failed)?;
        let mut io = match &self.tls {
            None => Io::Plain(tcp),
            Some(tls) => {
                *stage = "set up TLS";
                let connector = TlsConnector::from(Arc::clone(&tls.config));
                let stream = connector.connect(tls.server_name.clone(), tcp).await;
                Io::Tls(Box::new(stream.map_err(|error| tls_error(error).during(stage))?))
            }
        };
        *stage = "get the broker's greeting";
        let greeting = greet(&mut io).await.map_err(|error| error.during(stage))?;
        let (stream, dropped) = Stream::new(io, &greeting);
        Ok(Dialled {
            stream,
            greeting,
            #[cfg(feature = "amqprs")]
            peer,
            cut,
            dropped,
        })
    }

    async fn connect_tcp(&self) -> Result<TcpStream> {
        let lookup = lookup_host((self.host.as_str(), self.port)).await;
        let mut addresses: Vec<_> = lookup
            .map_err(|error| {
                Error::lost(format!("cannot resolve the host name: {error}")).caused_by(error)
            })?
            .collect();
        // RabbitMQ listens on both families by default, but many a container on IPv4 alone.
        if self.host == "localhost" {
            addresses.sort_by_key(SocketAddr::is_ipv6);
        }
        let mut last = Error::lost("the host name has no address");
        for address in addresses {
            match TcpStream::connect(address).await.and_then(|tcp| {
                tcp.set_nodelay(true)?;
                Ok(tcp)
            }) {
                Ok(tcp) => return Ok(tcp),
                Err(error) => last = Error::lost(error.to_string()).caused_by(error),
            }
        }
        Err(last)
    }
}

/// Ends a connection from outside of its driver, whatever that is waiting for.
#[derive(Debug)]
pub(crate) struct Cut(std::net::TcpStream);

impl Cut {
    fn of(tcp: TcpStream) -> io::Result<(TcpStream, Self)> {
        let tcp = tcp.into_std()?;
        let cut = Self(tcp.try_clone()?);
        Ok((TcpStream::from_std(tcp)?, cut))
    }

    /// Ends it. Both sides see the end of the stream.
    pub(crate) fn now(&self) {
        let _already_closed = self.0.shutdown(Shutdown::Both);
    }
}

async fn greet(io: &mut Io) -> Result<Greeting> {
    let broken = |error: io::Error| {
        let message = format!(
            "the peer broke the connection instead of greeting ({error}); is this an AMQP port, \
             and does it want TLS?"
        );
        Error::lost(message).caused_by(error)
    };
    io.write_all(PROTOCOL_HEADER).await.map_err(broken)?;
    io.flush().await.map_err(broken)?;
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if let Some(greeting) = Greeting::parse(&bytes)? {
            return Ok(greeting);
        }
        let read = io.read_buf(&mut bytes).await;
        if read.map_err(broken)? == 0 {
            return Err(Greeting::cut_short(&bytes));
        }
    }
}

fn tls_error(error: io::Error) -> Error {
    let reason =
        error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).map(|inner| {
            match inner {
                rustls::Error::InvalidMessage(_) => {
                    "the server does not answer with TLS; is this its plain port?".to_owned()
                }
                other => other.to_string(),
            }
        });
    let kind = if reason.is_some() { ErrorKind::Tls } else { ErrorKind::ConnectionLost };
    let message = reason.unwrap_or_else(|| format!("the link broke: {error}"));
    Error::new(kind, message).scoped(Scope::Connection).caused_by(error)
}
