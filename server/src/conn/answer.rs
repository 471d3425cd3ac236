//! From what hyper hands over to the chain and back.

use super::{ConnState, Peer, Stage};
use crate::chain;
use crate::exchange::{Client, Field, Finished, Request, RequestBody, Response};
use crate::metrics::WorkerMetrics;
use http::request::Parts;
use http::{HeaderValue, Method, Uri, Version, header};
use hyper::body::Incoming;
use std::future;
use std::rc::Rc;

/// A request of HTTP/1, which is about to be answered.
pub(super) fn receive(
    state: &ConnState,
    request: hyper::Request<Incoming>,
    peer: &Peer,
) -> Box<Request> {
    state.answered.set(false);
    state.enter(Stage::Answer);
    let (head, body) = request.into_parts();
    let mut request = request_of(head, RequestBody::new(body, None), peer);
    request.is_web_socket = request.has(Field::Upgrade) && asks_for_web_socket(&request.head);
    request.refused = state.begin_request().map(|refusal| refusal.failure());
    request
}

/// Answers a request of HTTP/1.
pub(super) async fn answer(state: Rc<ConnState>, mut request: Box<Request>) -> Response {
    let version = request.head.version;
    let mut response = through_the_chain(&state, &mut request).await;
    if response.body().is_event_stream {
        *response.version_mut() = version;
        state.event_stream.replace(Some(response));
        // the connection goes on without hyper, which is told nothing of it
        return future::pending().await;
    }
    state.upgrade.replace(response.body_mut().take_upgrade());
    response.body_mut().on_finish(Finished(state));
    response
}

/// A request as the chain sees it, whatever the protocol; boxed, for it is large and goes from hand to hand.
pub(super) fn request_of(head: Parts, body: RequestBody, peer: &Peer) -> Box<Request> {
    let client = Client::of_connection(peer.address.ip(), peer.tls_version, peer.is_proxied);
    let client = Client { is_owner: peer.is_owner, ..client };
    let mut request = Box::new(Request::new(head, body, client, peer.interface));
    request.certificate.clone_from(&peer.certificate);
    settle_target(&mut request.head);
    request
}

/// Whether a request asks for a WebSocket (RFC 6455 §4.1). What names another protocol, or comes with another method, is a
/// request like any other (RFC 9110 §7.8).
fn asks_for_web_socket(head: &Parts) -> bool {
    let names = |name: header::HeaderName, token: &str| {
        let values = head.headers.get_all(name).into_iter();
        values
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
    };
    head.version == Version::HTTP_11
        && head.method == Method::GET
        && names(header::UPGRADE, "websocket")
        && names(header::CONNECTION, "upgrade")
}

/// Has a request answered.
pub(super) async fn through_the_chain(state: &ConnState, request: &mut Request) -> Response {
    let shared = &state.shared;
    // one snapshot for the whole request, whatever changes meanwhile
    let (services, routes) = (shared.services(), Rc::clone(&shared.routes.borrow()));
    let _in_flight = InFlight::begin(&shared.metrics);
    request.recent.set(state.recent.take());
    let response = chain::handle(&services, &routes.0, request).await;
    state.recent.set(request.recent.take());
    response
}

/// Gives a request with an absolute target the form of any other. Its authority is whom the request is for, whatever
/// `Host` says (RFC 9112 §3.2.2, RFC 9113 §8.3.1).
fn settle_target(head: &mut Parts) {
    let Some(authority) = head.uri.authority() else { return };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        head.headers.insert(header::HOST, host);
    }
    if let Some(path) = head.uri.path_and_query().cloned() {
        head.uri = Uri::from(path);
    }
}

impl crate::exchange::OnFinish for ConnState {
    fn finish(&self) {
        self.answered.set(true);
    }
}

/// Counts a request while it is being answered, however that ends.
struct InFlight<'a>(&'a WorkerMetrics);

impl<'a> InFlight<'a> {
    fn begin(metrics: &'a WorkerMetrics) -> Self {
        metrics.in_flight.add(1);
        Self(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.add(-1);
        if std::thread::panicking() {
            self.0.panics.add(1);
        }
    }
}
