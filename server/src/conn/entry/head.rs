//! The head of a request (RFC 9112 §2 to §6), read strictly: one pass, nothing copied.

use super::Refusal;
use crate::error::Code;
use std::ops::Range;

/// Header fields that one head may have; hyper's own limit.
const FIELDS_MAX: usize = 100;
/// The longest target that `http::Uri` takes.
const TARGET_BYTES_MAX: usize = 65_534;
/// How much of a refused target is logged.
const LOGGED_BYTES_MAX: usize = 1024;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// A complete head that may go on to hyper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the head, the empty line at its end included.
    pub(super) len: usize,
    /// What follows it.
    pub(super) framing: Framing,
    /// Whether hyper must see it in other words; see [`Head::rewrite`].
    pub(super) needs_rewriting: bool,
    target: Range<usize>,
}

const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const ENCODE: u8 = 4;
const HOST: u8 = 8;

/// What each byte may be part of.
static KINDS: [u8; 256] = kinds();

const fn kinds() -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let letter = byte as u8;
        let mut kind = 0;
        // tchar (RFC 9110 §5.6.2)
        if letter.is_ascii_alphanumeric() || contains(b"!#$%&'*+-.^_`|~", letter) {
            kind |= TOKEN;
        }
        // what `http::Uri` takes everywhere in a path and a query, and what it does not but clients send
        if contains(b"\"<>`", letter) || letter >= 0x80 {
            kind |= TARGET | ENCODE;
        } else if letter > 0x20 && letter < 0x7f && letter != b'#' {
            kind |= TARGET;
        }
        // `uri-host [ ":" port ]` (RFC 3986 §3.2.2)
        if letter.is_ascii_alphanumeric() || contains(b"-._~%!$&'()*+,;=:[]", letter) {
            kind |= HOST;
        }
        kinds[byte] = kind;
        byte += 1;
    }
    kinds
}

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

fn is(byte: u8, kind: u8) -> bool {
    KINDS[usize::from(byte)] & kind != 0
}

/// Part of a token (RFC 9110 §5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    is(byte, TOKEN)
}

/// Part of a field value: visible, white space, or beyond ASCII (RFC 9110 §5.5).
pub(super) fn is_field_byte(byte: u8) -> bool {
    (byte >= 0x20 && byte != 0x7f) || byte == b'\t'
}

/// Whether this can be the value of `Host`: `uri-host [ ":" port ]`, which may be empty (RFC 9110 §7.2).
#[must_use]
pub(in crate::conn) fn is_host(host: &[u8]) -> bool {
    let port = match host.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let is_address = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
            let after = &rest[end + 1..];
            if end == 0
                || !rest[..end].iter().all(is_address)
                || !(after.is_empty() || after[0] == b':')
            {
                return false;
            }
            after.get(1..).unwrap_or_default()
        }
        None => match memchr::memchr3(b'[', b']', b':', host) {
            Some(at) if host[at] == b':' => &host[at + 1..],
            Some(_) => return false,
            None => b"",
        },
    };
    host.iter().all(|byte| is(*byte, HOST)) && port.iter().all(u8::is_ascii_digit)
}

impl Head {
    /// Reads the head that `bytes` begin with; none when it is not complete.
    ///
    /// # Errors
    /// What makes it unacceptable, as soon as that can be seen.
    pub(super) fn read(bytes: &[u8], bytes_max: usize) -> Result<Option<Self>, Refusal> {
        // one empty line before a request is let pass (RFC 9112 §2.2)
        let mut at = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
        let Some(first) = line(bytes, at, 1)? else { return incomplete(bytes, at, bytes_max) };
        let request = RequestLine::read(bytes, first.clone())?;
        at = first.end + 2;
        if at > bytes_max {
            return Err(TARGET_TOO_LONG);
        }
        let mut fields = Fields::default();
        for number in 2.. {
            let Some(line) = line(bytes, at, number)? else {
                return incomplete(bytes, at, bytes_max);
            };
            at = line.end + 2;
            if at > bytes_max {
                return Err(TOO_LARGE);
            }
            if line.is_empty() {
                break;
            }
            fields.add(&bytes[line], number)?;
        }
        let framing = fields.framing(request.is_http_1_0)?;
        let Range { start, end } = request.target;
        Ok(Some(Self {
            len: at,
            framing,
            needs_rewriting: request.needs_rewriting,
            target: start..end,
        }))
    }

    /// Writes the head as hyper can read it: bytes of the target that no URI has are percent-encoded, and a minor version
    /// that is not known is the highest that is (RFC 9110 §2.5). `bytes` begin with the head.
    pub(super) fn rewrite(&self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&bytes[..self.target.start]);
        encode(&bytes[self.target.clone()], out);
        let version = self.target.end + b" HTTP/1.".len();
        out.extend_from_slice(&bytes[self.target.end..version]);
        out.push(bytes[version].min(b'1'));
        out.extend_from_slice(&bytes[version + 1..self.len]);
    }
}

const TOO_LARGE: Refusal =
    Refusal::new(Code::HeaderTooLarge, "The head of the request is larger than http.maxHeaderSize");
