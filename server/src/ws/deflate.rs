//! permessage-deflate (RFC 7692). Every message is compressed by itself, in both directions: so a connection holds no window,
//! and a message to many is compressed once for all of them.

use super::Close;
use super::encode::{self, Kind};
use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::cell::RefCell;

/// What ends a compressed message and is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Fast rather than small.
const LEVEL: u32 = 1;
/// A longer message is sent as it is: compressing it would hold up the worker.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes that are decompressed before room is made for more.
const STEP_BYTES: usize = 4096;
/// The greatest window, as a power of two.
const WINDOW_BITS: u8 = 15;
/// The name of the extension.
const NAME: &str = "permessage-deflate";

thread_local! {
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(LEVEL), false));
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// How messages to a client are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deflate {
    /// The window that the client has for what it receives, as a power of two.
    window_bits: u8,
    /// Shorter messages are sent as they are.
    bytes_min: usize,
}

impl Deflate {
    /// What is agreed on with a client that offers `extensions`, the values of `Sec-WebSocket-Extensions`: the first offer that
    /// can be met, and the answer to it. Messages of more than `bytes_min` bytes will be compressed.
    #[must_use]
    pub(super) fn agree<'a>(
        extensions: impl Iterator<Item = &'a str>,
        bytes_min: usize,
    ) -> Option<(Self, String)> {
        let offers = extensions.flat_map(|value| value.split(','));
        let (window_bits, is_named) = offers.map(str::trim).find_map(window)?;
        let mut answer = format!("{NAME}; server_no_context_takeover; client_no_context_takeover");
        if is_named {
            answer.push_str(&format!("; server_max_window_bits={window_bits}"));
        }
        Some((Self { window_bits, bytes_min }, answer))
    }

    /// Whether what is compressed for one such client is so for all.
    #[must_use]
    pub(crate) fn has_full_window(self) -> bool {
        self.window_bits == WINDOW_BITS
    }

    /// The frame of a message in its compressed form; none where that is not worth it, or not possible. A message that is not longer
    /// than the client's window refers to nothing outside it.
    #[must_use]
    pub(crate) fn frame(self, kind: Kind, message: &[u8]) -> Option<Bytes> {
        let is_within = message.len() <= 1 << self.window_bits;
        if message.len() <= self.bytes_min || message.len() > MESSAGE_BYTES_MAX || !is_within {
            return None;
        }
        let compressed = deflate(message)?;
        Some(encode::compressed(kind, &compressed))
    }
}

/// The window that an offer leaves to the server, and whether the offer names it; none for an offer that cannot be met:
/// another extension, or a parameter that is unknown, doubled or malformed (RFC 7692 §7).
fn window(offer: &str) -> Option<(u8, bool)> {
    let mut parts = offer.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let (mut bits, mut seen) = (None, Vec::new());
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (part, None),
        };
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        match (name, value) {
            ("server_no_context_takeover" | "client_no_context_takeover", None)
            | ("client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(value)) => drop(window_bits(value)?),
            ("server_max_window_bits", Some(value)) => bits = Some(window_bits(value)?),
            _ => return None,
        }
    }
    Some((bits.unwrap_or(WINDOW_BITS), bits.is_some()))
}

/// 8 to 15, without leading zeros (RFC 7692 §7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=WINDOW_BITS).contains(bits))?;
    (!value.starts_with(['0', '+'])).then_some(bits)
}

/// Compresses a message; none when it does not get smaller.
fn deflate(message: &[u8]) -> Option<Vec<u8>> {
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let mut out = Vec::with_capacity(message.len());
        // what does not fit is not smaller
        let status = compress.compress_vec(message, &mut out, FlushCompress::Sync).ok()?;
        let is_whole = status == Status::Ok
            && compress.total_in() == message.len() as u64
            && out.ends_with(&TAIL);
        out.truncate(out.len().saturating_sub(TAIL.len()));
        is_whole.then_some(out)
    })
}

/// Decompresses a message of at most `bytes_max` bytes.
///
/// # Errors
/// How the client is told that it is larger, or not compressed as it should be.
pub(super) fn inflate(message: &[u8], bytes_max: usize) -> Result<Vec<u8>, Close> {
    DECOMPRESS.with_borrow_mut(|decompress| {
        decompress.reset(false);
        let mut out = Vec::new();
        for input in [message, &TAIL] {
            if push(decompress, input, bytes_max, &mut out)? {
                break;
            }
        }
        Ok(out)
    })
}

