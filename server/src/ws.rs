//! WebSocket (RFC 6455), over HTTP/1.1 and over HTTP/2 (RFC 8441), with compressed messages (RFC 7692).
//!
//! A request that asks for one is an [`Offer`]. Whoever takes it says so with [`open`], which makes the answer; once that
//! is sent, the connection hands its bytes to the [`Socket`], and the [`Handler`] has that until it ends. Frames are read
//! by the [`decode`] and made by the [`encode`] module, neither of which does any I/O; headers of frames are tungstenite's.
//!
//! Three kinds of handlers attach here: a [`Layer`] is asked before the routes are and takes what it knows, as MQTT does and
//! handlers of `server.ws()` will; a resource connects whoever asks for its path; and who is refused may be told by a
//! close code ([`refuse`]).

mod decode;
mod deflate;
mod encode;
mod handshake;
mod socket;
mod stream;

#[cfg(test)]
pub(crate) use decode::Message;
#[cfg(any(test, fuzzing))]
pub(crate) use decode::fuzz as fuzz_decode;
pub(crate) use deflate::Deflate;
pub(crate) use encode::{Kind, frame};
pub(crate) use handshake::{Offer, Opening, open, refuse};
pub(crate) use socket::{Received, Socket};
pub(crate) use stream::Bytestream;

use crate::error::Answer;
use crate::exchange::Request;
use std::future::Future;
use std::pin::Pin;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Why a socket is closed, as its client is told (RFC 6455 §7.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    /// What kind of reason.
    pub code: u16,
    /// The reason in words; at most 123 bytes are sent.
    pub reason: String,
}

impl Close {
    /// What was asked for has been done.
    pub(crate) const NORMAL: u16 = 1000;
    /// The server stops.
    pub(crate) const AWAY: u16 = 1001;
    /// What the client sends breaks the protocol.
    pub(crate) const PROTOCOL: u16 = 1002;
    /// The client sends a kind of message that is not taken.
    pub(crate) const UNSUPPORTED: u16 = 1003;
    /// A message is not what it says it is.
    pub(crate) const INVALID: u16 = 1007;
    /// The client is too slow.
    pub(crate) const POLICY: u16 = 1008;
    /// A message is too large.
    pub(crate) const TOO_LARGE: u16 = 1009;
    /// A fault of the server, or no such resource.
    pub(crate) const ERROR: u16 = 1011;
    /// There is no login, or a wrong one.
    pub(crate) const LOGIN: u16 = 3000;
    /// The user may not do this.
    pub(crate) const FORBIDDEN: u16 = 3003;

    /// A reason.
    #[must_use]
    pub(crate) fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// Whether a code may be sent in a frame (RFC 6455 §7.4.1 and §7.4.2, and the registry).
    fn is_sendable(code: u16) -> bool {
        CloseCode::from(code).is_allowed()
    }
}

/// A future of this worker.
pub(crate) type Serving<'a> = Pin<Box<dyn Future<Output = Close> + 'a>>;

/// What serves an open socket, to its end.
pub(crate) trait Handler {
    /// Serves the socket and says how it is to be closed. When the client has closed it already, or is gone, that is said
    /// to nobody.
    fn serve(self: Box<Self>, socket: &mut Socket) -> Serving<'_>;
}

/// What may take a socket before the routes are asked for it. Layers are asked in their order, and each takes the
/// socket, refuses it, or passes it on to the next.
pub(crate) trait Layer {
    /// Takes the socket that a request asks for; none passes it on.
    ///
    /// # Errors
    /// Why it is refused.
    fn take(&self, request: &Request, offer: &Offer<'_>) -> Answer<Option<Opening>>;
}

#[cfg(test)]
mod tests;
