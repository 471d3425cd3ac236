//! The opening of a WebSocket: what a client offers, and the answer to it (RFC 6455 §4.2, RFC 8441 §5).

use super::{Close, Deflate, Handler, Serving, Socket};
use crate::error::{Answer, Code, Failure};
use crate::exchange::{self, Body, Request, Response, Upgrade};
use crate::metrics::WorkerMetrics;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harper_config::Http;
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use std::sync::Arc;

/// What is hashed with a client's key (RFC 6455 §1.3).
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a client's key (RFC 6455 §4.1).
const KEY_BYTES: usize = 16;
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// What a client offers.
pub(crate) struct Offer<'a> {
    /// The sub-protocols that it speaks, the preferred first.
    pub protocols: Vec<&'a str>,
    /// The answer to its key; none on HTTP/2.
    accept: Option<HeaderValue>,
    extensions: Vec<&'a str>,
}

/// How an offer is taken.
pub(crate) struct Opening {
    /// What serves the socket.
    pub handler: Box<dyn Handler>,
    /// The sub-protocol that is spoken.
    pub protocol: Option<HeaderValue>,
    /// Whether messages may be compressed.
    pub is_compressible: bool,
}

impl<'a> Offer<'a> {
    /// What a request offers that asks for a WebSocket.
    ///
    /// # Errors
    /// 400 for a version that is not 13, with the one that is spoken, and for a key that is none.
    pub(crate) fn of(request: &'a Request) -> Answer<Self> {
        let headers = &request.head.headers;
        if headers.get(header::SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
            let sentence = "Sec-WebSocket-Version is not 13, the only version there is";
            let failure = Failure::new(Code::BadRequest, sentence);
            return Err(failure.with(header::SEC_WEBSOCKET_VERSION, VERSION));
        }
        let is_http1 = request.head.version <= Version::HTTP_11;
        Ok(Self {
            protocols: items(headers, &header::SEC_WEBSOCKET_PROTOCOL),
            accept: if is_http1 { Some(accept(headers)?) } else { None },
            extensions: values(headers, &header::SEC_WEBSOCKET_EXTENSIONS).collect(),
        })
    }

    /// The sub-protocol to name where the server has none of its own: the client's first, for browsers close a connection
    /// that names none of theirs.
    #[must_use]
    pub(crate) fn first_protocol(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.protocols.first()?).ok()
    }
}

/// The answer that opens a socket.
#[must_use]
pub(crate) fn open(
    http: &Http,
    metrics: &Arc<WorkerMetrics>,
    offer: &Offer<'_>,
    opening: Opening,
) -> Response {
    let Opening { handler, protocol, is_compressible } = opening;
    let bytes_min = http.compression_threshold_bytes;
    let deflate = (http.web_socket.is_compressed && is_compressible && bytes_min > 0)
        .then(|| Deflate::agree(offer.extensions.iter().copied(), bytes_min))
        .flatten();
    let (deflate, extension) = deflate.unzip();
    let open = Socket::opener(http, metrics, deflate);
    let upgrade = Upgrade::new(move |carrier| Box::pin(open(carrier).serve(handler)));
    let mut response = exchange::response(Body::upgrade(upgrade));
    let headers = response.headers_mut();
    if let Some(accept) = offer.accept.clone() {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    }
    let headers = response.headers_mut();
    let extension = extension.and_then(|extension| HeaderValue::try_from(extension).ok());
    let fields =
        [(header::SEC_WEBSOCKET_PROTOCOL, protocol), (header::SEC_WEBSOCKET_EXTENSIONS, extension)];
    for (name, value) in fields {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    response
}

/// The answer to a request whose client wants to hear from a close code why it is refused, as Harper says it: browsers tell
/// their pages nothing of an answer that opens no socket. None where a status is wanted, or no socket was asked for properly.
#[must_use]
pub(crate) fn refuse(
    http: &Http,
    metrics: &Arc<WorkerMetrics>,
    request: &Request,
    failure: &Failure,
) -> Option<Response> {
    if !request.is_web_socket || !http.web_socket.closes_refused {
        return None;
    }
    let offer = Offer::of(request).ok()?;
    let code = match failure.code {
        Code::LoginRequired | Code::LoginFailed => Close::LOGIN,
        Code::Forbidden => Close::FORBIDDEN,
        _ => Close::ERROR,
    };
    let handler = Box::new(Refusal(Close::new(code, failure.message.to_string())));
    let protocol = offer.first_protocol();
    Some(open(http, metrics, &offer, Opening { handler, protocol, is_compressible: false }))
}

/// Closes at once.
struct Refusal(Close);

impl Handler for Refusal {
    fn serve(self: Box<Self>, _: &mut Socket) -> Serving<'_> {
        Box::pin(async move { self.0 })
    }
}

/// What proves that the server has understood (RFC 6455 §4.2.2).
fn accept(headers: &HeaderMap) -> Answer<HeaderValue> {
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let key = keys.next().and_then(|key| key.to_str().ok()).unwrap_or_default().trim();
    let is_key = STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES);
    if !is_key || keys.next().is_some() {
        let sentence = "Sec-WebSocket-Key is not 16 bytes in base64";
        return Err(Failure::new(Code::BadRequest, sentence));
    }
    let hash =
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{KEY_SUFFIX}").as_bytes());
    HeaderValue::try_from(STANDARD.encode(hash))
        .map_err(|error| Failure::internal("a key could not be answered", &error))
}

fn values<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
}

/// The items of a list (RFC 9110 §5.6.1).
fn items<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Vec<&'a str> {
    let items = values(headers, name).flat_map(|value| value.split(',')).map(str::trim);
    items.filter(|item| !item.is_empty()).collect()
}
