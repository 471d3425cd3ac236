//! HTTP/2 on a secure connection (RFC 9113), by hyper and its h2.
//!
//! They frame, and hold a client to the windows and counts that it is told. What they leave open is closed here: clients
//! that are silent after TLS, within a preface or between requests, streams whose client takes or sends nothing, frames that
//! lead to nothing, and requests that are taken back.

mod streams;

pub(super) use streams::Streams;

use super::answer::{request_of, through_the_chain};
use super::entry::is_host;
use super::io::Io;
use super::{ConnState, Peer, Stage};
use crate::error::{Code, Failure};
use crate::exchange::{Body, Carrier, RequestBody, Upgrade};
use crate::metrics::Closed;
use bytes::Bytes;
use harper_config::Config;
use http::request::Parts;
use http::{HeaderName, Method, header};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use streams::{Spawner, Unanswered};
use tokio::io::{AsyncRead, AsyncWrite};

/// For how long a connection without streams stays after its client was told to go (RFC 9113 §6.8).
pub(super) const LEAVING_TIME_MAX: Duration = Duration::from_secs(1);

/// What is handed to h2 at once of a body that is known whole.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Headers that HTTP/2 does not have (RFC 9113 §8.2.2).
const OF_HTTP_1: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Serves HTTP/2 on a stream until it ends, and tells how that was.
pub(super) async fn serve<S>(state: &Rc<ConnState>, stream: S, peer: Peer) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let config = state.shared.services().config.clone();
    state.streams.begin(&config.http.http2);
    let address = peer.address;
    let service = service_fn({
        let state = Rc::clone(state);
        // boxed: hyper and the runtime move the task of a stream several times before it runs, and once after
        move |request| {
            let unanswered = Unanswered::begin(&state);
            Box::pin(answer(Rc::clone(&state), request, peer.clone(), unanswered))
        }
    });
    let io = TokioIo::new(Io::frames(stream, Rc::clone(state)));
    let builder = builder(&config, Spawner(Rc::clone(state)));
    let mut connection = builder.serve_connection(io, service);
    poll_fn(|cx| {
        state.register(cx);
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(how_it_ended(state, ended, address));
            }
            if let Some(abuse) = state.streams.abuse() {
                state.metrics().rejected(abuse);
                return Poll::Ready(Closed::Error);
            }
            let is_expired = state.is_expired();
            if is_expired && (state.stage.get() == Stage::Head || state.streams.are_leaving()) {
                return Poll::Ready(if state.draining.get() {
                    Closed::Drain
                } else {
                    Closed::Timeout
                });
            }
            if !(is_expired || state.draining.get()) || !state.streams.leave() {
                return Poll::Pending;
            }
            // the client is told which of its streams will still be answered, and that is all of them
            state.begin_time();
            Pin::new(&mut connection).graceful_shutdown();
        }
    })
    .await
}

fn how_it_ended(state: &ConnState, ended: hyper::Result<()>, peer: std::net::SocketAddr) -> Closed {
    match ended {
        Ok(()) if state.draining.get() => Closed::Drain,
        Ok(()) if state.streams.are_leaving() => Closed::Idle,
        Ok(()) => Closed::Normal,
        Err(error) => {
            tracing::debug!(%peer, %error, "connection ended");
            Closed::Error
        }
    }
}

fn builder(config: &Config, spawner: Spawner) -> http2::Builder<Spawner> {
    let limits = &config.http.http2;
    let mut builder = http2::Builder::new(spawner);
    builder
        .max_concurrent_streams(limits.streams_max)
        .max_pending_accept_reset_streams(limits.pending_resets_max)
        .max_local_error_reset_streams(limits.error_resets_max)
        .max_header_list_size(u32::try_from(config.http.header_bytes_max).unwrap_or(u32::MAX))
        .max_frame_size(limits.frame_bytes_max)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_send_buf_size(limits.send_buffer_bytes_max)
        .enable_connect_protocol();
    builder
}