/// Decompresses a part of a message; whether a block said that it is the last (RFC 7692 §7.2.3.4).
fn push(
    decompress: &mut Decompress,
    mut input: &[u8],
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<bool, Close> {
    loop {
        out.reserve(STEP_BYTES);
        let (taken, made) = (decompress.total_in(), out.len());
        let status = decompress.decompress_vec(input, out, FlushDecompress::Sync);
        let status = status.map_err(|_| damaged())?;
        if out.len() > bytes_max {
            let reason = format!("more than {bytes_max} bytes (http.webSocket.messageBytesMax)");
            return Err(Close::new(Close::TOO_LARGE, reason));
        }
        let count = usize::try_from(decompress.total_in() - taken).unwrap_or(usize::MAX);
        input = &input[count..];
        let is_full = out.len() == out.capacity();
        match status {
            Status::StreamEnd => return Ok(true),
            _ if input.is_empty() && !is_full => return Ok(false),
            _ if count == 0 && out.len() == made => return Err(damaged()),
            _ => {}
        }
    }
}

fn damaged() -> Close {
    Close::new(Close::INVALID, "the message is not compressed as RFC 7692 says")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"{\"id\":\"one\",\"name\":\"one of many\",\"other\":\"one of many more\"}";

    fn agreed(offers: &[&str]) -> Option<String> {
        Deflate::agree(offers.iter().copied(), 10).map(|(_, answer)| answer)
    }

    #[test]
    fn the_first_offer_that_can_be_met_is_taken() {
        let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let bits = |bits: u8| Some(format!("{plain}; server_max_window_bits={bits}"));
        for (offers, answer) in [
            (&["permessage-deflate"][..], Some(plain.to_owned())),
            (&["permessage-deflate; client_max_window_bits"], Some(plain.to_owned())),
            (&["x-other, permessage-deflate;client_max_window_bits=9"], Some(plain.to_owned())),
            (&["permessage-deflate; server_max_window_bits=8"], bits(8)),
            (&["permessage-deflate; server_max_window_bits=\"12\""], bits(12)),
            (&["permessage-deflate; new", "Permessage-Deflate"], Some(plain.to_owned())),
            (&["x-webkit-deflate-frame"], None),
            (&["permessage-deflate; server_max_window_bits"], None),
            (&["permessage-deflate; server_max_window_bits=7"], None),
            (&["permessage-deflate; server_max_window_bits=08"], None),
            (&["permessage-deflate; client_max_window_bits=16"], None),
            (&["permessage-deflate; server_no_context_takeover=1"], None),
            (&["permessage-deflate; server_no_context_takeover; server_no_context_takeover"], None),
            (&[], None),
        ] {
            assert_eq!(agreed(offers), answer, "{offers:?}");
        }
    }

    #[test]
    fn what_is_deflated_is_inflated() {
        for text in [TEXT, &TEXT.repeat(500)] {
            let small = deflate(text).unwrap();
            assert!(small.len() < text.len());
            assert_eq!(inflate(&small, text.len()).unwrap(), text);
            assert_eq!(inflate(&small, text.len() - 1).unwrap_err().code, Close::TOO_LARGE);
        }
        let mut noise = [0; 2000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(deflate(&noise), None);
    }

    #[test]
    fn blocks_of_every_kind_are_read() {
        // RFC 7692 §7.2.3: one block, two, one that is not compressed, and one that says it is the last
        for bytes in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        ] {
            assert_eq!(inflate(bytes, 100).unwrap(), b"Hello", "{bytes:x?}");
        }
        assert_eq!(inflate(&[0xff; 9], 100).unwrap_err().code, Close::INVALID);
        assert!(inflate(&[], 100).is_ok_and(|text| text.is_empty()));
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let zeros = vec![0; MESSAGE_BYTES_MAX];
        let small = deflate(&zeros).unwrap();
        assert!(small.len() < 1000);
        assert_eq!(inflate(&small, 10_000).unwrap_err().code, Close::TOO_LARGE);
    }

    #[test]
    fn short_long_and_far_messages_are_sent_as_they_are() {
        let deflate = |window_bits| Deflate { window_bits, bytes_min: 10 };
        assert!(deflate(15).frame(Kind::Text, TEXT).is_some());
        assert!(deflate(15).frame(Kind::Text, &TEXT[..10]).is_none());
        assert!(deflate(15).frame(Kind::Text, &TEXT.repeat(2000)).is_none());
        assert!(deflate(8).frame(Kind::Text, TEXT).is_some());
        assert!(deflate(8).frame(Kind::Text, &TEXT.repeat(10)).is_none());
    }
}
