//! Why bytes are no packet.

use crate::reason::Reason;

/// What was wrong with a packet. After it the connection is of no use: where its next packet begins is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// What to answer with, where the version and the moment allow an answer (§4.13).
    pub reason: Reason,
    /// What was wrong, for a log and for a Reason String.
    pub what: &'static str,
}

impl Error {
    /// Bytes that do not follow the format.
    #[must_use]
    pub const fn malformed(what: &'static str) -> Self {
        Self { reason: Reason::MalformedPacket, what }
    }

    /// Bytes that follow the format and say what may not be said.
    #[must_use]
    pub const fn protocol(what: &'static str) -> Self {
        Self { reason: Reason::ProtocolError, what }
    }
}
