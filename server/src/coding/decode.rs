//! Decoders for request bodies, within a limit: a small body may stand for an enormous one.

use std::io::{self, Read};

/// The codings of request bodies that are understood, for `Accept-Encoding`.
pub(crate) const TAKEN: &str = "br, zstd, gzip, deflate";

/// Brotli's own buffer.
const BUFFER_BYTES: usize = 4096;
/// Base-2 logarithm of the largest window of Zstandard that is taken (RFC 9659 §3): 8 MiB.
const ZSTD_WINDOW_MAX: u32 = 23;

/// Why a body could not be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The coding is not known.
    #[error("unknown coding")]
    Unknown,
    /// What it stands for is larger than the limit.
    #[error("too large")]
    TooLarge,
    /// It is not of its coding.
    #[error("{0}")]
    Malformed(#[from] io::Error),
}

/// Decodes a whole body of the coding `name`, in any case, to at most `bytes_max` bytes.
///
/// # Errors
/// [`DecodeError`].
pub(crate) fn decode(name: &str, body: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecodeError> {
    match name.to_ascii_lowercase().as_str() {
        "br" => read(brotli::Decompressor::new(body, BUFFER_BYTES), bytes_max),
        "gzip" | "x-gzip" => read(flate2::read::MultiGzDecoder::new(body), bytes_max),
        "deflate" => read(flate2::read::ZlibDecoder::new(body), bytes_max),
        "zstd" => {
            let mut decoder = zstd::stream::read::Decoder::new(body)?;
            decoder.window_log_max(ZSTD_WINDOW_MAX)?;
            read(decoder, bytes_max)
        }
        _ => Err(DecodeError::Unknown),
    }
}

fn read(decoder: impl Read, bytes_max: usize) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    decoder.take(bytes_max as u64 + 1).read_to_end(&mut out)?;
    if out.len() > bytes_max { Err(DecodeError::TooLarge) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coding::{Coding, encode};
    use harper_config::Compression;

    const QUALITY: Compression = Compression { brotli_quality: 4, gzip_level: 6, zstd_level: 3 };

    #[test]
    fn a_bomb_is_cut_at_the_limit() {
        let zeros = vec![0; 1 << 20];
        for coding in Coding::ALL {
            let bomb = encode(coding, &QUALITY, &zeros).unwrap();
            assert!(bomb.len() < 5000);
            let cut = decode(coding.name(), &bomb, (1 << 20) - 1);
            assert!(matches!(cut, Err(DecodeError::TooLarge)), "{coding:?}");
            assert_eq!(decode(coding.name(), &bomb, 1 << 20).unwrap().len(), 1 << 20);
        }
    }

    #[test]
    fn what_is_cut_or_wrong_is_an_error() {
        let text = b"a city by the sea ".repeat(100);
        for coding in Coding::ALL {
            let coded = encode(coding, &QUALITY, &text).unwrap();
            let cut = decode(coding.name(), &coded[..coded.len() - 3], 1 << 20);
            assert!(matches!(cut, Err(DecodeError::Malformed(_))), "{coding:?}");
            let wrong = decode(coding.name(), b"plainly not compressed", 1 << 20);
            assert!(matches!(wrong, Err(DecodeError::Malformed(_))), "{coding:?}");
        }
        assert!(matches!(decode("lzma", b"", 10), Err(DecodeError::Unknown)));
    }
}
