//! Ids of requests: unique without a word between threads.

use http::HeaderValue;
use std::cell::{Cell, OnceCell};

/// Bytes of an id before its number.
const PREFIX_BYTES: usize = 17;

thread_local! {
    /// What the ids of this thread begin with, and how many it has made.
    static MADE: (OnceCell<[u8; PREFIX_BYTES]>, Cell<u64>) =
        const { (OnceCell::new(), Cell::new(0)) };
}

/// The id of a request; made when it is first asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestId(OnceCell<HeaderValue>);

impl RequestId {
    /// An id that was given from outside.
    #[must_use]
    pub(crate) fn given(id: HeaderValue) -> Self {
        Self(id.into())
    }

    /// The id.
    pub(crate) fn get(&self) -> &HeaderValue {
        self.0.get_or_init(make)
    }
}

/// 64 random bits of the thread and a counter, in hexadecimal: `9f86d081884c7d65-1a`.
fn make() -> HeaderValue {
    let (prefix, number) = MADE.with(|(prefix, made)| {
        let number = made.get() + 1;
        made.set(number);
        (*prefix.get_or_init(prefix_of_thread), number)
    });
    let mut text = [0; PREFIX_BYTES + 16];
    text[..PREFIX_BYTES].copy_from_slice(&prefix);
    let digits = (64 - number.leading_zeros()).div_ceil(4) as usize;
    let text = &mut text[..PREFIX_BYTES + digits];
    hex(number, &mut text[PREFIX_BYTES..]);
    HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

fn prefix_of_thread() -> [u8; PREFIX_BYTES] {
    let mut text = [b'-'; PREFIX_BYTES];
    hex(random(), &mut text[..PREFIX_BYTES - 1]);
    text
}

/// Writes the last digits of a number, as many as there is room for. By hand, for each request has an id.
fn hex(mut number: u64, text: &mut [u8]) {
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

/// Random bits; the clock where the system has none to give, for an id is no secret.
fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        since.as_nanos() as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn they_are_written_in_hexadecimal() {
        let written = |number, places| {
            let mut text = vec![b'-'; places];
            hex(number, &mut text);
            String::from_utf8(text).unwrap()
        };
        assert_eq!(written(0x9f86_d081_884c_7d65, 16), "9f86d081884c7d65");
        assert_eq!(written(0x1a, 2), "1a");
        assert_eq!(written(0x1a, 4), "001a");
        let id = make();
        let (thread, number) = id.to_str().unwrap().split_once('-').unwrap();
        assert_eq!(thread.len(), 16);
        assert!(!number.starts_with('0') && u64::from_str_radix(number, 16).is_ok(), "{number}");
    }

    #[test]
    fn no_two_are_equal_and_each_stays_what_it_is() {
        let id = RequestId::default();
        assert_eq!(id.get(), id.get());
        let make = || (0..1000).map(|_| RequestId::default().get().clone()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(make)).collect();
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(all.iter().all(|id| id.to_str().unwrap().len() <= 34), "{:?}", all.last());
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4000);
    }
}
