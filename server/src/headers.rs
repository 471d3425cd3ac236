//! Names and values of headers that follow from the configuration alone, made once instead of for each answer.

use harper_config::{Config, Cors};
use http::{HeaderName, HeaderValue, header};

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
            HeaderValue::from_str(&format!("timeout={seconds}"))
                .unwrap_or_else(|_| HeaderValue::from_static("timeout=0"))
        };
        let mut security: Vec<_> = http.security_headers.iter().filter_map(pair).collect();
        let is_transport =
            |(name, _): &mut (HeaderName, _)| *name == header::STRICT_TRANSPORT_SECURITY;
        let transport_security = security.extract_if(.., is_transport).map(|pair| pair.1).next();
        Self {
            keep_alive: keep_alive(false),
            operations_keep_alive: keep_alive(true),
            request_id: HeaderName::from_bytes(http.request_id.header.as_bytes())
                .unwrap_or_else(|_| HeaderName::from_static("x-request-id")),
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
    HeaderValue::from_str(text).ok().filter(|value| !value.is_empty())
}

fn pair((name, text): &(String, String)) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value(text)?))
}
