//! A stored record: a fixed header, the body as compact JSON, and what its writer told beside it.
//!
//! ```text
//! 0 format u8 | 1 flags u8 | 2 extra length u16 | 4 origin u32 | 8 version u64 | 16 created u64
//! 24 updated u64 | 32 expires u64 | 40 sequence u64 | 48 body | extra    (little endian)
//! ```

use crate::error::Error;
use crate::hlc;

pub(crate) const HEADER_BYTES: usize = 48;
const FORMAT: u8 = 1;
/// The members `contentType` and `data` are bytes that were stored as they came.
pub(crate) const FLAG_CONTENT: u8 = 1;

/// A record as it lies in the memory map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'t> {
    /// What is known of the record besides its attributes.
    pub meta: Meta,
    /// A compact JSON object, key and timestamps included.
    pub body: &'t [u8],
    /// What was given to [`Prepared::with_extra`](crate::Prepared::with_extra) by the last write.
    pub extra: &'t [u8],
}

/// What is known of a record besides its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meta {
    /// Hybrid logical clock of the write: milliseconds since 1970 times 65,536, plus a counter.
    /// Unique within the database and growing.
    pub version: u64,
    /// When the record was created, in milliseconds since 1970.
    pub created_ms: u64,
    /// When the record was last written, in milliseconds since 1970.
    pub updated_ms: u64,
    /// When the record expires, in milliseconds since 1970; 0: never.
    pub expires_ms: u64,
    /// Sequence number of the write in the table's change log.
    pub sequence: u64,
    /// Number of the node that wrote; 0: this one.
    pub origin: u32,
    /// See [`Meta::is_content`]; the other bits are 0.
    pub flags: u8,
}

impl Meta {
    /// Whether the record is bytes that were stored as they came: its members `contentType` and `data` (base64).
    pub fn is_content(&self) -> bool {
        self.flags & FLAG_CONTENT != 0
    }

    /// Whether the record's time has passed, so that it reads as absent.
    pub(crate) fn has_expired(&self) -> bool {
        self.expires_ms != 0 && self.expires_ms <= hlc::now_ms()
    }

    /// Writes the header over the beginning of a stored value that ends with so many bytes beside
    /// its body.
    pub(crate) fn write(&self, value: &mut [u8], extra_bytes: u16) {
        let Meta { version, created_ms, updated_ms, expires_ms, sequence, origin, flags } = *self;
        let [low, high] = extra_bytes.to_le_bytes();
        let first = u64::from_le_bytes([FORMAT, flags, low, high, 0, 0, 0, 0]);
        let first = first | u64::from(origin) << 32;
        let words = [first, version, created_ms, updated_ms, expires_ms, sequence];
        for (bytes, word) in value.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// Reads a stored value in place, unless its time has passed.
pub(crate) fn read_live(value: &[u8]) -> Result<Option<Record<'_>>, Error> {
    Ok(Some(read(value)?).filter(|record| !record.meta.has_expired()))
}

/// Reads a stored value in place, also one that has expired.
pub(crate) fn read(value: &[u8]) -> Result<Record<'_>, Error> {
    let Some((header, rest)) = value.split_first_chunk::<HEADER_BYTES>() else {
        return Err(damaged(&format!("a record has {} bytes", value.len())));
    };
    if header[0] != FORMAT {
        return Err(damaged(&format!("a record has format {}", header[0])));
    }
    let (words, _) = header[8..].as_chunks::<8>();
    let word = |at: usize| words.get(at).map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let meta = Meta {
        version: word(0),
        created_ms: word(1),
        updated_ms: word(2),
        expires_ms: word(3),
        sequence: word(4),
        origin: u32::from_le_bytes([header[4], header[5], header[6], header[7]]),
        flags: header[1],
    };
    let extra_bytes = usize::from(u16::from_le_bytes([header[2], header[3]]));
    let parts = rest.len().checked_sub(extra_bytes).and_then(|at| rest.split_at_checked(at));
    let Some((body, extra)) = parts else {
        return Err(damaged(&format!("{extra_bytes} of {} bytes are beside a body", rest.len())));
    };
    Ok(Record { meta, body, extra })
}

fn damaged(what: &str) -> Error {
    Error::Damaged { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_is_read_back(words: [u64; 5], origin: u32, flags: u8, extra: Vec<u8>) {
            let [version, created_ms, updated_ms, expires_ms, sequence] = words;
            let meta = Meta { version, created_ms, updated_ms, expires_ms, sequence, origin, flags };
            let mut value = vec![0; HEADER_BYTES];
            meta.write(&mut value, u16::try_from(extra.len()).unwrap());
            value.extend_from_slice(b"{}");
            value.extend_from_slice(&extra);
            prop_assert_eq!(read(&value).unwrap(), Record { meta, body: b"{}", extra: &extra });
        }
    }

    #[test]
    fn damaged_values_are_errors() {
        assert!(read(b"short").is_err());
        assert!(read(&[9; 60]).is_err());
        let mut value = vec![0; HEADER_BYTES];
        Meta::default().write(&mut value, 3);
        value.extend_from_slice(b"{}");
        assert!(read(&value).is_err());
    }
}
