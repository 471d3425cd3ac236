//! Order-preserving encoding of values, for keys and indexes.
//!
//! Values of different types sort as null < boolean < number < string. False sorts before true.
//! Numbers sort as IEEE doubles (a big integer by its nearest double), times as their milliseconds
//! since 1970, strings by their UTF-8 bytes, of which an index and a sort see the first 256.
//! No encoding is a prefix of another, so that several can follow each other in one key.

use std::borrow::Cow;

pub(crate) const TAG_NULL: u8 = 0x10;
pub(crate) const TAG_BOOLEAN: u8 = 0x20;
pub(crate) const TAG_NUMBER: u8 = 0x30;
pub(crate) const TAG_STRING: u8 = 0x40;
/// Stands for a primary key too long for an index key; its hash follows.
pub(crate) const TAG_HASHED: u8 = 0x50;

/// Bytes of a string that an index key holds.
pub(crate) const STRING_BYTES_MAX: usize = 256;

// What follows 0x00 in an encoded string.
const END_WHOLE: u8 = 0x00;
const END_CUT: u8 = 0x01;
const ESCAPED_NUL: u8 = 0xff;

pub(crate) fn push_null(out: &mut Vec<u8>) {
    out.push(TAG_NULL);
}

pub(crate) fn push_boolean(out: &mut Vec<u8>, value: bool) {
    out.extend([TAG_BOOLEAN, u8::from(value)]);
}

pub(crate) fn push_number(out: &mut Vec<u8>, value: f64) {
    out.push(TAG_NUMBER);
    out.extend(number_bytes(value));
}

/// Eight bytes that sort as the number does; -0 is 0.
pub(crate) fn number_bytes(value: f64) -> [u8; 8] {
    let bits = if value == 0.0 { 0 } else { value.to_bits() };
    let flip = if bits >> 63 == 1 { u64::MAX } else { 1 << 63 };
    (bits ^ flip).to_be_bytes()
}

/// The number that [`number_bytes`] encoded.
pub(crate) fn number_from(bytes: [u8; 8]) -> f64 {
    let bits = u64::from_be_bytes(bytes);
    let flip = if bits >> 63 == 1 { 1 << 63 } else { u64::MAX };
    f64::from_bits(bits ^ flip)
}

/// Whether the string is too long to be encoded whole.
pub(crate) fn is_cut(text: &[u8]) -> bool {
    text.len() > STRING_BYTES_MAX
}

/// A string, cut if it is too long: a cut one sorts after the whole one it begins with.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    push_string_prefix(out, text);
    out.extend([0, if is_cut(text) { END_CUT } else { END_WHOLE }]);
}

/// The bytes that every encoded string beginning with `text` begins with.
pub(crate) fn push_string_prefix(out: &mut Vec<u8>, text: &[u8]) {
    out.push(TAG_STRING);
    push_escaped(out, &text[..text.len().min(STRING_BYTES_MAX)]);
}

/// Bytes of any length so that they can be followed by others and still sort first by themselves.
pub(crate) fn push_terminated(out: &mut Vec<u8>, bytes: &[u8]) {
    push_escaped(out, bytes);
    out.extend([0, END_WHOLE]);
}

fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.contains(&0) {
        out.extend_from_slice(bytes);
        return;
    }
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(ESCAPED_NUL);
        }
    }
}

/// Length of the encoded value at the start of `bytes`, `None` if there is none.
pub(crate) fn value_length(bytes: &[u8]) -> Option<usize> {
    let length = match *bytes.first()? {
        TAG_NULL => 1,
        TAG_BOOLEAN => 2,
        TAG_NUMBER => 9,
        TAG_STRING => 1 + string_length(&bytes[1..])?,
        _ => return None,
    };
    (length <= bytes.len()).then_some(length)
}

fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0)?;
        let after = *bytes.get(at + 1)?;
        at += 2;
        if after != ESCAPED_NUL {
            return Some(at);
        }
    }
}

/// What an encoded value tells of the value it was made from.
#[derive(Debug, PartialEq)]
pub(crate) enum Decoded<'a> {
    Null,
    Boolean(bool),
    Number(f64),
    String(Cow<'a, [u8]>),
    /// A string of which only the beginning is known.
    Cut,
}

/// Decodes one value, which must take up the whole of `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Option<Decoded<'_>> {
    let (&tag, rest) = bytes.split_first()?;
    match tag {
        TAG_NULL => Some(Decoded::Null),
        TAG_BOOLEAN => Some(Decoded::Boolean(*rest.first()? == 1)),
        TAG_NUMBER => Some(Decoded::Number(number_from(rest.try_into().ok()?))),
        TAG_STRING => decode_string(rest),
        _ => None,
    }
}

fn decode_string(bytes: &[u8]) -> Option<Decoded<'_>> {
    let (text, end) = bytes.split_last_chunk::<2>()?;
    if end[1] == END_CUT {
        return Some(Decoded::Cut);
    }
    if !text.contains(&0) {
        return Some(Decoded::String(Cow::Borrowed(text)));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        out.push(byte);
        if byte == 0 {
            bytes.next();
        }
    }
    Some(Decoded::String(Cow::Owned(out)))
}

/// The least byte string greater than every one that begins with `prefix`; `None` if there is
/// none, which no encoding here comes to since no tag is 0xff.
pub(crate) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn string(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        push_string(&mut out, text.as_bytes());
        out
    }

    proptest! {
        #[test]
        fn numbers_sort_as_doubles(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(number_bytes(a).cmp(&number_bytes(b)), a.partial_cmp(&b).unwrap());
            prop_assert_eq!(number_from(number_bytes(a)), a);
        }

        #[test]
        fn strings_sort_as_bytes(a in "[\0ab\u{ff}]{0,6}", b in "[\0ab\u{ff}]{0,6}") {
            prop_assert_eq!(string(&a).cmp(&string(&b)), a.cmp(&b));
            let encoded = string(&a);
            prop_assert_eq!(value_length(&encoded), Some(encoded.len()));
            let decoded = Decoded::String(Cow::Borrowed(a.as_bytes()));
            prop_assert_eq!(decode(&encoded), Some(decoded));
        }

        #[test]
        fn a_successor_follows_the_prefix_and_all_below_it(
            prefix in proptest::collection::vec(any::<u8>(), 1..4),
            rest in proptest::collection::vec(any::<u8>(), 0..4),
        ) {
            let whole = [prefix.as_slice(), &rest].concat();
            if let Some(next) = successor(&prefix) {
                prop_assert!(next > whole);
                prop_assert!(!next.starts_with(&prefix));
            }
        }
    }

    #[test]
    fn a_cut_string_sorts_after_its_beginning_and_before_the_next() {
        let whole = "a".repeat(STRING_BYTES_MAX);
        let cut = string(&format!("{whole}b"));
        assert!(string(&whole) < cut);
        assert!(cut < string("b"));
        assert_eq!(decode(&cut), Some(Decoded::Cut));
    }

    #[test]
    fn types_sort_by_tag() {
        let mut values = [const { Vec::new() }; 4];
        push_null(&mut values[0]);
        push_boolean(&mut values[1], true);
        push_number(&mut values[2], f64::NEG_INFINITY);
        push_string(&mut values[3], b"");
        assert!(values.is_sorted());
    }
}
