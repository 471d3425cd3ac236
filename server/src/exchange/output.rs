//! What waits to be taken by the other end of a connection: a list of parts, which are not copied. What goes to many is the
//! same bytes for all of them.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Parts that are written at once.
const SLICES_MAX: usize = 16;

/// Parts in their order. It has no buffer while it is empty.
#[derive(Default)]
pub(crate) struct Output {
    parts: VecDeque<Bytes>,
    bytes: usize,
    /// Whether something has been written since the last flush.
    is_unflushed: bool,
}

impl Output {
    /// Bytes that wait.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a part.
    pub(crate) fn put(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.bytes += part.len();
            self.parts.push_back(part);
        }
    }

    /// Writes what waits, and flushes; ready when all has been taken.
    ///
    /// # Errors
    /// The stream's, and one that takes nothing any more.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.parts.is_empty() {
            match ready!(self.poll_write_some(io, cx))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written(count),
            }
        }
        if self.is_unflushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_some<S: AsyncWrite + Unpin>(
        &self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let io = Pin::new(io);
        if self.parts.len() == 1 || !io.is_write_vectored() {
            return match self.parts.front() {
                Some(part) => io.poll_write(cx, part),
                None => Poll::Ready(Ok(0)),
            };
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(part);
        }
        let count = self.parts.len().min(SLICES_MAX);
        io.poll_write_vectored(cx, &slices[..count])
    }

    fn written(&mut self, mut count: usize) {
        self.bytes -= count;
        self.is_unflushed = true;
        while let Some(part) = self.parts.front_mut() {
            if count < part.len() {
                part.advance(count);
                return;
            }
            count -= part.len();
            self.parts.pop_front();
        }
        self.parts = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;

    #[test]
    fn parts_go_in_their_order_however_they_are_taken() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut near, mut far) = tokio::io::duplex(7);
            let mut output = Output::default();
            let parts = (0..40_u8).map(|n| vec![n; usize::from(n)]);
            parts.clone().for_each(|part| output.put(part.into()));
            let expected = parts.flatten().collect::<Vec<_>>();
            assert_eq!(output.bytes(), expected.len());
            let mut taken = vec![0; expected.len()];
            let write = poll_fn(|cx| output.poll_write(&mut near, cx));
            let (wrote, read) = tokio::join!(write, far.read_exact(&mut taken));
            assert!(wrote.is_ok() && read.is_ok());
            assert_eq!((output.bytes(), taken), (0, expected));
            drop(far);
            output.put(Bytes::from_static(b"more"));
            assert!(poll_fn(|cx| output.poll_write(&mut near, cx)).await.is_err());
        });
    }
}
