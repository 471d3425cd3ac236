//! Listeners that count what comes, and writers of records.

use std::{net::SocketAddr, rc::Rc};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    flow::Flow,
    load::{connect, read_answer},
    server::{PASSWORD, USERNAME},
    wire,
};

const READ_BYTES: usize = 16 * 1024;
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Keys that writers go round.
const KEYS: usize = 8;
const TEXT_BYTES: usize = 60;
/// An opening key of WebSocket (RFC 6455 §4.1); any will do.
const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// How a listener is told.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Protocol {
    WebSocket,
    EventStream,
}

impl Protocol {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "WebSocket",
            Self::EventStream => "Server-Sent Events",
        }
    }

    pub(super) fn goal(self) -> &'static str {
        match self {
            Self::WebSocket => "WebSocket messages per CPU second over Node",
            Self::EventStream => "events per CPU second over Node",
        }
    }

    pub(super) fn idle_goal(self) -> &'static str {
        match self {
            Self::WebSocket => "bytes of an idle WebSocket",
            Self::EventStream => "bytes of an idle event stream",
        }
    }

    fn request(self) -> String {
        let authorization = wire::basic(USERNAME, PASSWORD);
        let common =
            format!("GET /Item/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n");
        match self {
            Self::WebSocket => format!(
                "{common}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: {WEBSOCKET_KEY}\r\n\r\n"
            ),
            Self::EventStream => format!("{common}Accept: text/event-stream\r\n\r\n"),
        }
    }

    fn status(self) -> &'static [u8] {
        match self {
            Self::WebSocket => b"HTTP/1.1 101 ",
            Self::EventStream => b"HTTP/1.1 200 ",
        }
    }
}

/// Begins to listen to the table; returns when the server has agreed. What follows the head is left unread.
pub(super) async fn open(addr: SocketAddr, protocol: Protocol) -> Result<TcpStream> {
    let mut stream = connect(addr).await?;
    stream.write_all(protocol.request().as_bytes()).await?;
    let mut head = Vec::new();
    // byte by byte, for the first events must stay in the socket
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < HEAD_BYTES_MAX, "an answer's head has no end");
        head.push(stream.read_u8().await.context("the server closed the connection")?);
    }
    if !head.starts_with(protocol.status()) {
        let line = String::from_utf8_lossy(&head);
        bail!("the server answered {:?}", line.lines().next().unwrap_or_default());
    }
    Ok(stream)
}

/// Counts what comes, until it is dropped.
pub(super) async fn listen(
    mut stream: TcpStream,
    protocol: Protocol,
    flow: Rc<Flow>,
) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let (mut frames, mut lines) = (Frames::default(), Lines::default());
    loop {
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "the server closed a connection in use");
        let bytes = &buffer[..count];
        flow.came(match protocol {
            Protocol::WebSocket => frames.count(bytes)?,
            Protocol::EventStream => lines.count(bytes),
        });
    }
}

/// Puts records when the flow lets it, until it is dropped.
pub(super) async fn write(addr: SocketAddr, writer: usize, flow: Rc<Flow>) -> Result<()> {
    let mut stream = connect(addr).await?;
    let authorization = wire::basic(USERNAME, PASSWORD);
    let mut answer = vec![0; READ_BYTES];
    let text = "x".repeat(TEXT_BYTES);
    for count in 0_u64.. {
        flow.turn(1).await;
        let path = format!("/Item/key-{writer}-{}", count % KEYS as u64);
        let body = format!(r#"{{"group":"{count}","text":"{text}"}}"#);
        let request = wire::request("PUT", &path, &authorization, body.as_bytes());
        stream.write_all(&request).await?;
        let got = read_answer(&mut stream, &mut answer).await?;
        ensure!(got.status == 204, "PUT answered {}", got.status);
    }
    Ok(())
}

/// Counts the lines of event streams that hold data, wherever the bytes are cut.
#[derive(Default)]
struct Lines {
    /// How much of `MARK` the bytes so far end with.
    matched: usize,
}

const MARK: &[u8] = b"\ndata:";

impl Lines {
    fn count(&mut self, bytes: &[u8]) -> u64 {
        let mut found = 0;
        for &byte in bytes {
            if byte == MARK[self.matched] {
                self.matched += 1;
            } else {
                self.matched = usize::from(byte == MARK[0]);
            }
            if self.matched == MARK.len() {
                self.matched = 0;
                found += 1;
            }
        }
        found
    }
}

/// Counts the messages of a WebSocket (RFC 6455 §5.2), wherever the bytes are cut.
#[derive(Default)]
struct Frames {
    /// The bytes of a header that has not wholly come.
    header: Vec<u8>,
    /// Bytes of the payload that are still to come.
    payload: usize,
}

impl Frames {
    fn count(&mut self, mut bytes: &[u8]) -> Result<u64> {
        let mut found = 0;
        while !bytes.is_empty() {
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            bytes = &bytes[skipped..];
            let Some((&byte, rest)) = bytes.split_first() else { break };
            self.header.push(byte);
            bytes = rest;
            if let Some(payload) = payload_of(&self.header)? {
                // FIN and continuation, text or binary; pings and the like are no messages
                found += u64::from(matches!(self.header[0], 0x80..=0x82));
                self.payload = payload;
                self.header.clear();
            }
        }
        Ok(found)
    }
}

/// The bytes of payload that a frame has; nothing while its header has not wholly come.
fn payload_of(header: &[u8]) -> Result<Option<usize>> {
    let Some(&length) = header.get(1) else { return Ok(None) };
    ensure!(header[0] & 0x0f != 8, "the server closed a WebSocket in use");
    let wide = match length {
        126 => 2,
        127 => 8,
        128.. => bail!("a frame of the server is masked"),
        _ => return Ok(Some(usize::from(length))),
    };
    let Some(bytes) = header.get(2..2 + wide) else { return Ok(None) };
    Ok(Some(bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_wherever_the_bytes_are_cut() {
        let text = b"HTTP\r\n\r\n12\r\nid: 1\ndata: {}\n\n\r\n: beat\n\n\n\ndata: data:\n\n";
        for cut in 0..text.len() {
            let mut lines = Lines::default();
            assert_eq!(lines.count(&text[..cut]) + lines.count(&text[cut..]), 2, "{cut}");
        }
    }

    #[test]
    fn messages_are_counted_wherever_the_bytes_are_cut() {
        let mut bytes = vec![0x81, 2, b'h', b'i', 0x89, 1, 0x81, 0x82, 126, 1, 0];
        bytes.extend([0x81; 256]);
        bytes.extend([0x01, 0, 0x80, 0]);
        for cut in 0..bytes.len() {
            let mut frames = Frames::default();
            let found = frames.count(&bytes[..cut]).unwrap() + frames.count(&bytes[cut..]).unwrap();
            assert_eq!(found, 3, "{cut}");
        }
        assert!(Frames::default().count(&[0x88, 0]).is_err());
        assert!(Frames::default().count(&[0x81, 0x81]).is_err());
    }
}
