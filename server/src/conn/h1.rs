//! HTTP/1 on a connection (RFC 9112).

use super::answer::{answer, receive};
use super::io::Io;
use super::place::Place;
use super::{ConnState, Late, Peer, Served, Stage, event_stream};
use crate::exchange::{Carrier, Upgrade, linger};
use crate::metrics::Closed;
use harper_config::Config;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite};

/// What hyper keeps of a connection's bytes at most; its own default.
const BUFFER_BYTES_MAX: usize = 8192 + 4096 * 100;

/// Serves HTTP/1 on a stream until it ends, or something else goes on.
pub(super) async fn serve<S>(state: &Rc<ConnState>, stream: S, peer: Peer) -> Served
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let address = peer.address;
    let service = service_fn({
        let (state, place) = (Rc::clone(state), Place::default());
        move |request| {
            let request = receive(&state, request, &peer);
            place.begin(|| answer(Rc::clone(&state), request))
        }
    });
    let io = TokioIo::new(Io::requests(stream, Rc::clone(state)));
    let builder = builder(&state.shared.services.borrow().config);
    let mut connection = builder.serve_connection(io, service);
    let mut is_told = false;
    let ended = poll_fn(|cx| {
        state.register(cx);
        loop {
            match Pin::new(&mut connection).poll(cx) {
                Poll::Ready(result) => return Poll::Ready(Some(result)),
                Poll::Pending => {}
            }
            // the answers before it have been sent whole
            if !state.is_blocked.get() && state.event_stream.borrow().is_some() {
                return Poll::Ready(None);
            }
            // not before the poll, so that a request that has arrived is answered
            if state.draining.get() && !is_told {
                is_told = true;
                Pin::new(&mut connection).graceful_shutdown();
                continue;
            }
            // looked at anew: the poll may just have begun a request or sent the rest of an answer
            if !state.is_expired() {
                return Poll::Pending;
            }
            if !state.tell_late() {
                return Poll::Ready(None);
            }
        }
    });
    let ended = ended.await;
    if let (None, Some(response)) = (&ended, state.event_stream.take()) {
        let io = connection.into_parts().io.into_inner().without_requests();
        return Served::Until(Box::pin(event_stream::serve(Rc::clone(state), io, response)));
    }
    let closed = how_it_ended(state, ended.as_ref(), is_told, address);
    let upgrade = state.upgrade.take().filter(|_| matches!(ended, Some(Ok(()))));
    if ended.is_none() {
        return Served::Whole(closed);
    }
    let parts = connection.into_parts();
    let io = parts.io.into_inner();
    match upgrade {
        // what comes before the answer is not of the other protocol (RFC 6455 §4.1), and has been looked at as HTTP
        Some(_) if io.has_more() => linger(io.into_inner()).await,
        Some(upgrade) => {
            let ending = Box::pin(Rc::clone(state).ending());
            let io = Box::new(io.without_requests());
            let carrier = Carrier { io, first: parts.read_buf, ending };
            return Served::Until(Box::pin(upgraded(Rc::clone(state), upgrade, carrier)));
        }
        None if state.refused.get().is_some() || state.is_mid_body.get() => {
            linger(io.into_inner()).await;
        }
        None => {}
    }
    Served::Whole(closed)
}

fn how_it_ended(
    state: &ConnState,
    ended: Option<&hyper::Result<()>>,
    is_told: bool,
    peer: SocketAddr,
) -> Closed {
    match ended {
        None if state.stage.get() == Stage::Idle => Closed::Idle,
        None => Closed::Timeout,
        Some(_) if state.late.get() != Late::No => Closed::Timeout,
        Some(_) if state.refused.get().is_some() => Closed::Error,
        Some(Ok(())) if is_told => Closed::Drain,
        Some(Ok(())) => Closed::Normal,
        Some(Err(error)) => {
            tracing::debug!(%peer, %error, "connection ended");
            Closed::Error
        }
    }
}

/// Another protocol takes the connection over, with deadlines of its own.
async fn upgraded(state: Rc<ConnState>, upgrade: Upgrade, carrier: Carrier) -> Closed {
    state.enter(Stage::Streams);
    // it holds the memory of the task before, which has room for requests
    state.waker.take();
    upgrade.speak(carrier).await;
    if state.draining.get() { Closed::Drain } else { Closed::Normal }
}

/// HTTP/1 as measured: hyper's own builder, no pipelined flushes, which lose answers before a close.
fn builder(config: &Config) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // the entry bounds heads; hyper must have room for one whose target it had to encode
    let buffer_bytes_max = (3 * config.http.header_bytes_max).max(BUFFER_BYTES_MAX);
    builder.keep_alive(true).pipeline_flush(false).max_buf_size(buffer_bytes_max);
    builder
}
