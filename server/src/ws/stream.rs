//! A socket as a stream of bytes: binary messages, in which another protocol is cut as it likes.

use super::{Close, Kind, Received, Socket, frame};
use bytes::{Buf, Bytes};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of one message that is sent.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The bytes of the binary messages of a socket, both ways. A message of text ends what is read.
pub(crate) struct Bytestream<'a> {
    socket: &'a mut Socket,
    /// What is left of the last message.
    rest: Bytes,
    /// Whether the client has sent text.
    has_text: bool,
}

impl<'a> Bytestream<'a> {
    /// A socket of which nothing has been read.
    #[must_use]
    pub(crate) fn new(socket: &'a mut Socket) -> Self {
        Self { socket, rest: Bytes::new(), has_text: false }
    }

    /// How the socket is to be closed.
    #[must_use]
    pub(crate) fn close(&self) -> Close {
        match self.has_text {
            true => Close::new(Close::UNSUPPORTED, "only binary messages are understood"),
            false => Close::new(Close::NORMAL, ""),
        }
    }

    /// Waits for the next message, which becomes the rest; false at the end.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match ready!(self.socket.poll_receive(cx)) {
            Received::Message(message) if message.is_text => self.has_text = true,
            Received::Message(message) => self.rest = message.payload,
            Received::Room => {}
            Received::End => return Poll::Ready(false),
        }
        Poll::Ready(!self.has_text)
    }
}

impl AsyncRead for Bytestream<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            if self.has_text || !ready!(self.poll_message(cx)) {
                return Poll::Ready(Ok(()));
            }
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bytestream<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.socket.poll_room(cx))?;
        let count = bytes.len().min(MESSAGE_BYTES_MAX);
        self.socket.send(frame(Kind::Binary, &bytes[..count]));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_sent(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
