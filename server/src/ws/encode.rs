//! Frames of the server (RFC 6455 §5.2): one for each message, and never masked.

use super::Close;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Bytes of a header at most, without a mask.
const HEADER_BYTES_MAX: usize = 10;
/// Bytes of the reason in a close frame: a control frame has 125, two of which are the code.
const REASON_BYTES_MAX: usize = 123;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

/// A message as a frame.
#[must_use]
pub(crate) fn frame(kind: Kind, payload: &[u8]) -> Bytes {
    make(data(kind), false, payload)
}

/// A message that is compressed already.
#[must_use]
pub(super) fn compressed(kind: Kind, payload: &[u8]) -> Bytes {
    make(data(kind), true, payload)
}

/// A ping without payload.
#[must_use]
pub(super) fn ping() -> Bytes {
    make(OpCode::Control(Control::Ping), false, &[])
}

/// The answer to a ping.
#[must_use]
pub(super) fn pong(payload: &[u8]) -> Bytes {
    make(OpCode::Control(Control::Pong), false, payload)
}

/// The last frame of the server.
#[must_use]
pub(super) fn close(close: &Close) -> Bytes {
    let reason = &close.reason[..close.reason.floor_char_boundary(REASON_BYTES_MAX)];
    let payload = [&close.code.to_be_bytes()[..], reason.as_bytes()].concat();
    make(OpCode::Control(Control::Close), false, &payload)
}

/// The last frame to a client that has closed without saying why (RFC 6455 §5.5.1).
#[must_use]
pub(super) fn bare_close() -> Bytes {
    make(OpCode::Control(Control::Close), false, &[])
}

fn data(kind: Kind) -> OpCode {
    OpCode::Data(match kind {
        Kind::Text => Data::Text,
        Kind::Binary => Data::Binary,
    })
}

fn make(opcode: OpCode, is_compressed: bool, payload: &[u8]) -> Bytes {
    let header = FrameHeader { opcode, rsv1: is_compressed, ..FrameHeader::default() };
    let mut out = Vec::with_capacity(HEADER_BYTES_MAX + payload.len());
    // memory takes whatever is written to it
    let _ = header.format(payload.len() as u64, &mut out);
    out.extend_from_slice(payload);
    Bytes::from(out)
}
