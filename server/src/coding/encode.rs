//! Encoders, for bodies that are whole and for bodies that are made part by part.

use super::Coding;
use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use harper_config::Compression;
use std::cell::RefCell;
use std::io::{self, Write};

/// Base-2 logarithm of the window: 256 KiB bounds the memory of one answer.
const WINDOW: u32 = 18;
/// Brotli's own buffer.
const BUFFER_BYTES: usize = 4096;

/// An encoder under way; memory is bounded by its window.
pub(crate) enum Encoder {
    /// Brotli.
    Br(Box<CompressorWriter<Vec<u8>>>),
    /// Zstandard.
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    /// gzip.
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    /// An encoder with the configured quality.
    ///
    /// # Errors
    /// The library's refusal: no memory.
    pub(crate) fn new(coding: Coding, quality: &Compression) -> io::Result<Self> {
        Ok(match coding {
            Coding::Br => Self::Br(Box::new(CompressorWriter::with_params(
                Vec::new(),
                BUFFER_BYTES,
                &brotli_parameters(quality),
            ))),
            Coding::Zstd => {
                let mut encoder =
                    zstd::stream::write::Encoder::new(Vec::new(), quality.zstd_level)?;
                encoder.window_log(WINDOW)?;
                Self::Zstd(encoder)
            }
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Level::new(quality.gzip_level))),
        })
    }

    /// Takes a part in and gives what it became, so that the client can have it at once.
    ///
    /// # Errors
    /// The library's failure.
    pub(crate) fn push(&mut self, part: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Br(encoder) => write_through(encoder, part)?,
            Self::Zstd(encoder) => write_through(encoder, part)?,
            Self::Gzip(encoder) => write_through(encoder, part)?,
        }
        Ok(std::mem::take(match self {
            Self::Br(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        }))
    }

    /// Ends the body and gives what is left of it.
    ///
    /// # Errors
    /// The library's failure.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Br(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

fn write_through(encoder: &mut impl Write, part: &[u8]) -> io::Result<()> {
    encoder.write_all(part)?;
    encoder.flush()
}

fn brotli_parameters(quality: &Compression) -> BrotliEncoderParams {
    BrotliEncoderParams {
        quality: quality.brotli_quality as i32,
        lgwin: WINDOW as i32,
        ..BrotliEncoderParams::default()
    }
}

thread_local! {
    /// Making a Zstandard context costs as much as coding some kilobytes, so each thread keeps one.
    static ZSTD: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
}

/// A whole body in a coding.
///
/// # Errors
/// The library's failure.
pub(crate) fn encode(coding: Coding, quality: &Compression, body: &[u8]) -> io::Result<Bytes> {
    match coding {
        Coding::Br => {
            let parameters =
                BrotliEncoderParams { size_hint: body.len(), ..brotli_parameters(quality) };
            let mut out = Vec::with_capacity(body.len() / 3);
            brotli::BrotliCompress(&mut &*body, &mut out, &parameters)?;
            Ok(out.into())
        }
        Coding::Zstd => ZSTD.with_borrow_mut(|kept| {
            let compressor = match kept {
                Some(compressor) => compressor,
                None => kept.insert(zstd::bulk::Compressor::new(quality.zstd_level)?),
            };
            compressor.set_compression_level(quality.zstd_level)?;
            compressor.compress(body).map(Bytes::from)
        }),
        Coding::Gzip => {
            let out = Vec::with_capacity(body.len() / 3);
            let mut encoder = GzEncoder::new(out, Level::new(quality.gzip_level));
            encoder.write_all(body)?;
            encoder.finish().map(Bytes::from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coding::decode;

    #[test]
    fn whole_bodies_and_parts_decode_to_what_they_were() {
        let quality = Compression { brotli_quality: 4, gzip_level: 6, zstd_level: 3 };
        let text = "a city by the sea ".repeat(1000).into_bytes();
        for coding in Coding::ALL {
            for body in [&text[..], b""] {
                let whole = encode(coding, &quality, body).unwrap();
                assert_eq!(decode(coding.name(), &whole, text.len()).unwrap(), body);
            }
            let mut encoder = Encoder::new(coding, &quality).unwrap();
            let mut coded = Vec::new();
            for part in text.chunks(999) {
                let part = encoder.push(part).unwrap();
                assert!(!part.is_empty(), "each part is sent as it is made");
                coded.extend(part);
            }
            coded.extend(encoder.finish().unwrap());
            assert_eq!(decode(coding.name(), &coded, text.len()).unwrap(), text);
        }
    }
}
