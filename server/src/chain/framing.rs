//! What the protocol refuses, and what its client expects.

use crate::error::{Answer, Code, Failure};
use crate::exchange::{Field, Request};
use crate::metrics::Rejected;
use crate::services::Services;
use http::{Method, Version, header};

/// Answers what the protocol has refused, an expectation other than `100-continue` (RFC 9110 §10.1.1), and a PUT of
/// a part, which would be taken for the whole (§14.5).
pub(super) fn check(services: &Services, request: &mut Request) -> Answer<()> {
    if let Some(refused) = request.refused.take() {
        if matches!(refused.code, Code::HeaderTooLarge | Code::TargetTooLong) {
            services.metrics.rejected(Rejected::HeaderBytes);
        }
        return Err(refused);
    }
    if request.head.method == Method::CONNECT {
        return Err(Failure::new(Code::NotImplemented, "This server is not a proxy"));
    }
    let headers = &request.head.headers;
    if request.head.method == Method::PUT && headers.contains_key(header::CONTENT_RANGE) {
        let sentence = "A PUT with Content-Range is not supported: send the whole";
        return Err(Failure::new(Code::BadRequest, sentence));
    }
    if !request.has(Field::Expect) {
        return Ok(());
    }
    match headers.get(header::EXPECT) {
        Some(expectation)
            if !expectation.as_bytes().eq_ignore_ascii_case(b"100-continue")
                // HTTP/1.0 does not know the header
                && request.head.version != Version::HTTP_10 =>
        {
            let sentence = "The only expectation that is understood is 100-continue";
            Err(Failure::new(Code::ExpectationFailed, sentence))
        }
        _ => Ok(()),
    }
}
