//! What the protocol refuses, and what its client expects.

use crate::error::{Answer, Code, Failure};
use crate::exchange::Request;
use crate::metrics::Rejected;
use crate::services::Services;
use http::{Version, header};

/// Answers what the protocol has refused, and an expectation other than `100-continue` (RFC 9110 §10.1.1).
pub(super) fn check(services: &Services, request: &mut Request) -> Answer<()> {
    if let Some(refused) = request.refused.take() {
        if matches!(refused.code, Code::HeaderTooLarge | Code::TargetTooLong) {
            services.metrics.rejected(Rejected::HeaderBytes);
        }
        return Err(refused);
    }
    match request.head.headers.get(header::EXPECT) {
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
