//! An entry of the change log as it is stored.
//!
//! ```text
//! key    table u32 | sequence u64                                          (big endian)
//! value  0 operation u8 | 1 flags u8 | 2 key length u16 | 4 origin u32 | 8 version u64 | 16 key
//!        and with flags: expires u64 | extra length u32 | extra | body     (little endian)
//! ```
//!
//! An entry without flags ends with its key and leaves its length at 0: that is all there is to
//! most writes, since the record has the rest.

use crate::error::Error;
use crate::observer::Operation;

const HEADER_BYTES: usize = 16;
/// There is more behind the key.
const FLAG_MORE: u8 = 1;
/// What is behind the key has a body.
const FLAG_BODY: u8 = 2;
/// The body is a record of bytes that were stored as they came.
const FLAG_CONTENT: u8 = 4;

/// One write, as the log tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'t> {
    pub(crate) sequence: u64,
    pub(crate) version: u64,
    pub(crate) origin: u32,
    pub(crate) operation: Operation,
    /// The key's bytes.
    pub(crate) key: &'t [u8],
    /// Of a message always; of a record when it was asked for.
    pub(crate) body: Option<&'t [u8]>,
    pub(crate) is_content: bool,
    /// 0: never, or the record tells.
    pub(crate) expires_ms: u64,
    pub(crate) extra: &'t [u8],
}

impl<'t> Entry<'t> {
    /// The value to store.
    pub(crate) fn value(&self) -> Result<Vec<u8>, Error> {
        let mut flags = 0;
        if self.body.is_some() || self.expires_ms != 0 || !self.extra.is_empty() {
            flags |= FLAG_MORE;
        }
        if self.body.is_some() {
            flags |= FLAG_BODY;
        }
        if self.is_content && self.body.is_some() {
            flags |= FLAG_CONTENT;
        }
        let body = self.body.unwrap_or_default();
        let more = if flags == 0 { 0 } else { 12 + self.extra.len() + body.len() };
        let mut value = Vec::with_capacity(HEADER_BYTES + self.key.len() + more);
        value.extend([operation_byte(self.operation), flags]);
        let key_bytes = if flags == 0 { 0 } else { fits(self.key.len())? };
        value.extend(u16::to_le_bytes(key_bytes));
        value.extend(self.origin.to_le_bytes());
        value.extend(self.version.to_le_bytes());
        value.extend_from_slice(self.key);
        if flags != 0 {
            value.extend(self.expires_ms.to_le_bytes());
            value.extend(u32::to_le_bytes(fits(self.extra.len())?));
            value.extend_from_slice(self.extra);
            value.extend_from_slice(body);
        }
        Ok(value)
    }

    /// Reads an entry in place.
    pub(crate) fn read(place: &[u8], value: &'t [u8]) -> Result<Entry<'t>, Error> {
        parse(place, value).ok_or_else(|| Error::Damaged {
            what: String::from("an entry of the change log cannot be read"),
        })
    }
}

fn parse<'t>(place: &[u8], value: &'t [u8]) -> Option<Entry<'t>> {
    let (_, sequence) = place.split_last_chunk::<8>()?;
    let (header, rest) = value.split_first_chunk::<HEADER_BYTES>()?;
    let [operation, flags, low, high, a, b, c, d, version @ ..] = *header;
    let mut entry = Entry {
        sequence: u64::from_be_bytes(*sequence),
        version: u64::from_le_bytes(version),
        origin: u32::from_le_bytes([a, b, c, d]),
        operation: operation_of(operation)?,
        key: rest,
        body: None,
        is_content: flags & FLAG_CONTENT != 0,
        expires_ms: 0,
        extra: &[],
    };
    if flags & FLAG_MORE != 0 {
        let (key, rest) = rest.split_at_checked(u16::from_le_bytes([low, high]).into())?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (extra, body) = rest.split_at_checked(length)?;
        entry.key = key;
        entry.expires_ms = u64::from_le_bytes(*expires);
        entry.extra = extra;
        entry.body = (flags & FLAG_BODY != 0).then_some(body);
    }
    Some(entry)
}

fn operation_byte(operation: Operation) -> u8 {
    match operation {
        Operation::Put => 0,
        Operation::Delete => 1,
        Operation::Message => 2,
    }
}

fn operation_of(byte: u8) -> Option<Operation> {
    [Operation::Put, Operation::Delete, Operation::Message].get(usize::from(byte)).copied()
}

fn fits<T: TryFrom<usize>>(length: usize) -> Result<T, Error> {
    T::try_from(length).map_err(|_| Error::Storage(format!("{length} bytes in a log entry")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..40)
    }

    proptest! {
        #[test]
        fn an_entry_is_read_back(
            words: [u64; 3], origin: u32, operation in 0..3u8, content: bool, key in bytes(),
            body in proptest::option::of(bytes()), extra in bytes(),
        ) {
            let [sequence, version, expires_ms] = words;
            let entry = Entry {
                sequence,
                version,
                origin,
                operation: operation_of(operation).unwrap(),
                key: &key,
                body: body.as_deref(),
                is_content: content && body.is_some(),
                expires_ms,
                extra: &extra,
            };
            let value = entry.value().unwrap();
            prop_assert_eq!(Entry::read(&sequence.to_be_bytes(), &value).unwrap(), entry);
        }

        #[test]
        fn no_bytes_make_it_panic(place in bytes(), value in bytes()) {
            let _ = Entry::read(&place, &value);
        }
    }

    #[test]
    fn an_entry_of_the_second_format_is_read() {
        let value = [&[1, 0, 0, 0], &7u32.to_le_bytes()[..], &9u64.to_le_bytes(), b"key"].concat();
        let entry = Entry::read(&[0; 12], &value).unwrap();
        assert_eq!((entry.operation, entry.origin, entry.version), (Operation::Delete, 7, 9));
        assert_eq!((entry.key, entry.body, entry.extra), (&b"key"[..], None, &[][..]));
        assert_eq!(entry.value().unwrap(), value);
    }
}
