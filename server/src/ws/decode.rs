//! From the bytes of a client to messages (RFC 6455 §5 and §7, RFC 7692 §7.2.2). Does no I/O.

use super::{Close, deflate};
use bytes::{Bytes, BytesMut};
use std::io::Cursor;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Bytes that a control frame may carry (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a frame's payload.
    pub frame_bytes_max: usize,
    /// Bytes of a message, once decompressed.
    pub message_bytes_max: usize,
}

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Whether it is text, which is valid UTF-8; else it is bytes.
    pub is_text: bool,
    /// What it says.
    pub payload: Bytes,
}

/// What has come whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// A message.
    Message(Message),
    /// A ping, to be answered with the same bytes.
    Ping(Bytes),
    /// The answer to a ping.
    Pong,
    /// The client closes; none when it does not say why.
    Close(Option<u16>),
}

/// Reads the frames of one client.
pub(crate) struct Decoder {
    input: BytesMut,
    limits: Limits,
    /// Whether messages may be compressed.
    is_deflated: bool,
    /// The frame whose payload is awaited.
    frame: Option<(FrameHeader, usize)>,
    /// The message of which some frames have come.
    message: Option<Partial>,
}

/// The beginning of a message.
struct Partial {
    is_text: bool,
    is_compressed: bool,
    payload: BytesMut,
    /// Bytes that are known to be UTF-8.
    valid: usize,
}

impl Decoder {
    /// The decoder of a new connection.
    #[must_use]
    pub(crate) fn new(limits: Limits, is_deflated: bool) -> Self {
        Self { input: BytesMut::new(), limits, is_deflated, frame: None, message: None }
    }

    /// Takes bytes that have arrived.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next thing that has come whole; none when more bytes are needed.
    ///
    /// # Errors
    /// How the client is told that it has broken the protocol. Nothing is read after that.
    pub(crate) fn next(&mut self) -> Result<Option<Arrived>, Close> {
        loop {
            let Some((header, len)) = self.header()? else { return Ok(None) };
            if self.input.len() < len {
                self.frame = Some((header, len));
                return Ok(None);
            }
            let mut payload = self.input.split_to(len);
            unmask(&mut payload, header.mask.unwrap_or_default());
            if self.input.is_empty() {
                // an idle connection has no buffer
                self.input = BytesMut::new();
            }
            let arrived = match header.opcode {
                OpCode::Control(kind) => Some(control(kind, payload.freeze())?),
                OpCode::Data(kind) => self.data(kind, &header, payload)?.map(Arrived::Message),
            };
            if arrived.is_some() {
                return Ok(arrived);
            }
        }
    }

    /// The header of the frame whose payload is next, and the length of that.
    fn header(&mut self) -> Result<Option<(FrameHeader, usize)>, Close> {
        if let Some(awaited) = self.frame.take() {
            return Ok(Some(awaited));
        }
        let mut cursor = Cursor::new(&self.input[..]);
        let parsed = FrameHeader::parse(&mut cursor);
        let parsed = parsed.map_err(|_| broken("the opcode is reserved (RFC 6455 §5.2)"))?;
        let Some((header, len)) = parsed else { return Ok(None) };
        let size = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        if size != header.len(len) {
            return Err(broken("the length is not in its shortest form (RFC 6455 §5.2)"));
        }
        self.check(&header, len)?;
        let _ = self.input.split_to(size);
        Ok(Some((header, usize::try_from(len).unwrap_or(usize::MAX))))
    }

    /// What can be said against a frame before its payload has come.
    fn check(&self, header: &FrameHeader, len: u64) -> Result<(), Close> {
        let is_control = matches!(header.opcode, OpCode::Control(_));
        let begins = matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
        let may_be_compressed = self.is_deflated && begins;
        if header.mask.is_none() {
            Err(broken("the frame is not masked (RFC 6455 §5.1)"))
        } else if header.rsv2 || header.rsv3 || (header.rsv1 && !may_be_compressed) {
            Err(broken("a reserved bit is set (RFC 6455 §5.2)"))
        } else if is_control && !header.is_final {
            Err(broken("a control frame is fragmented (RFC 6455 §5.5)"))
        } else if is_control && len > CONTROL_BYTES_MAX {
            Err(broken("a control frame is longer than 125 bytes (RFC 6455 §5.5)"))
        } else if begins && self.message.is_some() {
            Err(broken("a message begins within another (RFC 6455 §5.4)"))
        } else if header.opcode == OpCode::Data(Data::Continue) && self.message.is_none() {
            Err(broken("a message goes on that has not begun (RFC 6455 §5.4)"))
        } else if is_control {
            // it is no part of the message that it interrupts (RFC 6455 §5.4)
            Ok(())
        } else {
            self.check_size(len)
        }
    }

