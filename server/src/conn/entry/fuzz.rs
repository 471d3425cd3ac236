//! The entry beside the parser that stands behind it.

use super::Entry;

/// Heads of at most this many bytes.
const HEAD_BYTES_MAX: usize = 2000;

/// Wherever the bytes are cut, hyper sees the same; and its parser and `http::Uri` take every head that it sees. The first
/// byte says where they are cut.
pub(crate) fn check(data: &[u8]) {
    let Some((step, bytes)) = data.split_first() else { return };
    let (seen, whole) = through(HEAD_BYTES_MAX, bytes.chunks(bytes.len().max(1)));
    let (seen_cut, cut) = through(HEAD_BYTES_MAX, bytes.chunks(usize::from(*step).max(1)));
    assert_eq!(whole.broken().is_some(), cut.broken().is_some());
    let number = |entry: &Entry| entry.refused().map(|(number, _)| number);
    assert_eq!(number(&whole), number(&cut));
    assert!(seen == seen_cut || whole.refused().is_some());
    if !seen.is_empty() {
        first_head(&seen);
    }
}

/// What hyper would see of `parts` that arrive one after the other, and the entry after that.
pub(super) fn through<'a>(
    head_bytes_max: usize,
    parts: impl Iterator<Item = &'a [u8]>,
) -> (Vec<u8>, Entry) {
    let mut entry = Entry::new(head_bytes_max);
    let mut seen = Vec::new();
    for part in parts {
        let passed = entry.receive(part);
        seen.extend_from_slice(&part[..passed]);
        seen.extend_from_slice(entry.ready());
        entry.consume(entry.ready().len());
    }
    (seen, entry)
}

fn first_head(seen: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(seen);
    assert!(matches!(parsed, Ok(httparse::Status::Complete(_))), "{parsed:?}");
    let path = request.path.unwrap_or_default();
    assert!(path.parse::<http::Uri>().is_ok(), "{path}");
}
