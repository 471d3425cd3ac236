//! Cross-origin requests (the CORS protocol of the Fetch standard). Listed origins may send credentials; when
//! every origin is admitted, none may, for any page could otherwise act with its visitor's login.

use crate::exchange::{Body, Request, Response};
use crate::reply;
use crate::services::Services;
use http::{HeaderValue, Method, StatusCode, header};

const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, PUT, DELETE, PATCH, OPTIONS");
const EXPOSED: HeaderValue = HeaderValue::from_static("ETag, Location, Server-Timing");

/// How the request's origin is admitted.
enum Admission {
    /// By name, with credentials.
    Listed(HeaderValue),
    /// As anyone, without credentials.
    Anyone,
}

fn admission(services: &Services, request: &Request) -> Option<Admission> {
    let cors = &services.config.http.cors;
    let origin = request.head.headers.get(header::ORIGIN)?;
    if !cors.enabled {
        return None;
    }
    let listed = cors.access_list.as_deref().unwrap_or_default();
    if listed.iter().any(|known| known.as_bytes() == origin.as_bytes()) {
        return Some(Admission::Listed(origin.clone()));
    }
    let admits_all = cors.access_list.is_none() || listed.iter().any(|known| known == "*");
    admits_all.then_some(Admission::Anyone)
}

/// The answer to a preflight from an admitted origin.
pub(super) fn preflight(services: &Services, request: &Request) -> Option<Response> {
    let is_preflight = request.head.method == Method::OPTIONS
        && request.head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !is_preflight || admission(services, request).is_none() {
        return None;
    }
    let mut response = reply::with_status(StatusCode::OK, Body::default());
    let headers = response.headers_mut();
    headers.insert(header::VARY, reply::VARY);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    if let Ok(names) = HeaderValue::from_str(&services.config.http.cors.allow_headers) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    Some(response)
}

/// The headers that let a page of an admitted origin read the answer.
pub(super) fn headers(services: &Services, request: &Request, response: &mut Response) {
    let headers = response.headers_mut();
    match admission(services, request) {
        Some(Admission::Listed(origin)) => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers
                .insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        Some(Admission::Anyone) => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        None => return,
    }
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}
