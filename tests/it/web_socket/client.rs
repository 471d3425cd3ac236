//! A client of WebSocket, frame by frame.

use crate::harness::{Reply, Server, Wire};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use ureq::http::HeaderMap;

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
/// The last frame of a message.
pub(crate) const FIN: u8 = 0x80;
/// The message is compressed.
pub(crate) const COMPRESSED: u8 = 0x40;

/// What every request for a socket has.
pub(crate) const ASKING: &str = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// An open socket.
pub(crate) struct WebSocket<S = TcpStream> {
    pub(crate) wire: Wire<S>,
    pub(crate) headers: HeaderMap,
}

/// A frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its first byte.
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl WebSocket {
    /// A socket that must open.
    #[track_caller]
    pub(crate) fn open(server: &Server, target: &str, headers: &[(&str, &str)]) -> Self {
        Self::over(server.wire(), target, headers).unwrap_or_else(|reply| panic!("{reply}"))
    }

    /// The answer to who must get no socket.
    #[track_caller]
    pub(crate) fn refused(server: &Server, target: &str, headers: &[(&str, &str)]) -> Reply {
        *Self::over(server.wire(), target, headers).err().expect("no socket")
    }
}

impl<S: Read + Write> WebSocket<S> {
    /// A socket over an open connection, or the answer that refuses it.
    pub(crate) fn over(
        mut wire: Wire<S>,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Box<Reply>> {
        let more: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{ASKING}{more}\r\n"));
        let (status, headers) = wire.head().expect("an answer");
        if status == 101 {
            return Ok(Self { wire, headers });
        }
        let length = headers["content-length"].to_str().unwrap().parse().unwrap();
        Err(Box::new(Reply { status, headers, body: wire.take(length).unwrap() }))
    }

    /// A header of the answer.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn send(&mut self, first: u8, payload: &[u8]) -> &mut Self {
        self.wire.send(frame(first, payload));
        self
    }

    /// The next frame; none at the end.
    pub(crate) fn try_frame(&mut self) -> Option<Frame> {
        let head = self.wire.take(2)?;
        assert_eq!(head[1] & 0x80, 0, "the server masks nothing");
        let length = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.wire.take(2)?.try_into().unwrap())),
            127 => u64::from_be_bytes(self.wire.take(8)?.try_into().unwrap()),
            length => u64::from(length),
        };
        let payload = self.wire.take(usize::try_from(length).unwrap())?;
        Some(Frame { first: head[0], payload })
    }

    #[track_caller]
    pub(crate) fn frame(&mut self) -> Frame {
        self.try_frame().expect("a frame")
    }

    /// The next event, as JSON.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Value {
        let frame = self.frame();
        assert_eq!(frame.first, FIN | TEXT, "{frame:?}");
        serde_json::from_slice(&frame.payload).unwrap()
    }

    /// The next event, as its type and its key.
    #[track_caller]
    pub(crate) fn short(&mut self) -> String {
        let event = self.event();
        format!("{} {}", event["type"].as_str().unwrap(), event["id"].as_str().unwrap())
    }

    /// Waits for the server to close, and returns its code and reason; whatever else comes before is left out.
    #[track_caller]
    pub(crate) fn close_code(&mut self) -> (u16, String) {
        loop {
            let frame = self.frame();
            if frame.first == FIN | CLOSE {
                let (code, reason) = frame.payload.split_first_chunk().expect("a code");
                let reason = String::from_utf8(reason.to_vec()).unwrap();
                return (u16::from_be_bytes(*code), reason);
            }
        }
    }

    /// Answers a close, and sees the connection end.
    #[track_caller]
    pub(crate) fn closed(&mut self) {
        self.send(FIN | CLOSE, &[]);
        self.wire.closed();
    }
}

/// A frame of a client: its first byte, and what it carries.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let mut bytes = vec![first];
    match payload.len() {
        length @ ..126 => bytes.push(0x80 | length as u8),
        length @ ..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}
