//! Who is asking.

use super::client;
use crate::auth::Identity;
use crate::auth::cache::failed;
use crate::error::{Answer, Code, Failure};
use crate::exchange::{Field, Request, Response};
use crate::services::Services;
use harper_config::CertificateUser;
use http::{HeaderValue, Method, header};
use std::net::IpAddr;
use std::rc::Rc;

/// Types of a body that a page may send anywhere (CORS-safelisted, Fetch standard); no type at all is one of them.
const SIMPLE_TYPES: [&str; 4] =
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];

/// Sets the request's identity: from the client's certificate, else from its `Authorization` header, else from its session, else
/// from where it was made.
pub(super) async fn identify(services: &Services, request: &mut Request) -> Answer<()> {
    // whatever else the client brings, it may come from whoever has stolen the certificate
    if let Some(distrust) = request.distrust() {
        return Err(failed(distrust.sentence()));
    }
    if let Some(identity) = certified(services, request)? {
        request.identity = identity;
        return refuse_foreign(services, request);
    }
    request.identity = match request.head.headers.get(header::AUTHORIZATION) {
        Some(credentials) => {
            let ask = services.ask(request);
            services
                .credentials
                .authorization(credentials.as_bytes(), &request.recent, &ask)
                .await?
        }
        None => match session(services, request)? {
            Identity::Anonymous if is_trusted(services, request) => {
                Identity::User(Rc::clone(&services.local_user))
            }
            identity => identity,
        },
    };
    refuse_foreign(services, request)
}

/// Refuses what a foreign page can have a browser send without asking first (a simple request of the Fetch standard), with the
/// credentials that the browser adds by itself: certificates, and the passwords that it remembers.
fn refuse_foreign(services: &Services, request: &Request) -> Answer<()> {
    let is_by_user = matches!(request.identity, Identity::User(_));
    if !is_by_user || !is_simple(request) || !is_by_foreign_page(services, request) {
        return Ok(());
    }
    let sentence = "A page of this origin may not act with its visitor's credentials";
    Err(Failure::new(Code::Forbidden, sentence))
}

/// Whether a request can change something, or opens a WebSocket, and needs no preflight. A token is nothing that a browser adds.
fn is_simple(request: &Request) -> bool {
    if request.head.method != Method::POST && !request.is_web_socket {
        return false;
    }
    let kind = request.header(header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_bearer = |value: &str| {
        value.split_at_checked(7).is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer "))
    };
    let is_form = SIMPLE_TYPES.iter().any(|simple| kind.eq_ignore_ascii_case(simple));
    (is_form || request.is_web_socket)
        && !request.header(header::AUTHORIZATION).is_some_and(is_bearer)
}

/// For whom the client's certificate speaks, if it speaks for anybody. One that names no user is no login, and not good enough
/// without another one.
fn certified(services: &Services, request: &Request) -> Answer<Option<Identity>> {
    let (Some(certificate), Some(clients)) =
        (&request.certificate, &services.config.http.client_certificates)
    else {
        return Ok(None);
    };
    let name = match &clients.user {
        CertificateUser::CommonName => certificate.common_name.as_deref(),
        CertificateUser::Named(name) => Some(name.as_str()),
        CertificateUser::Nobody => return Ok(None),
    };
    let ask = services.ask(request);
    let identity = name.and_then(|name| services.credentials.certified(name, &ask));
    if identity.is_none() && !request.head.headers.contains_key(header::AUTHORIZATION) {
        return Err(failed("The certificate is not that of a user"));
    }
    Ok(identity)
}

/// Whose session the request carries.
fn session(services: &Services, request: &Request) -> Answer<Identity> {
    let scope = request.cookie_scope();
    let Some(id) = scope.id().filter(|_| services.config.authentication.sessions.enabled) else {
        return Ok(Identity::Anonymous);
    };
    let identity = services.credentials.session(id, &services.ask(request))?;
    // the browser adds the cookie whatever page has made the request, so that a page could act for its visitor
    let is_by_user = matches!(identity, Identity::User(_));
    if is_by_user && changes(request) && is_by_foreign_page(services, request) {
        let sentence = "A page of this origin may not act with its visitor's session";
        return Err(Failure::new(Code::Forbidden, sentence));
    }
    Ok(identity)
}

/// Keeps what a session has opened out of caches that others share: of a cookie, unlike of `Authorization`, they know
/// nothing (RFC 9111 §3.5).
pub(super) fn headers(request: &Request, response: &mut Response) {
    let is_by_session = matches!(request.identity, Identity::User(_))
        && request.has(Field::Cookie)
        && !request.has(Field::Authorization);
    if is_by_session && !response.headers().contains_key(header::CACHE_CONTROL) {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

/// Whether a page has made the request that is neither of this server nor of a listed origin.
fn is_by_foreign_page(services: &Services, request: &Request) -> bool {
    let scope = request.cookie_scope();
    let cors = services.config.cors(request.interface.is_operations());
    scope.is_foreign() && !cors.lists(scope.origin())
}

/// Whether a request can change anything (RFC 9110 §9.2.1), or shows the page what comes whatever its origin is.
fn changes(request: &Request) -> bool {
    let method = &request.head.method;
    request.is_web_socket || !method.is_safe() && method.as_str() != "QUERY"
}

/// Whether a request is the local super user's without a login. On the Unix socket the system tells who it is; something
/// that passes on what others ask does not speak for itself there.
fn is_trusted(services: &Services, request: &Request) -> bool {
    let is_owner = request.client.is_owner && !client::is_forwarded(request);
    is_owner || services.config.authentication.authorize_local && is_local(request)
}

/// Whether a request was made on this machine by something other than a foreign web page: no proxy has passed it on, the
/// peer and the name it asked for are loopback (a page can point a name of its own at 127.0.0.1), and the page it comes
/// from, if any, is ours.
fn is_local(request: &Request) -> bool {
    // only HTTP/1.0, which no browser speaks, comes without a name
    let host = request.header(header::HOST).unwrap_or("localhost");
    let is_own_page = match request.head.headers.get(header::ORIGIN) {
        None => true,
        Some(origin) => {
            origin.to_str().is_ok_and(|origin| origin == format!("{}://{host}", request.scheme()))
        }
    };
    request.client.address.is_loopback()
        && is_loopback_name(host)
        && is_own_page
        && !client::is_forwarded(request)
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback_name;

    #[test]
    fn loopback_names() {
        for name in ["localhost", "LOCALHOST:9926", "127.0.0.1", "127.9.9.9:1", "[::1]:9926"] {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in ["", "localhost.evil.example", "10.0.0.1:9926", "[::2]", "example:9926"] {
            assert!(!is_loopback_name(name), "{name}");
        }
    }
}
