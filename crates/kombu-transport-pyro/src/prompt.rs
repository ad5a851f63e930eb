//! Reading so that the other side is told at once what has come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;

/// The reading half of a TCP socket that acknowledges what it reads without delay.
///
/// A daemon leaves Nagle's algorithm on, as Pyro4 does by default: of the answers to several
/// requests it sends the second only when it knows that the first has come, which by themselves
/// systems tell some 40 ms later.
#[derive(Debug)]
pub(crate) struct Prompt(pub(crate) OwnedReadHalf);

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        // It holds for a while only. Where it cannot be had, answers are late.
        #[cfg(target_os = "linux")]
        if read.is_ready() {
            let _late = self.0.as_ref().set_quickack(true);
        }
        read
    }
}
