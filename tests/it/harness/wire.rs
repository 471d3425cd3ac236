//! A connection on which a test writes and reads byte by byte.

use super::{PATIENCE, Reply};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use ureq::http::{HeaderMap, HeaderName, HeaderValue};

/// An open connection, plain unless something else is said.
pub(crate) struct Wire<S = TcpStream> {
    pub(crate) stream: S,
    received: Vec<u8>,
}

impl Wire {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::over(stream))
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

impl<S: Read + Write> Wire<S> {
    /// Requests over a stream that is open already.
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// Writes; a closed connection is seen when reading.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// Writes a GET without further headers.
    pub(crate) fn get(&mut self, target: &str) -> &mut Self {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    /// Reads the answer to a request with a body in its answer.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply().expect("the connection ended without an answer")
    }

    /// Reads an answer; none when the connection ends before it.
    pub(crate) fn try_reply(&mut self) -> Option<Reply> {
        let (status, headers) = self.head()?;
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let body = if status == 204 || status == 304 {
            Vec::new()
        } else if text("transfer-encoding") == Some("chunked") {
            self.chunks()?.concat()
        } else if let Some(length) = text("content-length") {
            let length = length.parse().unwrap();
            self.take(length)?
        } else {
            self.rest()
        };
        Some(Reply { status, headers, body })
    }

    /// Reads status and headers.
    pub(crate) fn head(&mut self) -> Option<(u16, HeaderMap)> {
        let end = loop {
            match self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.read_more()?,
            }
        };
        let head = String::from_utf8(self.take(end)?).unwrap();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value.trim()).unwrap(),
            );
        }
        Some((status, headers))
    }

    /// Reads the chunks of a chunked body.
    pub(crate) fn chunks(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut chunks = Vec::new();
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return Some(chunks);
            }
            chunks.push(chunk);
        }
    }

    /// Reads the next chunk of a chunked body, which is empty at its end; none when the connection ends before.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            match self.received.windows(2).position(|bytes| bytes == b"\r\n") {
                Some(end) => break end + 2,
                None => self.read_more()?,
            }
        };
        let line = String::from_utf8(self.take(end)?).unwrap();
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let chunk = self.take(length)?;
        self.take(2)?;
        Some(chunk)
    }

    /// Reads so many bytes.
    pub(crate) fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.received.len() < length {
            self.read_more()?;
        }
        let rest = self.received.split_off(length);
        Some(std::mem::replace(&mut self.received, rest))
    }

    /// Everything until the connection ends.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.read_more().is_some() {}
        std::mem::take(&mut self.received)
    }

    fn read_more(&mut self) -> Option<()> {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => None,
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Some(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("waited in vain for more of an answer: {:?}", self.received)
            }
            Err(_) => None,
        }
    }

    /// Waits for the other side to close without another byte, and returns how long that took.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> Duration {
        let begun = Instant::now();
        let rest = self.rest();
        assert!(rest.is_empty(), "more came: {:?}", String::from_utf8_lossy(&rest));
        begun.elapsed()
    }
}
