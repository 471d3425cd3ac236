//! An answer after which the connection, or the stream of HTTP/2, speaks another protocol (RFC 9110 §7.8, RFC 8441).

use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};

/// A future of this worker that yields nothing.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Bytes both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// What the other protocol gets.
pub(crate) struct Carrier {
    /// The connection.
    pub io: Box<dyn Duplex>,
    /// What has been read of it already.
    pub first: Bytes,
    /// Becomes ready when the process stops, or the worker does.
    pub ending: Task,
}

/// Takes the connection over once the answer has been sent.
pub(crate) struct Upgrade(Box<dyn FnOnce(Carrier) -> Task>);

impl Upgrade {
    /// What is to be done with the connection.
    #[must_use]
    pub(crate) fn new(speak: impl FnOnce(Carrier) -> Task + 'static) -> Self {
        Self(Box::new(speak))
    }

    /// Speaks the other protocol to its end.
    pub(crate) async fn speak(self, carrier: Carrier) {
        (self.0)(carrier).await;
    }
}