async fn answer(
    state: Rc<ConnState>,
    mut request: hyper::Request<Incoming>,
    peer: Peer,
    unanswered: Unanswered,
) -> Result<http::Response<Body>, Infallible> {
    let tunnel = tunnel(&mut request);
    let (head, body) = request.into_parts();
    let misaddressed = misaddressed(&head);
    let time = state.timeouts().request;
    let until = (!time.is_zero()).then(|| state.shared.coarse_now.get() + time);
    let mut body = RequestBody::new(body, until);
    let broken_off = body.watch();
    let mut request = request_of(head, body, &peer);
    request.refused = misaddressed;
    request.is_web_socket = tunnel.is_some();
    if request.distrust().is_some() {
        // as on HTTP/1, nothing comes after the refusal
        state.draining.set(true);
        state.wake();
    }
    let mut response = through_the_chain(&state, &mut request).await;
    for name in OF_HTTP_1 {
        response.headers_mut().remove(name);
    }
    response.body_mut().in_pieces(PIECE_BYTES_MAX);
    if let (Some(tunnel), Some(upgrade)) = (tunnel, response.body_mut().take_upgrade()) {
        Spawner(Rc::clone(&state)).tunnel(upgraded(Rc::clone(&state), tunnel, upgrade));
    }
    // the answer to a request that was taken back while its body was read goes nowhere
    if !broken_off.is_some_and(|broken_off| broken_off.is_seen()) {
        unanswered.answered();
    }
    Ok(*response)
}

/// The stream of a request that asks for a WebSocket (RFC 8441 §5). It is then, as on HTTP/1.1, one with GET.
fn tunnel(request: &mut hyper::Request<Incoming>) -> Option<OnUpgrade> {
    let protocol = request.extensions().get::<Protocol>();
    if request.method() != Method::CONNECT
        || protocol.is_none_or(|name| name.as_str() != "websocket")
    {
        return None;
    }
    let tunnel = hyper::upgrade::on(&mut *request);
    *request.method_mut() = Method::GET;
    Some(tunnel)
}

/// Another protocol takes the stream over once the answer has been sent.
async fn upgraded(state: Rc<ConnState>, tunnel: OnUpgrade, upgrade: Upgrade) {
    // a stream that ends before leaves nothing to speak on
    let Ok(stream) = tunnel.await else { return };
    let io = Box::new(TokioIo::new(stream));
    upgrade.speak(Carrier { io, first: Bytes::new(), ending: Box::pin(state.ending()) }).await;
}

/// Why it cannot be told whom a request is for: `:authority` and `Host` must be one valid name (RFC 9113 §8.3.1).
fn misaddressed(head: &Parts) -> Option<Box<Failure>> {
    let refuse = |sentence: &'static str| Some(Failure::new(Code::BadRequest, sentence));
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return refuse("There is more than one Host header");
    }
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    match (authority, host.map(|host| host.as_bytes())) {
        (Some(authority), _) if !is_host(authority) => refuse(":authority is invalid"),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            refuse(":authority and Host differ")
        }
        (None, None) => refuse("There is neither :authority nor Host"),
        (None, Some(host)) if !is_host(host) => refuse("The Host header is invalid"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    fn head(uri: &str, hosts: &[&'static str]) -> Parts {
        let (mut head, ()) = http::Request::builder().uri(uri).body(()).unwrap().into_parts();
        head.headers = HeaderMap::new();
        for host in hosts {
            head.headers.append(header::HOST, HeaderValue::from_static(host));
        }
        head
    }

    #[test]
    fn a_request_is_for_one_valid_name() {
        for (uri, hosts) in [
            ("https://a.example/b", &[][..]),
            ("https://a.example/b", &["A.example"]),
            ("/b", &["a.example:80"]),
        ] {
            assert!(misaddressed(&head(uri, hosts)).is_none(), "{uri} {hosts:?}");
        }
        for (uri, hosts) in [
            ("/b", &[][..]),
            ("/b", &["a/b"]),
            ("https://a.example/b", &["b.example"]),
            ("https://a.example/b", &["a.example", "a.example"]),
            ("https://user@a.example/b", &[]),
        ] {
            assert!(misaddressed(&head(uri, hosts)).is_some(), "{uri} {hosts:?}");
        }
    }
}
