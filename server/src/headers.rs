//! Names and values of headers that follow from the configuration alone, made once instead of for each answer.

use harper_config::{Config, Cors};
use http::{HeaderName, HeaderValue, header};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Headers of answers, ready to be sent.
#[derive(Clone)]
pub(crate) struct AnswerHeaders {
    /// The value of `Keep-Alive` on connections that stay open.
    pub keep_alive: HeaderValue,
    /// The same on listeners of the Operations API.
    pub operations_keep_alive: HeaderValue,
    /// The name of the header that carries a request's id.
    pub request_id: HeaderName,
    /// The value of `Server`, if it is sent.
    pub server: Option<HeaderValue>,
    /// The security headers of every answer.
    pub security: Vec<(HeaderName, HeaderValue)>,
    /// `Strict-Transport-Security`, for answers over TLS.
    pub transport_security: Option<HeaderValue>,
    /// What pages of other origins are told.
    pub cors: CorsHeaders,
}

/// Values of CORS headers; none where a header is not sent.
#[derive(Clone)]
pub(crate) struct CorsHeaders {
    /// `Access-Control-Allow-Headers`.
    pub allow: Option<HeaderValue>,
    /// `Access-Control-Expose-Headers`.
    pub expose: Option<HeaderValue>,
    /// `Access-Control-Max-Age`, in seconds.
    pub max_age: Option<HeaderValue>,
}

impl AnswerHeaders {
    /// The headers that `config` asks for; it has been checked, so that every name and value is valid.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        let http = &config.http;
        let keep_alive = |is_operations: bool| {
            let seconds = config.timeouts(is_operations).keep_alive.as_secs();
            HeaderValue::from_static(lasting(&format!("timeout={seconds}")))
        };
        let mut security: Vec<_> = http.security_headers.iter().filter_map(pair).collect();
        let is_transport =
            |(name, _): &mut (HeaderName, _)| *name == header::STRICT_TRANSPORT_SECURITY;
        let transport_security = security.extract_if(.., is_transport).map(|pair| pair.1).next();
        Self {
            keep_alive: keep_alive(false),
            operations_keep_alive: keep_alive(true),
            request_id: name(&http.request_id.header)
                .unwrap_or_else(|| HeaderName::from_static("x-request-id")),
            server: value(&http.server_header),
            security,
            transport_security,
            cors: CorsHeaders::new(&http.cors),
        }
    }
}

impl CorsHeaders {
    fn new(cors: &Cors) -> Self {
        let max_age = cors.max_age.as_secs();
        Self {
            allow: value(&cors.allow_headers),
            expose: value(&cors.expose_headers),
            max_age: (max_age > 0).then(|| HeaderValue::from(max_age)),
        }
    }
}

fn value(text: &str) -> Option<HeaderValue> {
    // what is not ASCII no constant may hold
    HeaderValue::from_str(text).ok().filter(|value| !value.is_empty() && text.is_ascii())?;
    Some(HeaderValue::from_static(lasting(text)))
}

fn name(text: &str) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes()).ok()?;
    Some(HeaderName::from_static(lasting(name.as_str())))
}

fn pair((header, text): &(String, String)) -> Option<(HeaderName, HeaderValue)> {
    Some((name(header)?, value(text)?))
}

/// A text that stays as long as the process: a header made of it is copied without counting who has it. Equal texts are kept
/// once, so that a configuration that is loaded again takes no more room.
fn lasting(text: &str) -> &'static str {
    static KEPT: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(text) {
        return known;
    }
    let text: &'static str = Box::leak(text.into());
    kept.insert(text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_kept_once_and_wrong_ones_make_no_header() {
        assert!(std::ptr::eq(lasting("kept once"), lasting(&String::from("kept once"))));
        assert_eq!(name("X-Some").unwrap(), "x-some");
        assert_eq!(value("a b").unwrap(), "a b");
        assert!(name("a b").is_none() && value("a\nb").is_none() && value("").is_none());
        assert!(value("ä").is_none());
    }
}
