//! The id of a request: what joins an answer, the lines of logs, and the words of a user who saw an error.

use crate::exchange::{Request, RequestId, Response};
use crate::services::Services;
use http::{HeaderMap, HeaderName, HeaderValue};

/// A longer one is replaced by one of ours.
const BYTES_MAX: usize = 128;

/// Takes the id that a trusted proxy has given; anyone else could send one to mislead those who read the logs.
pub(super) fn take(services: &Services, request: &mut Request) {
    if request.client.is_vouched
        && let Some(id) = given(&request.head.headers, &services.headers.request_id)
    {
        request.id = RequestId::given(id.clone());
    }
}

fn given<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let is_good = |byte: &u8| byte.is_ascii_graphic();
    let len = 1..=BYTES_MAX;
    headers.get(name).filter(|id| len.contains(&id.len()) && id.as_bytes().iter().all(is_good))
}

/// Sends the id.
pub(super) fn header(services: &Services, request: &Request, response: &mut Response) {
    if services.config.http.request_id.send {
        response
            .headers_mut()
            .insert(services.headers.request_id.clone(), request.id.get().clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_ascii_of_a_bounded_length_is_an_id() {
        let name = HeaderName::from_static("x-request-id");
        let is_taken = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            given(&HeaderMap::from_iter([(name.clone(), value)]), &name).is_some()
        };
        assert!(is_taken(b"7f3b-1"));
        assert!(is_taken(&[b'a'; BYTES_MAX]));
        for bad in [&b""[..], b"a b", b"a\tb", b"\xc3\xa9", &[b'a'; BYTES_MAX + 1]] {
            assert!(!is_taken(bad), "{bad:?}");
        }
    }
}
