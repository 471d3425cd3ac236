//! Names and values of headers that follow from the configuration alone, made once instead of for each answer.

use harper_config::Config;
use http::{HeaderName, HeaderValue};

/// Headers of answers, ready to be sent.
pub(crate) struct AnswerHeaders {
    /// The value of `Keep-Alive` on connections that stay open.
    pub keep_alive: HeaderValue,
    /// The name of the header that carries a request's id.
    pub request_id: HeaderName,
}

impl AnswerHeaders {
    /// The headers that `config` asks for; it has been checked, so that every name and value is valid.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        let http = &config.http;
        let seconds = http.keep_alive_timeout.as_secs();
        Self {
            keep_alive: HeaderValue::from_str(&format!("timeout={seconds}"))
                .unwrap_or_else(|_| HeaderValue::from_static("timeout=0")),
            request_id: HeaderName::from_bytes(http.request_id.header.as_bytes())
                .unwrap_or_else(|_| HeaderName::from_static("x-request-id")),
        }
    }
}
