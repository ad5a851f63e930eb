//! A connection to one object of a daemon, from the socket to the end of the greeting.

use std::fmt::{self, Debug, Display};
use std::path::PathBuf;

use bytes::BytesMut;
use kombu_core::{Error, ErrorKind, Result, Scope};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::call::{self, Answer, Argument};
use crate::error::{broken, hung_up, unwelcome};
use crate::frame::{self, CONNECT, CONNECT_FAIL, CONNECT_OK, Decoder, Frame, INVOKE, META};
use crate::prompt::Prompt;

/// Where a daemon listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// A socket's two halves, and what was read and not used yet.
pub(crate) struct Session {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) buffer: BytesMut,
    pub(crate) decoder: Decoder,
    number: u16,
}

#[derive(Deserialize)]
struct Greeting {
    meta: Meta,
}

#[derive(Deserialize)]
struct Meta {
    methods: Vec<String>,
}

impl Session {
    /// Connects to a daemon and greets one of its objects, which must have some methods.
    pub(crate) async fn open(
        place: &Place,
        object: &str,
        methods: &[&str],
        decoder: Decoder,
    ) -> Result<Self> {
        let mut session = Self::connect(place, decoder).await?;
        let mut hello = b"{\"handshake\": \"hello\", \"object\": ".to_vec();
        call::text(&mut hello, object);
        hello.push(b'}');
        let answer = session.exchange(CONNECT, META, &hello).await?;
        match answer.kind {
            CONNECT_OK => {}
            CONNECT_FAIL => return Err(unwelcome(&call::said(&answer))),
            other => {
                let message = format!("the answer to a greeting is a frame of type {other}");
                return Err(Error::new(ErrorKind::Protocol, message).scoped(Scope::Connection));
            }
        }
        let greeting: Greeting = call::value("the greeting", &answer.data)?;
        let has = |method: &&&str| greeting.meta.methods.iter().any(|have| have == **method);
        let missing: Vec<_> = methods.iter().filter(|method| !has(method)).copied().collect();
        if missing.is_empty() {
            return Ok(session);
        }
        let message = format!(
            "the object is none of the kind that is needed: it lacks the methods {}",
            missing.join(", ")
        );
        Err(Error::new(ErrorKind::PreconditionFailed, message).scoped(Scope::Connection))
    }

    async fn connect(place: &Place, decoder: Decoder) -> Result<Self> {
        let (buffer, number) = (BytesMut::new(), 0);
        match place {
            Place::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(broken)?;
                stream.set_nodelay(true).map_err(broken)?;
                let (reader, writer) = stream.into_split();
                let (reader, writer) = (Box::new(Prompt(reader)), Box::new(writer));
                Ok(Self { reader, writer, buffer, decoder, number })
            }
            #[cfg(unix)]
            Place::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await.map_err(broken)?;
                let (reader, writer) = stream.into_split();
                let (reader, writer) = (Box::new(reader), Box::new(writer));
                Ok(Self { reader, writer, buffer, decoder, number })
            }
            #[cfg(not(unix))]
            Place::Unix(_) => Err(Error::unsupported("pyro", "Unix sockets")),
        }
    }

    /// Calls a method of the object, and waits for the answer.
    pub(crate) async fn call(
        &mut self,
        object: &str,
        method: &str,
        arguments: &[Argument<'_>],
    ) -> Result<Answer> {
        let request = call::call(object, method, arguments);
        call::answer(self.exchange(INVOKE, 0, &request).await?)
    }

    async fn exchange(&mut self, kind: u16, flags: u16, data: &[u8]) -> Result<Frame> {
        let number = self.number;
        self.number = number.wrapping_add(1);
        let frame = frame::encode(kind, flags, number, data, self.decoder.key.as_ref());
        self.writer.write_all(&frame).await.map_err(broken)?;
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.buffer)? {
                return Ok(frame);
            }
            if self.reader.read_buf(&mut self.buffer).await.map_err(broken)? == 0 {
                return Err(hung_up());
            }
        }
    }
}

impl Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}
