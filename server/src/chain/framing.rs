//! What the HTTP parser lets pass and the standard does not.

use crate::error::{Answer, Code, Failure};
use crate::exchange::Request;
use http::{Version, header};

/// Refuses a request without exactly one valid `Host` (RFC 9112 §3.2) and one whose `Transfer-Encoding` is not
/// exactly `chunked` (§6.1). The connection is closed: what follows on it cannot be trusted.
pub(super) fn check(request: &Request) -> Answer<()> {
    let headers = &request.head.headers;
    let refuse = |sentence: &'static str| Err(Failure::new(Code::BadRequest, sentence).closing());
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return refuse("There is more than one Host header"),
        (Some(host), None) if !is_host(host.as_bytes()) => {
            return refuse("The Host header is invalid");
        }
        (None, _) if request.head.version == Version::HTTP_11 => {
            return refuse("The Host header is missing");
        }
        _ => {}
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => refuse("The only supported Transfer-Encoding is chunked"),
    }
}

/// Letters of `host [":" port]` (RFC 3986 §3.2.2, §3.2.3).
fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn hosts() {
        for good in ["a.example", "127.0.0.1:9926", "[::1]:80", ""] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in ["a b", "a/b", "user@host", "a#b", "a\\b"] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
