//! Making responses: plain ones, and errors as problem details (RFC 9457) in the negotiated type.

use crate::content::{self, Format, Media, json};
use crate::error::{Code, Failure};
use crate::exchange::{self, Body, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

/// What every answer varies with: its media type, its coding, and who may read it across origins.
pub(crate) const VARY: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding, Origin");

/// A response without headers.
#[must_use]
pub(crate) fn with_status(status: StatusCode, body: Body) -> Response {
    let mut response = exchange::response(body);
    *response.status_mut() = status;
    response
}

/// 204.
#[must_use]
pub(crate) fn no_content() -> Response {
    with_status(StatusCode::NO_CONTENT, Body::default())
}

/// A value that is JSON text, in the negotiated type.
///
/// # Errors
/// 500 when the text is not JSON.
pub(crate) fn value(
    status: StatusCode,
    media: Media,
    text: &[u8],
) -> crate::error::Answer<Response> {
    let mut out = Vec::with_capacity(text.len());
    content::encode(media.format, None, text, &mut out)?;
    let mut response = with_status(status, Body::whole(Bytes::from(out)));
    let headers = response.headers_mut();
    headers.insert(header::VARY, VARY);
    headers.insert(header::CONTENT_TYPE, media.header());
    Ok(response)
}

/// 405 with the methods there are.
#[must_use]
pub(crate) fn method_not_allowed(
    method: &Method,
    name: &str,
    allowed: &'static str,
) -> Box<Failure> {
    let sentence = format!("{name} does not have a {method} method");
    Failure::new(Code::MethodNotAllowed, sentence)
        .with(header::ALLOW, HeaderValue::from_static(allowed))
}

/// An error as the client sees it: `type`, `title`, `status`, `detail`, `error` with the sentence where Harper's
/// clients look for it, and `requestId`, by which the request is found in the logs.
#[must_use]
pub(crate) fn problem(failure: &Failure, request: &HeaderMap, id: &HeaderValue) -> Response {
    let (name, status, title) = failure.code.row();
    let media = Media::negotiate(request).unwrap_or(Media::JSON);
    let mut text = Vec::with_capacity(256);
    text.extend_from_slice(b"{\"type\":\"urn:harper:problem:");
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\",\"title\":");
    json::push_string(title, &mut text);
    text.extend_from_slice(format!(",\"status\":{},\"detail\":", status.as_u16()).as_bytes());
    json::push_string(&failure.message, &mut text);
    text.extend_from_slice(b",\"error\":");
    json::push_string(&failure.message, &mut text);
    text.extend_from_slice(b",\"requestId\":");
    json::push_string(id.to_str().unwrap_or_default(), &mut text);
    text.push(b'}');
    if media.format == Format::Text {
        // a person reads it
        text.clear();
        json::push_string(&failure.message, &mut text);
    }
    let mut response =
        value(status, media, &text).unwrap_or_else(|_| with_status(status, Body::default()));
    let headers = response.headers_mut();
    if media.format == Format::Json {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    }
    if failure.code == Code::Overloaded {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Some((name, value)) = &failure.header {
        headers.insert(name, value.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_carries_the_sentence_twice_and_its_header() {
        let failure = Failure::new(Code::LoginRequired, "Must \"login\"")
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        let mut response = problem(&failure, &HeaderMap::new(), &HeaderValue::from_static("7-1"));
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Basic");
        let body = response.body_mut().take().ok().unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"], "Must \"login\"");
        assert_eq!(body["detail"], body["error"]);
        assert_eq!(body["type"], "urn:harper:problem:login-required");
        assert_eq!(body["status"], 401);
        assert_eq!(body["requestId"], "7-1");
    }
}
