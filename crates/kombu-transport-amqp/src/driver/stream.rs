//! The socket as lapin sees it: plain or TLS, with the greeting still to come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::client::TlsStream;

use crate::driver::greeting::{Greeting, PROTOCOL_HEADER};

/// A socket, with or without TLS.
#[derive(Debug)]
pub(crate) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Plain($stream) => $call,
            Self::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}

/// A socket for lapin, which says the protocol header and awaits the greeting: both happened.
#[derive(Debug)]
pub(crate) struct Stream {
    io: Io,
    greeting: Bytes,
    header_to_swallow: usize,
    /// Who awaits the greeting, which must not come before the header.
    reader: Option<Waker>,
    _dropped: oneshot::Sender<()>,
}

impl Stream {
    /// The stream, and what resolves when it is dropped.
    pub(super) fn new(io: Io, greeting: &Greeting) -> (Self, oneshot::Receiver<()>) {
        let (sender, dropped) = oneshot::channel();
        let stream = Self {
            io,
            greeting: greeting.frame.clone(),
            header_to_swallow: PROTOCOL_HEADER.len(),
            reader: None,
            _dropped: sender,
        };
        (stream, dropped)
    }
}

impl futures_io::AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.header_to_swallow > 0 {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        if self.greeting.has_remaining() {
            let count = self.greeting.len().min(buffer.len());
            self.greeting.copy_to_slice(&mut buffer[..count]);
            return Poll::Ready(Ok(count));
        }
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut self.io).poll_read(context, &mut buffer) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(buffer.filled().len())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl futures_io::AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.header_to_swallow > 0 && !bytes.is_empty() {
            let count = self.header_to_swallow.min(bytes.len());
            self.header_to_swallow -= count;
            if self.header_to_swallow == 0
                && let Some(reader) = self.reader.take()
            {
                reader.wake();
            }
            return Poll::Ready(Ok(count));
        }
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
