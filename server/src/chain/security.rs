//! Headers that tell browsers to be careful (`http.securityHeaders`).

use crate::exchange::{Request, Response};
use crate::services::Services;
use http::header;

/// Adds the headers that the application has not set itself.
pub(super) fn headers(services: &Services, request: &Request, response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in &services.headers.security {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    // over plain HTTP a browser has to ignore it (RFC 6797 §8.1)
    if request.client.is_secure
        && let Some(value) = &services.headers.transport_security
    {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert_with(|| value.clone());
    }
}
