//! One connection: its deadlines, and its end.
//!
//! A connection is always in one [`Stage`], each with its own deadline. The deadlines are plain cells, read by the
//! worker's sweep a few times a second: a request costs no timer.

mod io;
mod proxy_protocol;

use crate::exchange::{Body, Client, Finished, Request, RequestBody};
use crate::metrics::{Closed, WorkerMetrics};
use crate::{chain, route::Routes, services::Services};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use io::Io;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::net::TcpStream;

/// What a client that was too slow to send its request is told (RFC 9110 §15.5.9).
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waiting for a request.
    Idle,
    /// Receiving a request's head.
    Head,
    /// Receiving its body, answering, and sending.
    Answer,
}

/// What everyone on the worker may know of a connection.
pub(crate) struct ConnState {
    stage: Cell<Stage>,
    since: Cell<Instant>,
    expired: Cell<bool>,
    /// Whether the answer has been handed to hyper whole, but perhaps not yet to the client.
    answered: Cell<bool>,
    draining: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    shared: Rc<Shared>,
}

/// What the connections of one worker share.
pub(crate) struct Shared {
    /// Configuration, pool, counters, credentials.
    pub services: Services,
    /// The routes now; replaced by a reload.
    pub routes: RefCell<Rc<OwnRoutes>>,
    /// The time at the last sweep: precise enough for deadlines, and free to read.
    pub coarse_now: Cell<Instant>,
    /// The HTTP/1 settings.
    pub http1: http1::Builder,
}

/// A worker's own handle on the routes: requests count it up and down without a locked instruction.
pub(crate) struct OwnRoutes(pub(crate) Arc<Routes>);

impl ConnState {
    /// A connection that has just been accepted.
    #[must_use]
    pub(crate) fn new(shared: Rc<Shared>) -> Rc<Self> {
        Rc::new(Self {
            // the first head must come within its own time; keep-alive is for later ones
            stage: Cell::new(Stage::Head),
            since: Cell::new(shared.coarse_now.get()),
            expired: Cell::new(false),
            answered: Cell::new(false),
            draining: Cell::new(false),
            waker: RefCell::default(),
            shared,
        })
    }

    fn enter(&self, stage: Stage) {
        self.stage.set(stage);
        self.since.set(self.shared.coarse_now.get());
    }

    /// Bytes arrived.
    fn received(&self, count: usize) {
        self.metrics().bytes_received.add(count as u64);
        if self.stage.get() == Stage::Idle {
            self.enter(Stage::Head);
        }
    }

    /// Bytes were taken by the client, which restarts its time.
    fn sent(&self, count: usize) {
        self.metrics().bytes_sent.add(count as u64);
        if self.stage.get() == Stage::Answer {
            self.since.set(self.shared.coarse_now.get());
        }
    }

    /// All that was written has been taken. hyper flushes only when its own buffer is empty, so an answer that is
    /// complete has then been sent to its end.
    fn flushed(&self) {
        if self.answered.take() {
            self.enter(Stage::Idle);
        }
    }

    fn metrics(&self) -> &WorkerMetrics {
        &self.shared.services.metrics
    }

    /// Ends the connection if it has been in its stage for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        if self.is_overdue(now) {
            self.expired.set(true);
            self.wake();
        }
    }

    fn is_overdue(&self, now: Instant) -> bool {
        let http = &self.shared.services.config.http;
        let limit = match self.stage.get() {
            Stage::Idle => http.keep_alive_timeout,
            Stage::Head => http.headers_timeout,
            Stage::Answer => http.timeout,
        };
        // as in Node, 0 switches a timeout off
        !limit.is_zero() && now.saturating_duration_since(self.since.get()) > limit
    }

    /// Lets the connection end when it is next idle.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

/// Whose a connection is.
#[derive(Clone, Copy)]
struct Peer {
    address: SocketAddr,
    /// Whether a load balancer named it.
    is_proxied: bool,
}

