//! The one list of errors that a client can see: code → status, title.
//!
//! A [`Failure`] carries what the client is told and nothing else: no paths, no addresses, no stack. What the
//! operator of the server needs to know is logged where the error is made.

use http::{HeaderName, HeaderValue, StatusCode, header};
use std::borrow::Cow;

/// The kinds of failure. Each is one row of [`Code::row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The request itself is malformed: path, query, header or framing.
    BadRequest,
    /// The body cannot be read or breaks the schema.
    InvalidBody,
    /// A query cannot be parsed or names what does not exist.
    InvalidQuery,
    /// No credentials where they are needed.
    LoginRequired,
    /// Wrong credentials.
    LoginFailed,
    /// The user may not do this.
    Forbidden,
    /// Nothing answers this path.
    NotFound,
    /// The resource does not have this method.
    MethodNotAllowed,
    /// No offered media type is acceptable.
    NotAcceptable,
    /// The record exists already.
    Conflict,
    /// A precondition of the request does not hold.
    PreconditionFailed,
    /// The body is too large.
    BodyTooLarge,
    /// The target is longer than any that is read.
    TargetTooLong,
    /// The head is too large.
    HeaderTooLarge,
    /// What the client expects cannot be done.
    ExpectationFailed,
    /// The client was too slow.
    RequestTimeout,
    /// The version of HTTP is not spoken here.
    VersionNotSupported,
    /// The body's media type is not understood.
    UnsupportedMediaType,
    /// The same client has asked too often.
    TooManyRequests,
    /// No part of what is asked for exists.
    RangeNotSatisfiable,
    /// The method is unknown.
    NotImplemented,
    /// A queue is full; the request was not begun.
    Overloaded,
    /// The answer did not begin in time.
    ResponseTimeout,
    /// The record is not kept, and the client wants no other.
    NotKept,
    /// The volume is nearly full.
    InsufficientStorage,
    /// A fault of the server.
    Internal,
}

impl Code {
    /// Every code, in the order of the list.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 26] = [
        Self::BadRequest,
        Self::InvalidBody,
        Self::InvalidQuery,
        Self::LoginRequired,
        Self::LoginFailed,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::Conflict,
        Self::PreconditionFailed,
        Self::BodyTooLarge,
        Self::TargetTooLong,
        Self::HeaderTooLarge,
        Self::ExpectationFailed,
        Self::RequestTimeout,
        Self::VersionNotSupported,
        Self::UnsupportedMediaType,
        Self::TooManyRequests,
        Self::RangeNotSatisfiable,
        Self::NotImplemented,
        Self::Overloaded,
        Self::ResponseTimeout,
        Self::NotKept,
        Self::InsufficientStorage,
        Self::Internal,
    ];

    /// Name (the last part of the problem's `type`), status and title.
    #[must_use]
    pub(crate) const fn row(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::BadRequest => ("bad-request", StatusCode::BAD_REQUEST, "Malformed request"),
            Self::InvalidBody => ("invalid-body", StatusCode::BAD_REQUEST, "Invalid body"),
            Self::InvalidQuery => ("invalid-query", StatusCode::BAD_REQUEST, "Invalid query"),
            Self::LoginRequired => ("login-required", StatusCode::UNAUTHORIZED, "Login required"),
            Self::LoginFailed => ("login-failed", StatusCode::UNAUTHORIZED, "Login failed"),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "Forbidden"),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "Not found"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
            }
            Self::NotAcceptable => ("not-acceptable", StatusCode::NOT_ACCEPTABLE, "Not acceptable"),
            Self::Conflict => ("conflict", StatusCode::CONFLICT, "Conflict"),
            Self::PreconditionFailed => {
                ("precondition-failed", StatusCode::PRECONDITION_FAILED, "Precondition failed")
            }
            Self::BodyTooLarge => {
                ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, "Body too large")
            }
            Self::TargetTooLong => ("target-too-long", StatusCode::URI_TOO_LONG, "Target too long"),
            Self::HeaderTooLarge => (
                "header-too-large",
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Header too large",
            ),
            Self::ExpectationFailed => {
                ("expectation-failed", StatusCode::EXPECTATION_FAILED, "Expectation failed")
            }
            Self::RequestTimeout => {
                ("request-timeout", StatusCode::REQUEST_TIMEOUT, "Request timeout")
            }
            Self::VersionNotSupported => (
                "version-not-supported",
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "Version not supported",
            ),
            Self::UnsupportedMediaType => (
                "unsupported-media-type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Unsupported media type",
            ),
            Self::TooManyRequests => {
                ("too-many-requests", StatusCode::TOO_MANY_REQUESTS, "Too many requests")
            }
            Self::RangeNotSatisfiable => (
                "range-not-satisfiable",
                StatusCode::RANGE_NOT_SATISFIABLE,
                "Range not satisfiable",
            ),
            Self::NotImplemented => {
                ("not-implemented", StatusCode::NOT_IMPLEMENTED, "Not implemented")
            }
            Self::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE, "Overloaded"),
            Self::ResponseTimeout => {
                ("response-timeout", StatusCode::SERVICE_UNAVAILABLE, "Response timeout")
            }
            Self::NotKept => ("not-kept", StatusCode::GATEWAY_TIMEOUT, "Not kept"),
            Self::InsufficientStorage => {
                ("insufficient-storage", StatusCode::INSUFFICIENT_STORAGE, "Insufficient storage")
            }
            Self::Internal => {
                ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
            }
        }
    }
}

/// An answer that is an error.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// What kind it is.
    pub code: Code,
    /// The sentence for the client.
    pub message: Cow<'static, str>,
    /// A header that belongs to it, such as `Allow` or `WWW-Authenticate`.
    pub header: Option<(HeaderName, HeaderValue)>,
}

impl Failure {
    /// A failure with its sentence.
    #[must_use]
    pub(crate) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Box<Self> {
        Box::new(Self { code, message: message.into(), header: None })
    }

    /// The same with a header.
    #[must_use]
    pub(crate) fn with(mut self: Box<Self>, name: HeaderName, value: HeaderValue) -> Box<Self> {
        self.header = Some((name, value));
        self
    }

    /// The same, after which the connection is closed: what follows on it cannot be trusted, or is not wanted.
    #[must_use]
    pub(crate) fn closing(self: Box<Self>) -> Box<Self> {
        self.with(header::CONNECTION, HeaderValue::from_static("close"))
    }

    /// A fault of ours: `context` and `cause` go to the log, the client hears nothing of them.
    #[must_use]
    pub(crate) fn internal(context: &str, cause: &dyn std::fmt::Display) -> Box<Self> {
        tracing::error!(%cause, "{context}");
        Self::new(Code::Internal, "The server could not complete the request")
    }
}

/// What every step of a request returns. The error is boxed: it is rare, and the good path stays small.
pub(crate) type Answer<T> = Result<T, Box<Failure>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_name_and_an_error_status() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.row().0).collect();
        assert!(
            Code::ALL
                .iter()
                .map(|code| code.row().1)
                .all(|status| status.is_client_error() || status.is_server_error())
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