const TARGET_TOO_LONG: Refusal =
    Refusal::new(Code::TargetTooLong, "The target of the request is too long");

/// The line that begins at `at`, without its end; none when it is not complete.
fn line(bytes: &[u8], at: usize, number: usize) -> Result<Option<Range<usize>>, Refusal> {
    let Some(length) = memchr::memchr(b'\n', &bytes[at..]) else { return Ok(None) };
    let end = at + length;
    // RFC 9112 §2.2 lets a bare line feed end a line; that is how requests are smuggled
    if length == 0 || bytes[end - 1] != b'\r' {
        return Err(Refusal::bad("A line ends without a carriage return").at(number));
    }
    Ok(Some(at..end - 1))
}

/// Says whether a head that has come in part can still become one.
fn incomplete(bytes: &[u8], at: usize, bytes_max: usize) -> Result<Option<Head>, Refusal> {
    let is_first = at <= 2;
    if is_first {
        let method = &bytes[at..];
        let end = memchr::memchr(b' ', method).unwrap_or(method.len());
        let is_method = method[..end].iter().all(|byte| is_token_byte(*byte));
        // a lone carriage return may be the beginning of the empty line
        if !is_method && method != b"\r" {
            return Err(NO_METHOD);
        }
    }
    if bytes.len() < bytes_max {
        Ok(None)
    } else if is_first {
        Err(TARGET_TOO_LONG)
    } else {
        Err(TOO_LARGE)
    }
}

const NO_METHOD: Refusal =
    Refusal::bad("The request does not begin with a method and a space").at(1);

const NO_VERSION: Refusal =
    Refusal::bad("The request line does not end with a space and a version such as HTTP/1.1").at(1);

struct RequestLine {
    target: Range<usize>,
    is_http_1_0: bool,
    needs_rewriting: bool,
}

impl RequestLine {
    /// `method SP request-target SP HTTP-version` (RFC 9112 §3).
    fn read(bytes: &[u8], line: Range<usize>) -> Result<Self, Refusal> {
        let text = &bytes[line.clone()];
        let space = text.iter().position(|byte| !is(*byte, TOKEN)).ok_or(NO_METHOD)?;
        let (method, rest) = text.split_at(space);
        let Some(rest) = rest.strip_prefix(b" ").filter(|_| space > 0) else {
            return Err(NO_METHOD);
        };
        let mut any = 0;
        let is_outside = |byte: &u8| {
            any |= KINDS[usize::from(*byte)];
            !is(*byte, TARGET)
        };
        let end = rest.iter().position(is_outside).ok_or(NO_VERSION)?;
        let target = &rest[..end];
        if rest[end] != b' ' || target.is_empty() {
            return Err(Refusal::bad("The target is empty or holds a byte that no URI has").at(1));
        }
        let (minor, is_known) = version(&rest[end + 1..])?;
        check_form(method, target)?;
        let needs_encoding = any & ENCODE != 0;
        if target.len() > TARGET_BYTES_MAX
            || needs_encoding && encoded_len(target) > TARGET_BYTES_MAX
        {
            return Err(TARGET_TOO_LONG);
        }
        let start = line.start + space + 1;
        Ok(Self {
            target: start..start + end,
            is_http_1_0: minor == b'0',
            needs_rewriting: needs_encoding || !is_known,
        })
    }
}

/// The minor version, and whether it is one that this server speaks.
fn version(text: &[u8]) -> Result<(u8, bool), Refusal> {
    match text {
        b"HTTP/1.1" => Ok((b'1', true)),
        b"HTTP/1.0" => Ok((b'0', true)),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9'] => Ok((*minor, false)),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Refusal::new(Code::VersionNotSupported, "This server speaks HTTP/1.1 here").at(1))
        }
        _ => Err(NO_VERSION),
    }
}

