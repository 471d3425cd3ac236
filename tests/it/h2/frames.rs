//! Frames of HTTP/2 (RFC 9113 §4), written and read one by one.

use crate::harness::PATIENCE;
use crate::tls::client::Secure;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

/// How a connection of HTTP/2 begins.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block (RFC 7541): every field a literal that is not indexed.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            push_length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of 7 bits (RFC 7541 §5.1).
fn push_length(block: &mut Vec<u8>, mut length: usize) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    length -= 127;
    while length >= 128 {
        block.push(length as u8 | 128);
        length >>= 7;
    }
    block.push(length as u8);
}

/// The header block of a request.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    block(&[
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ])
}

/// A GET that is complete.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", path))
}

/// The status of an answer, which is the first of its fields.
pub(crate) fn status(block: &[u8]) -> u16 {
    // a change of the table's size may come before
    let block = &block[block.iter().take_while(|byte| **byte >> 5 == 1).count()..];
    match block[0] {
        indexed @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        0x08 | 0x18 | 0x48 => {
            let text = &block[2..2 + usize::from(block[1] & 0x7f)];
            let digits = if block[1] & 0x80 == 0 { text.to_vec() } else { huffman_digits(text) };
            String::from_utf8(digits).unwrap().parse().unwrap()
        }
        other => panic!("the status is a field of before: {other:x}"),
    }
}

/// Digits in the code of RFC 7541, appendix B.
fn huffman_digits(text: &[u8]) -> Vec<u8> {
    let bits = text.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let (mut code, mut length, mut digits) = (0_u8, 0, Vec::new());
    for bit in bits {
        (code, length) = (code << 1 | bit, length + 1);
        let digit = match (length, code) {
            (5, 0..=2) => code,
            (6, 0x19..=0x1f) => code - 0x19 + 3,
            _ => continue,
        };
        digits.push(b'0' + digit);
        (code, length) = (0, 0);
    }
    digits
}

/// A connection.
pub(crate) struct Frames {
    secure: Secure,
    received: Vec<u8>,
}

impl Frames {
    pub(crate) fn over(secure: Secure) -> Self {
        Self { secure, received: Vec::new() }
    }

    /// Sends the preface and settings, and takes the server's.
    #[track_caller]
    pub(crate) fn greet(&mut self) {
        self.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        let first = self.next().expect("the server's settings");
        assert_eq!((first.kind, first.flags), (SETTINGS, 0), "{first:?}");
        self.send(frame(SETTINGS, ACK, 0, &[]));
    }

    /// Sends bytes; a connection that has ended is seen when reading.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.try_send(bytes.as_ref());
        self
    }

    /// Sends bytes.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.secure.stream.write_all(bytes)?;
        self.secure.stream.flush()
    }

    /// Sends bytes as long as they are taken, at most for `time`; whether all were.
    pub(crate) fn flood(&mut self, bytes: &[u8], time: Duration) -> bool {
        let until = Instant::now() + time;
        let socket = &self.secure.stream.sock;
        socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        for part in bytes.chunks(32 * 1024) {
            if Instant::now() > until || self.try_send(part).is_err() {
                return false;
            }
        }
        true
    }

    /// The next frame; none when the connection has ended.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<Frame> {
        while self.received.len() < 9 {
            self.read_more()?;
        }
        let length = u32::from_be_bytes([0, self.received[0], self.received[1], self.received[2]]);
        let length = usize::try_from(length).unwrap();
        while self.received.len() < 9 + length {
            self.read_more()?;
        }
        let rest = self.received.split_off(9 + length);
        let bytes = std::mem::replace(&mut self.received, rest);
        let stream = u32::from_be_bytes([bytes[5] & 0x7f, bytes[6], bytes[7], bytes[8]]);
        Some(Frame { kind: bytes[3], flags: bytes[4], stream, payload: bytes[9..].to_vec() })
    }

    /// The next frame of this kind.
    #[track_caller]
    pub(crate) fn find(&mut self, kind: u8) -> Frame {
        loop {
            let next = self.next().expect("the connection ended");
            if next.kind == kind && !(kind == SETTINGS && next.flags & ACK != 0) {
                return next;
            }
        }
    }

    /// The status of the answer on a stream and its body, the windows being kept open; none when the stream was reset or the
    /// connection ended.
    #[track_caller]
    pub(crate) fn answer(&mut self, stream: u32) -> Option<(u16, Vec<u8>)> {
        let (mut code, mut body) = (0, Vec::new());
        loop {
            let next = self.next()?;
            if next.stream != stream {
                continue;
            }
            match next.kind {
                HEADERS => code = status(&next.payload),
                DATA => {
                    body.extend_from_slice(&next.payload);
                    let count = u32::try_from(next.payload.len()).unwrap().to_be_bytes();
                    if count != [0; 4] && next.flags & END_STREAM == 0 {
                        self.send(frame(WINDOW_UPDATE, 0, stream, &count));
                    }
                    if count != [0; 4] {
                        self.send(frame(WINDOW_UPDATE, 0, 0, &count));
                    }
                }
                RST_STREAM => return None,
                _ => {}
            }
            if matches!(next.kind, HEADERS | DATA) && next.flags & END_STREAM != 0 {
                return Some((code, body));
            }
        }
    }

    /// Reads whatever comes until the connection ends; fails when it does not.
    #[track_caller]
    pub(crate) fn ended(&mut self) {
        while self.read_more().is_some() {
            self.received.clear();
        }
    }

    /// The same; whether it has ended.
    pub(crate) fn is_cut(&mut self) -> bool {
        let until = Instant::now() + PATIENCE;
        let mut buffer = [0; 64 * 1024];
        while Instant::now() < until {
            match self.secure.stream.read(&mut buffer) {
                Ok(1..) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return false;
                }
                Ok(0) | Err(_) => return true,
            }
        }
        false
    }

    #[track_caller]
    fn read_more(&mut self) -> Option<()> {
        let mut buffer = [0; 64 * 1024];
        match self.secure.stream.read(&mut buffer) {
            Ok(0) => None,
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Some(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came within {PATIENCE:?}; before: {:?}", self.received)
            }
            Err(_) => None,
        }
    }
}
