//! The chunked transfer coding (RFC 9112 §7.1), read strictly.

use super::Refusal;
use super::head::{is_field_byte, is_token_byte};

/// Bytes of chunk extensions and trailers that one body may have. Below hyper's limits, which are 16 KiB each.
const EXTRA_BYTES_MAX: usize = 16_000;
/// Digits of a chunk size; more could only be zeros.
const DIGITS_MAX: u8 = 16;
/// Trailer fields that one body may have; hyper's limit is 100.
const TRAILERS_MAX: usize = 64;

/// Where in a chunked body the reader is.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    /// Bytes left of the chunk; while its size is read, what has been read of it.
    left: u64,
    digits: u8,
    extra_bytes: usize,
    trailers: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// The first digit of a size.
    #[default]
    Size,
    /// Later digits.
    Digits,
    /// White space before an extension's `;`.
    BeforeExtension,
    Extension,
    /// Within a quoted value of an extension.
    Quoted,
    /// After a backslash within one.
    Escaped,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The beginning of a trailer, or of the empty line that ends the body.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl Chunks {
    /// Reads on. Returns how many bytes belong to the body, and whether that was its end.
    ///
    /// # Errors
    /// What is wrong, and how many bytes before it were right.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, bool), (usize, Refusal)> {
        let mut at = 0;
        while at < bytes.len() && self.at != At::End {
            if self.at == At::Data {
                let rest = bytes.len() - at;
                let count = rest.min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= count as u64;
                at += count;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            self.at = self.step(bytes[at]).map_err(|sentence| (at, Refusal::bad(sentence)))?;
            at += 1;
        }
        Ok((at, self.at == At::End))
    }

    fn step(&mut self, byte: u8) -> Result<At, &'static str> {
        match self.at {
            At::Size | At::Digits => self.size(byte),
            At::BeforeExtension | At::Extension | At::Quoted | At::Escaped => self.extension(byte),
            At::SizeLf if byte == b'\n' && self.left == 0 => Ok(At::Trailer),
            At::SizeLf if byte == b'\n' => Ok(At::Data),
            At::DataCr if byte == b'\r' => Ok(At::DataLf),
            At::DataLf if byte == b'\n' => Ok(At::Size),
            At::DataCr | At::DataLf => Err("A chunk is longer than its size says"),
            At::TrailerLf if byte == b'\n' => Ok(At::Trailer),
            At::EndLf if byte == b'\n' => Ok(At::End),
            At::SizeLf | At::TrailerLf | At::EndLf => {
                Err("A carriage return of the chunked body stands without its line feed")
            }
            At::Trailer | At::TrailerName | At::TrailerValue => self.trailer(byte),
            At::Data | At::End => Ok(self.at),
        }
    }

    fn size(&mut self, byte: u8) -> Result<At, &'static str> {
        if let Some(digit) = (byte as char).to_digit(16) {
            self.digits = if self.at == At::Size { 1 } else { self.digits + 1 };
            // 2^63 and more is negative to some
            if self.left >> 59 != 0 || self.digits > DIGITS_MAX {
                return Err("A chunk size is too large");
            }
            self.left = self.left << 4 | u64::from(digit);
            return Ok(At::Digits);
        }
        match byte {
            b'\r' if self.at == At::Digits => Ok(At::SizeLf),
            b';' if self.at == At::Digits => Ok(At::Extension),
            b' ' | b'\t' if self.at == At::Digits => Ok(At::BeforeExtension),
            _ => Err("A chunk size is not a hexadecimal number"),
        }
    }

    fn extension(&mut self, byte: u8) -> Result<At, &'static str> {
        self.count()?;
        match (self.at, byte) {
            (At::BeforeExtension, b' ' | b'\t') => Ok(At::BeforeExtension),
            (At::BeforeExtension, b';') => Ok(At::Extension),
            (At::Extension, b'\r') => Ok(At::SizeLf),
            (At::Extension, b'"') | (At::Escaped, 0x20..=0x7e) => Ok(At::Quoted),
            (At::Extension, b';' | b'=' | b' ' | b'\t') => Ok(At::Extension),
            (At::Extension, byte) if is_token_byte(byte) => Ok(At::Extension),
            (At::Quoted, b'"') => Ok(At::Extension),
            (At::Quoted, b'\\') => Ok(At::Escaped),
            (At::Quoted, byte) if is_field_byte(byte) => Ok(At::Quoted),
            _ => Err("A chunk extension is malformed"),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<At, &'static str> {
        self.count()?;
        match (self.at, byte) {
            (At::Trailer, b'\r') => Ok(At::EndLf),
            (At::Trailer, byte) if is_token_byte(byte) => {
                self.trailers += 1;
                if self.trailers > TRAILERS_MAX {
                    return Err("The body has too many trailers");
                }
                Ok(At::TrailerName)
            }
            (At::TrailerName, b':') => Ok(At::TrailerValue),
            (At::TrailerName, byte) if is_token_byte(byte) => Ok(At::TrailerName),
            (At::TrailerValue, b'\r') => Ok(At::TrailerLf),
            (At::TrailerValue, byte) if is_field_byte(byte) => Ok(At::TrailerValue),
            _ => Err("A trailer is malformed"),
        }
    }

    /// Counts one byte of an extension or a trailer.
    fn count(&mut self) -> Result<(), &'static str> {
        self.extra_bytes += 1;
        if self.extra_bytes > EXTRA_BYTES_MAX {
            return Err("Chunk extensions and trailers are too long");
        }
        Ok(())
    }
}