/// Whose the connection is: the other end's, or, where that is a trusted proxy that speaks the PROXY protocol, whose it
/// says. None when it does not say so in time or as it should.
async fn peer_of(
    state: &ConnState,
    stream: &mut TcpStream,
    address: SocketAddr,
) -> Result<Peer, Closed> {
    let proxies = &state.shared.services.config.http.proxies;
    if !proxies.use_proxy_protocol || !proxies.trust(address.ip().to_canonical()) {
        return Ok(Peer { address, is_proxied: false });
    }
    match before_deadline(state, proxy_protocol::read(stream)).await? {
        Ok(source) => Ok(Peer { address: source.unwrap_or(address), is_proxied: source.is_some() }),
        Err(error) => {
            tracing::debug!(peer = %address, %error, "connection refused");
            Err(Closed::Error)
        }
    }
}

/// Waits for what comes before the first request, but not past its deadline nor when the process stops.
async fn before_deadline<T>(state: &ConnState, work: impl Future<Output = T>) -> Result<T, Closed> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        state.register(cx);
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if state.draining.get() {
            return Poll::Ready(Err(Closed::Drain));
        }
        match state.expired.take() {
            true => Poll::Ready(Err(Closed::Timeout)),
            false => Poll::Pending,
        }
    })
    .await
}

/// Serves HTTP/1 on an accepted connection until it ends.
pub(crate) async fn serve(state: Rc<ConnState>, mut stream: TcpStream, peer: SocketAddr) {
    let shared = Rc::clone(&state.shared);
    let peer = match peer_of(&state, &mut stream, peer).await {
        Ok(peer) => peer,
        Err(closed) => return shared.services.metrics.closed(closed),
    };
    let service = service_fn({
        let state = Rc::clone(&state);
        move |request| answer(Rc::clone(&state), request, peer)
    });
    let io = TokioIo::new(Io::new(stream, Rc::clone(&state)));
    let mut connection = shared.http1.serve_connection(io, service);
    let mut is_told = false;
    let ended = poll_fn(|cx| {
        state.register(cx);
        if state.draining.get() && !is_told {
            is_told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            // looked at anew: the poll may just have begun a request or sent the rest of an answer
            Poll::Pending if state.expired.take() && state.is_overdue(shared.coarse_now.get()) => {
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    });
    let closed = match ended.await {
        Some(Ok(())) if is_told => Closed::Drain,
        Some(Ok(())) => Closed::Normal,
        Some(Err(error)) => {
            tracing::debug!(peer = %peer.address, %error, "connection ended");
            Closed::Error
        }
        None if state.stage.get() == Stage::Idle => Closed::Idle,
        None => {
            if state.stage.get() == Stage::Head {
                // every answer before has been taken; nothing waits here for a client that was too slow already
                let stream = connection.into_parts().io.into_inner().into_inner();
                let _ = stream.try_write(REQUEST_TIMEOUT);
            }
            Closed::Timeout
        }
    };
    shared.services.metrics.closed(closed);
}

async fn answer(
    state: Rc<ConnState>,
    request: hyper::Request<hyper::body::Incoming>,
    peer: Peer,
) -> Result<http::Response<Body>, Infallible> {
    state.answered.set(false);
    state.enter(Stage::Answer);
    let (head, body) = request.into_parts();
    let body = if hyper::body::Body::is_end_stream(&body) {
        RequestBody::Empty
    } else {
        RequestBody::Incoming(body)
    };
    let client = Client::of_connection(peer.address.ip(), false, peer.is_proxied);
    let request = Request::new(head, body, client);
    let shared = &state.shared;
    let routes = Rc::clone(&shared.routes.borrow());
    let _in_flight = InFlight::begin(&shared.services.metrics);
    let mut response = chain::handle(&shared.services, &routes.0, request).await;
    let finished = Rc::clone(&state);
    response.body_mut().on_finish(Finished(finished));
    Ok(response)
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
