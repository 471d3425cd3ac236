//! The connection's socket, with every byte counted, every sign of life noted, and every request seen by the entry.

use super::entry::{Entry, Refusal};
use super::{ConnState, Late};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream, plain or secure, that tells its connection what happens on it.
pub(super) struct Io<S> {
    stream: S,
    state: Rc<ConnState>,
    /// None on HTTP/2, whose frames have lengths.
    entry: Option<Entry>,
}

impl<S> Io<S> {
    /// For requests of HTTP/1, which pass the entry.
    pub(super) fn requests(stream: S, state: Rc<ConnState>) -> Self {
        let entry = Entry::new(state.shared.services.borrow().config.http.header_bytes_max);
        Self { stream, state, entry: Some(entry) }
    }

    /// For frames of HTTP/2.
    pub(super) fn frames(stream: S, state: Rc<ConnState>) -> Self {
        Self { stream, state, entry: None }
    }

    /// The same without an entry: no request will follow.
    pub(super) fn without_requests(self) -> Self {
        Self { entry: None, ..self }
    }

    /// Whether more has come than hyper was handed.
    pub(super) fn has_more(&self) -> bool {
        self.entry.as_ref().is_some_and(Entry::has_more)
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    fn sent(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(count)) => self.state.sent(*count),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.state.is_blocked.set(true),
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(entry) = &mut this.entry else {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            this.state.received(buffer.filled().len() - before);
            return Poll::Ready(Ok(()));
        };
        loop {
            let end = end(entry, &this.state);
            if hand_on(entry, buffer) {
                return Poll::Ready(Ok(()));
            }
            if let Some(end) = end {
                return end;
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            let count = buffer.filled().len() - before;
            if count > 0 {
                this.state.received(count);
                let passed = entry.receive(&buffer.filled()[before..]);
                buffer.set_filled(before + passed);
                this.state.is_mid_body.set(entry.is_mid_body());
                this.state.refused.set(entry.refused());
                if passed > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else if entry.is_mid_head() {
                entry.refuse(Refusal::ENDED);
            } else {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Fills `buffer` with what the entry has ready; false when that is nothing.
fn hand_on(entry: &mut Entry, buffer: &mut ReadBuf<'_>) -> bool {
    let ready = entry.ready();
    let count = ready.len().min(buffer.remaining());
    buffer.put_slice(&ready[..count]);
    entry.consume(count);
    count > 0
}

/// The end of what is read, if it has come: an error for a body that cannot be completed, and silence after a request
/// that is refused, until its answer has been sent.
fn end(entry: &mut Entry, state: &ConnState) -> Option<Poll<io::Result<()>>> {
    if let Some(broken) = entry.broken() {
        return Some(Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, broken))));
    }
    match state.late.get() {
        Late::Body => return Some(Poll::Ready(Err(io::ErrorKind::TimedOut.into()))),
        Late::Head => entry.refuse(Refusal::TIMEOUT),
        Late::No => {}
    }
    state.refused.set(entry.refused());
    entry.refused().map(|_| Poll::Pending)
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.sent(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.sent(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.state.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
