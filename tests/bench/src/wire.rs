//! As much HTTP/1.1 as a client needs that knows what it asks: build a request, find the end of a response.
//! Refuses chunked bodies, since every server here knows the length of its answer.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use base64::Engine;

/// No response of a server under test comes near this.
pub(crate) const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Where a response's parts end.
#[derive(Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) status: u16,
    pub(crate) head_bytes: usize,
    pub(crate) body_bytes: usize,
}

/// One whole response.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names as the server wrote them, in its order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// The `Authorization` value of a name and a password.
pub(crate) fn basic(username: &str, password: &str) -> String {
    let pair = format!("{username}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// The bytes of a request; `authorization` and `body` may be empty, then the header is left out.
pub(crate) fn request(method: &str, path: &str, authorization: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
    if !authorization.is_empty() {
        bytes.extend_from_slice(format!("Authorization: {authorization}\r\n").as_bytes());
    }
    if !body.is_empty() {
        let length = body.len();
        let described = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
        bytes.extend_from_slice(described.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// The frame of the response at the start of `bytes`; `None` while its head has not wholly arrived.
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<Frame>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        if bytes.len() > ANSWER_BYTES_MAX {
            bail!("no end of the response's head within {ANSWER_BYTES_MAX} bytes");
        }
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).context("the response's head is not text")?;
    let mut lines = head.split("\r\n");
    let status = status(lines.next().unwrap_or_default())?;
    let mut body_bytes = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            body_bytes = value.trim().parse().context("content-length is not a number")?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("the response is chunked");
        }
    }
    Ok(Some(Frame { status, head_bytes: end + 4, body_bytes }))
}

/// The response at the start of `bytes`; an error when it is not whole.
pub(crate) fn parse(bytes: &[u8]) -> Result<Answer> {
    let Frame { status, head_bytes, body_bytes } = frame(bytes)?.context("the head is cut off")?;
    let body = bytes.get(head_bytes..head_bytes + body_bytes).context("the body is cut off")?;
    let headers = String::from_utf8_lossy(&bytes[..head_bytes])
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Ok(Answer { status, headers, body: body.to_vec() })
}

/// Sends one request on a connection of its own and returns the response's bytes.
pub(crate) fn ask_raw(addr: SocketAddr, request: &[u8], timeout: Duration) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&addr, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut chunk)?;
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(frame) = frame(&bytes)?
            && bytes.len() >= frame.head_bytes + frame.body_bytes
        {
            return Ok(bytes);
        }
        if count == 0 {
            bail!("{addr} closed the connection after {} bytes of its answer", bytes.len());
        }
    }
}

/// Sends one request on a connection of its own.
pub(crate) fn ask(addr: SocketAddr, request: &[u8], timeout: Duration) -> Result<Answer> {
    parse(&ask_raw(addr, request, timeout)?)
}

fn status(line: &str) -> Result<u16> {
    let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    match code {
        Some(code) if line.starts_with("HTTP/1.1 ") => Ok(code),
        _ => bail!("not a status line: {line:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_needs_the_whole_head() {
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(frame(&response[..30]).unwrap(), None);
        let whole = Frame { status: 200, head_bytes: 38, body_bytes: 5 };
        assert_eq!(frame(response).unwrap(), Some(whole));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1\r\n\r\n",
        ] {
            assert!(frame(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn headers_and_body_come_apart() {
        let answer =
            parse(b"HTTP/1.1 404 Not Found\r\nVary: Accept\r\ncontent-length: 2\r\n\r\nno")
                .unwrap();
        assert_eq!(answer.status, 404);
        assert_eq!(answer.headers[0], ("Vary".to_owned(), "Accept".to_owned()));
        assert_eq!(answer.body, b"no");
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let bytes = request("PUT", "/a", "Basic eA==", b"{}");
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("\r\nAuthorization: Basic eA==\r\n"), "{text}");
        assert!(text.ends_with("Content-Length: 2\r\n\r\n{}"), "{text}");
        assert_eq!(basic("a", "b"), "Basic YTpi");
    }
}