/// The four forms of a target (RFC 9112 §3.2). `CONNECT` asks for a proxy, which this is not.
fn check_form(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    if method == b"CONNECT" {
        return Err(Refusal::new(Code::NotImplemented, "This server is not a proxy").at(1));
    }
    if target[0] == b'/' || target == b"*" && method == b"OPTIONS" {
        return Ok(());
    }
    let authority = [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (begin, rest) = target.split_at_checked(scheme.len())?;
        begin.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let refusal = Refusal::bad("The target is neither a path nor an http URI of this server").at(1);
    let authority = authority.ok_or(refusal)?;
    let end = authority.iter().position(|byte| b"/?".contains(byte)).unwrap_or(authority.len());
    let host = &authority[..end];
    // `http::Uri` has no percent-encoded hosts
    if host.is_empty() || host[0] == b':' || host.contains(&b'%') || !is_host(host) {
        Err(refusal)
    } else {
        Ok(())
    }
}

/// What the fields say of the framing.
#[derive(Default)]
struct Fields {
    count: usize,
    hosts: usize,
    length: Option<u64>,
    coding: Option<Coding>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Chunked,
    /// Another coding below `chunked`.
    Other,
}

impl Fields {
    /// Reads one field line (RFC 9112 §5).
    fn add(&mut self, line: &[u8], number: usize) -> Result<(), Refusal> {
        let bad = |sentence| Err(Refusal::bad(sentence).at(number));
        self.count += 1;
        if self.count > FIELDS_MAX {
            let sentence = "The request has more than 100 header fields";
            return Err(Refusal::new(Code::HeaderTooLarge, sentence));
        }
        let Some(end) = line.iter().position(|byte| !is_token_byte(*byte)) else {
            return bad("A header line has no colon");
        };
        // a space before the colon and a folded line are caught here too
        if line[end] != b':' || end == 0 {
            return bad("A header name is empty or holds a byte that no name has, such as a space");
        }
        let (name, value) = (&line[..end], &line[end + 1..]);
        if !value.iter().fold(true, |is_fine, byte| is_fine & is_field_byte(*byte)) {
            return bad("A header value holds a control character");
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value.trim_ascii(), number),
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.length(value.trim_ascii(), number)
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.coding(value.trim_ascii(), number)
            }
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8], number: usize) -> Result<(), Refusal> {
        self.hosts += 1;
        if self.hosts > 1 {
            return Err(Refusal::bad("There is more than one Host header").at(number));
        }
        if is_host(value) {
            Ok(())
        } else {
            Err(Refusal::bad("The Host header is invalid").at(number))
        }
    }

    fn length(&mut self, value: &[u8], number: usize) -> Result<(), Refusal> {
        let bad = |sentence| Err(Refusal::bad(sentence).at(number));
        if self.length.is_some() {
            return bad("There is more than one Content-Length");
        }
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return bad("Content-Length is not a number");
        }
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
        match number.filter(|length| *length <= i64::MAX as u64) {
            Some(length) => self.length = Some(length),
            None => return bad("Content-Length is too large"),
        }
        Ok(())
    }

    /// `Transfer-Encoding` (RFC 9112 §6.1): `chunked` once, and last.
    fn coding(&mut self, value: &[u8], number: usize) -> Result<(), Refusal> {
        let bad = |sentence| Err(Refusal::bad(sentence).at(number));
        if self.coding.is_some() {
            return bad("There is more than one Transfer-Encoding");
        }
        let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
        let mut codings = value.rsplit(|byte| *byte == b',');
        if !codings.next().is_some_and(is_chunked) {
            return bad("The last Transfer-Encoding is not chunked");
        }
        if codings.clone().any(is_chunked) {
            return bad("Transfer-Encoding is chunked more than once");
        }
        self.coding = Some(if codings.next().is_some() { Coding::Other } else { Coding::Chunked });
        Ok(())
    }

    fn framing(&self, is_http_1_0: bool) -> Result<Framing, Refusal> {
        if self.hosts == 0 && !is_http_1_0 {
            return Err(Refusal::bad("The Host header is missing"));
        }
        match (self.coding, self.length) {
            (None, length) => Ok(Framing::Length(length.unwrap_or(0))),
            (Some(_), Some(_)) => {
                Err(Refusal::bad("The request has a Content-Length and a Transfer-Encoding"))
            }
            (Some(_), None) if is_http_1_0 => {
                Err(Refusal::bad("HTTP/1.0 has no Transfer-Encoding"))
            }
            (Some(Coding::Other), None) => Err(Refusal::new(
                Code::NotImplemented,
                "The only supported Transfer-Encoding is chunked",
            )),
            (Some(Coding::Chunked), None) => Ok(Framing::Chunked),
        }
    }
}

fn encoded_len(target: &[u8]) -> usize {
    target.len() + 2 * target.iter().filter(|byte| is(**byte, ENCODE)).count()
}

/// Percent-encodes what no URI has (RFC 3986 §2.1).
fn encode(target: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.reserve(encoded_len(target));
    for byte in target {
        if is(*byte, ENCODE) || !is(*byte, TARGET) {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[b'%', DIGITS[high], DIGITS[low]]);
        } else {
            out.push(*byte);
        }
    }
}

/// Writes the request that hyper reads in the place of a refused one: its method and target where those can be told, for
/// the log, and nothing else of it.
pub(super) fn stand_in(refused: &[u8], out: &mut Vec<u8>) {
    let refused = refused.strip_prefix(b"\r\n").unwrap_or(refused);
    let end = memchr::memchr2(b'\r', b'\n', refused).unwrap_or(refused.len());
    let mut words = refused[..end].splitn(2, |byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let is_method =
        (1..=32).contains(&method.len()) && method.iter().all(|byte| is_token_byte(*byte));
    // CONNECT would make hyper expect a tunnel
    let method = if is_method && method != b"CONNECT" { method } else { b"-" };
    let rest = words.next().filter(|_| is_method).unwrap_or_default();
    let end = memchr::memrchr(b' ', rest).unwrap_or(rest.len());
    let target = &rest[..end.min(LOGGED_BYTES_MAX)];
    out.extend_from_slice(method);
    out.extend_from_slice(if target.first() == Some(&b'/') { b" " } else { b" /" });
    encode(target, out);
    out.extend_from_slice(b" HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n");
}