    fn check_size(&self, len: u64) -> Result<(), Close> {
        let Limits { frame_bytes_max, message_bytes_max } = self.limits;
        let before = self.message.as_ref().map_or(0, |message| message.payload.len()) as u64;
        let (key, max) = if len > frame_bytes_max as u64 {
            ("http.webSocket.frameBytesMax", frame_bytes_max)
        } else if before.saturating_add(len) > message_bytes_max as u64 {
            ("http.webSocket.messageBytesMax", message_bytes_max)
        } else {
            return Ok(());
        };
        Err(Close::new(Close::TOO_LARGE, format!("more than {max} bytes ({key})")))
    }

    /// Takes the payload of a frame of data; the message when it is the last.
    fn data(
        &mut self,
        kind: Data,
        header: &FrameHeader,
        payload: BytesMut,
    ) -> Result<Option<Message>, Close> {
        let mut message = match self.message.take() {
            Some(mut message) => {
                message.payload.unsplit(payload);
                message
            }
            None => Partial {
                is_text: kind == Data::Text,
                is_compressed: header.rsv1,
                payload,
                valid: 0,
            },
        };
        if message.is_text && !message.is_compressed {
            message.check_text(header.is_final)?;
        }
        if header.is_final {
            return message.finish(self.limits.message_bytes_max).map(Some);
        }
        self.message = Some(message);
        Ok(None)
    }
}

impl Partial {
    /// Looks at the text that has come: a character may be cut between two frames, but not at the end.
    fn check_text(&mut self, is_whole: bool) -> Result<(), Close> {
        match std::str::from_utf8(&self.payload[self.valid..]) {
            Ok(_) => self.valid = self.payload.len(),
            Err(error) if error.error_len().is_none() && !is_whole => {
                self.valid += error.valid_up_to();
            }
            Err(_) => return Err(no_text()),
        }
        Ok(())
    }

    fn finish(self, bytes_max: usize) -> Result<Message, Close> {
        let Self { is_text, is_compressed, payload, .. } = self;
        if !is_compressed {
            return Ok(Message { is_text, payload: payload.freeze() });
        }
        let payload = deflate::inflate(&payload, bytes_max)?;
        if is_text && std::str::from_utf8(&payload).is_err() {
            return Err(no_text());
        }
        Ok(Message { is_text, payload: payload.into() })
    }
}

fn control(kind: Control, payload: Bytes) -> Result<Arrived, Close> {
    Ok(match kind {
        Control::Ping => Arrived::Ping(payload),
        Control::Pong => Arrived::Pong,
        Control::Close | Control::Reserved(_) => Arrived::Close(close_code(&payload)?),
    })
}

/// The code with which a client closes (RFC 6455 §5.5.1).
fn close_code(payload: &[u8]) -> Result<Option<u16>, Close> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload.is_empty() {
            true => Ok(None),
            false => Err(broken("the close code has one byte (RFC 6455 §5.5.1)")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !Close::is_sendable(code) {
        return Err(broken("the close code is none that is sent (RFC 6455 §7.4)"));
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(no_text()),
    }
}

fn broken(reason: &str) -> Close {
    Close::new(Close::PROTOCOL, reason)
}

fn no_text() -> Close {
    Close::new(Close::INVALID, "text is not UTF-8 (RFC 6455 §8.1)")
}

/// Undoes the masking (RFC 6455 §5.3).
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    rest.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

/// What a fuzzer drives: the first byte says whether messages may be compressed and how the rest is cut. However it is cut,
/// the same arrives.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(data: &[u8]) {
    const LIMITS: Limits = Limits { frame_bytes_max: 1 << 16, message_bytes_max: 1 << 16 };
    let Some((choice, bytes)) = data.split_first() else { return };
    let read = |piece: usize| {
        let mut decoder = Decoder::new(LIMITS, choice & 1 == 1);
        let mut all = Vec::new();
        for piece in bytes.chunks(piece.max(1)) {
            decoder.receive(piece);
            loop {
                match decoder.next() {
                    Ok(Some(arrived)) => all.push(Ok(arrived)),
                    Ok(None) => break,
                    Err(close) => {
                        all.push(Err(close.code));
                        return all;
                    }
                }
            }
        }
        all
    };
    assert_eq!(read(bytes.len()), read(usize::from(choice >> 1)));
}
