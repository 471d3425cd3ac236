//! Cross-origin requests (the CORS protocol of the Fetch standard). Listed origins may send credentials; when
//! every origin is admitted, none may, for any page could otherwise act with its visitor's login.

use crate::error::{Answer, Code, Failure};
use crate::exchange::{Body, Field, Request, Response};
use crate::reply;
use crate::services::Services;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, PUT, DELETE, PATCH, OPTIONS");
const ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
/// What the answer to a preflight varies with.
const PREFLIGHT: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

/// How the request's origin is admitted.
enum Admission {
    /// By name, with credentials.
    Listed(HeaderValue),
    /// As anyone, without credentials.
    Anyone,
}

fn admission(services: &Services, request: &Request) -> Option<Admission> {
    let cors = services.config.cors(request.interface.is_operations());
    if !cors.enabled || !request.has(Field::Origin) {
        return None;
    }
    let origin = request.head.headers.get(header::ORIGIN)?;
    let listed = cors.access_list.as_deref().unwrap_or_default();
    if listed.iter().any(|known| known.as_bytes() == origin.as_bytes()) {
        return Some(Admission::Listed(origin.clone()));
    }
    let admits_all = cors.access_list.is_none() || listed.iter().any(|known| known == "*");
    admits_all.then_some(Admission::Anyone)
}

/// Refuses a WebSocket to a page of another origin that is not admitted: browsers ask for none in advance, and show pages what
/// comes (RFC 6455 §10.2).
///
/// # Errors
/// 403.
pub(super) fn check_socket(services: &Services, request: &Request) -> Answer<()> {
    if request.is_web_socket
        && request.cookie_scope().is_foreign()
        && admission(services, request).is_none()
    {
        let sentence = "Pages of this origin may open no WebSocket";
        return Err(Failure::new(Code::Forbidden, sentence));
    }
    Ok(())
}

/// The answer to a preflight from an admitted origin.
pub(super) fn preflight(services: &Services, request: &Request) -> Option<Response> {
    let asked = &request.head.headers;
    let is_preflight = request.head.method == Method::OPTIONS
        && asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !is_preflight || admission(services, request).is_none() {
        return None;
    }
    let cors = &services.headers.cors;
    let mut response = reply::with_status(StatusCode::OK, Body::default());
    let headers = response.headers_mut();
    headers.insert(header::VARY, PREFLIGHT);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    // `*` is spelled out, for beside credentials, and for Authorization, it has no meaning
    let allowed = match &cors.allow {
        Some(any) if any == "*" => asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS),
        names => names.as_ref(),
    };
    if let Some(names) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    if let Some(seconds) = &cors.max_age {
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, seconds.clone());
    }
    Some(response)
}

/// The headers that let a page of an admitted origin read the answer, and, for caches, that it depends on the origin.
pub(super) fn headers(services: &Services, request: &Request, response: &mut Response) {
    if !services.config.cors(request.interface.is_operations()).enabled {
        return;
    }
    let headers = response.headers_mut();
    vary(headers);
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
    // a preflight shows the page nothing
    if let Some(names) = &services.headers.cors.expose
        && !headers.contains_key(header::ACCESS_CONTROL_ALLOW_METHODS)
    {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
    }
}

/// Names `Origin` in `Vary`, with or without an origin in the request: a cache must not give one's answer to the other.
fn vary(headers: &mut HeaderMap) {
    // as most answers have it
    if headers.get(header::VARY) == Some(&reply::VARY) {
        return;
    }
    let names_origin = |field: &HeaderValue| {
        let names = field.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.into_iter().any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"))
    };
    if !headers.get_all(header::VARY).iter().any(names_origin) {
        headers.append(header::VARY, ORIGIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vary_names_the_origin_once() {
        for (before, after) in [
            (&[][..], &["Origin"][..]),
            (&["Accept"], &["Accept", "Origin"]),
            (&["Accept, origin"], &["Accept, origin"]),
            (&["Accept", "Origin"], &["Accept", "Origin"]),
            (&["*"], &["*"]),
            (&["Origin-Like"], &["Origin-Like", "Origin"]),
        ] {
            let mut headers = HeaderMap::new();
            for value in before {
                headers.append(header::VARY, HeaderValue::from_static(value));
            }
            vary(&mut headers);
            assert!(headers.get_all(header::VARY).iter().eq(after.iter()), "{before:?}");
        }
    }
}
