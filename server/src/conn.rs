//! One connection: its deadlines, and its end.
//!
//! A connection is always in one [`Stage`], each with its own deadline. The deadlines are plain cells, read by the
//! worker's sweep a few times a second: a request costs no timer.

mod entry;
mod io;
mod proxy_protocol;
mod secure;

use crate::exchange::{Body, Client, Finished, Interface, Request, RequestBody};
use crate::metrics::{Closed, Handshake, WorkerMetrics};
use crate::{chain, route::Routes, services::Services, tls::Tls};
use entry::Refusal;
use harper_config::Config;
use http::{HeaderValue, Uri, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use io::Io;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What is read of a client that still sends after it was answered for the last time (RFC 9112 §9.6).
const LINGER_BYTES_MAX: usize = 512 * 1024;
/// Time for it.
const LINGER_TIME_MAX: Duration = Duration::from_secs(1);

/// For how long after it was made a connection may send its first request though the process stops.
const NEW_FOR: Duration = Duration::from_secs(1);

/// What hyper keeps of a connection's bytes at most; its own default.
const BUFFER_BYTES_MAX: usize = 8192 + 4096 * 100;

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

/// What a client was too slow with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// Nothing.
    No,
    /// A head: it is answered with 408 (RFC 9110 §15.5.9).
    Head,
    /// A body: whoever reads it is told.
    Body,
}

/// What everyone on the worker may know of a connection.
pub(crate) struct ConnState {
    stage: Cell<Stage>,
    since: Cell<Instant>,
    expired: Cell<bool>,
    /// Whether the answer has been handed to hyper whole, but perhaps not yet to the client.
    answered: Cell<bool>,
    draining: Cell<bool>,
    late: Cell<Late>,
    /// Whether a body is being received.
    is_mid_body: Cell<bool>,
    /// Requests that hyper has handed over.
    requests: Cell<u64>,
    /// Which of them the entry has refused, and why.
    refused: Cell<Option<(u64, Refusal)>>,
    waker: RefCell<Option<Waker>>,
    shared: Rc<Shared>,
}

/// What the connections of one worker share.
pub(crate) struct Shared {
    /// What a request uses; replaced when the configuration changes.
    pub services: RefCell<Rc<Services>>,
    /// This worker's counters.
    pub metrics: Arc<WorkerMetrics>,
    /// The routes now; replaced by a reload.
    pub routes: RefCell<Rc<OwnRoutes>>,
    /// The time at the last sweep: precise enough for deadlines, and free to read.
    pub coarse_now: Cell<Instant>,
}

impl Shared {
    /// The services as they are now.
    #[must_use]
    pub(crate) fn services(&self) -> Rc<Services> {
        Rc::clone(&self.services.borrow())
    }
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
            late: Cell::new(Late::No),
            is_mid_body: Cell::new(false),
            requests: Cell::new(0),
            refused: Cell::new(None),
            waker: RefCell::default(),
            shared,
        })
    }

    /// Counts a request that hyper hands over; why it is refused, if it is.
    fn begin_request(&self) -> Option<Refusal> {
        let number = self.requests.get() + 1;
        self.requests.set(number);
        self.refused.get().filter(|(refused, _)| *refused == number).map(|(_, refusal)| refusal)
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
        &self.shared.metrics
    }

    /// Ends the connection if it has been in its stage for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        if self.is_overdue(now) {
            self.expired.set(true);
            self.wake();
        }
    }

    fn is_overdue(&self, now: Instant) -> bool {
        let services = self.shared.services.borrow();
        let http = &services.config.http;
        let limit = match self.stage.get() {
            Stage::Idle => http.keep_alive_timeout,
            Stage::Head => http.headers_timeout,
            Stage::Answer => http.timeout,
        };
        // as in Node, 0 switches a timeout off
        !limit.is_zero() && now.saturating_duration_since(self.since.get()) > limit
    }

    /// Lets the client hear that it was too slow; false when it cannot be told, or has been.
    fn tell_late(&self) -> bool {
        let late = match self.stage.get() {
            Stage::Head => Late::Head,
            Stage::Answer if self.is_mid_body.get() => Late::Body,
            Stage::Answer | Stage::Idle => Late::No,
        };
        let can_be_told = late != Late::No && self.late.replace(late) == Late::No;
        if can_be_told {
            // as much time again to take the answer
            self.since.set(self.shared.coarse_now.get());
        }
        can_be_told
    }

    /// Whether the sweep found the connection overdue, and it still is.
    fn is_expired(&self) -> bool {
        self.expired.take() && self.is_overdue(self.shared.coarse_now.get())
    }

    /// Lets the connection end when it is next idle. To be called again: one that has only just been made gets a moment
    /// for its first request, which may be on its way.
    pub(crate) fn drain(&self, now: Instant) {
        let age = now.saturating_duration_since(self.since.get());
        let is_new = self.stage.get() == Stage::Head && self.requests.get() == 0 && age < NEW_FOR;
        if !is_new && !self.draining.replace(true) {
            self.wake();
        }
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
    /// What the listener is for.
    interface: Interface,
    /// Whether a load balancer named it.
    is_proxied: bool,
    /// Whether nobody else can listen.
    is_secure: bool,
}

/// Whose the connection is: the other end's, or, where that is a trusted proxy that speaks the PROXY protocol, whose it
/// says. None when it does not say so in time or as it should.
async fn peer_of(
    state: &ConnState,
    stream: &mut TcpStream,
    address: SocketAddr,
    interface: Interface,
) -> Result<Peer, Closed> {
    let peer = Peer { address, interface, is_proxied: false, is_secure: false };
    let services = state.shared.services();
    let proxies = &services.config.http.proxies;
    if !proxies.use_proxy_protocol || !proxies.trust(address.ip().to_canonical()) {
        return Ok(peer);
    }
    match before_deadline(state, proxy_protocol::read(stream)).await? {
        Ok(source) => {
            let is_proxied = source.is_some();
            Ok(Peer { address: source.unwrap_or(address), is_proxied, ..peer })
        }
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
        if state.is_expired() { Poll::Ready(Err(Closed::Timeout)) } else { Poll::Pending }
    })
    .await
}

/// Serves an accepted connection until it ends; where there are certificates, it begins with a handshake.
pub(crate) async fn serve(
    state: Rc<ConnState>,
    mut stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<Tls>>,
    interface: Interface,
) {
    let served = async {
        let peer = peer_of(&state, &mut stream, peer, interface).await?;
        let Some(tls) = tls else { return Ok(http1(&state, stream, peer).await) };
        let stream = handshake(&state, stream, &tls).await?;
        // what the client chose with ALPN selects the protocol; http/1.1 alone is offered
        Ok(http1(&state, stream, Peer { is_secure: true, ..peer }).await)
    };
    let closed = served.await.unwrap_or_else(|closed: Closed| closed);
    state.metrics().closed(closed);
}

/// Makes the connection secure.
async fn handshake(
    state: &ConnState,
    stream: TcpStream,
    tls: &Tls,
) -> Result<TlsStream<TcpStream>, Closed> {
    let metrics = &state.metrics().tls;
    let secured = before_deadline(state, secure::accept(stream, tls)).await;
    let secured = secured.inspect_err(|closed| {
        if matches!(closed, Closed::Timeout) {
            metrics.handshake(Handshake::Timeout);
        }
    })?;
    let outcome = secured.as_ref().map_or_else(|reason| *reason, |_| Handshake::Completed);
    metrics.handshake(outcome);
    secured.map_err(|_| Closed::Error)
}

/// Serves HTTP/1 on a stream until it ends, and tells how that was.
async fn http1<S>(state: &Rc<ConnState>, stream: S, peer: Peer) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn({
        let state = Rc::clone(state);
        move |request| answer(Rc::clone(&state), request, peer)
    });
    let io = TokioIo::new(Io::new(stream, Rc::clone(state)));
    let builder = http1_builder(&state.shared.services.borrow().config);
    let mut connection = builder.serve_connection(io, service);
    let mut is_told = false;
    let ended = poll_fn(|cx| {
        state.register(cx);
        loop {
            match Pin::new(&mut connection).poll(cx) {
                Poll::Ready(result) => return Poll::Ready(Some(result)),
                Poll::Pending => {}
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
    let closed = match &ended {
        None if state.stage.get() == Stage::Idle => Closed::Idle,
        None => Closed::Timeout,
        Some(_) if state.late.get() != Late::No => Closed::Timeout,
        Some(_) if state.refused.get().is_some() => Closed::Error,
        Some(Ok(())) if is_told => Closed::Drain,
        Some(Ok(())) => Closed::Normal,
        Some(Err(error)) => {
            tracing::debug!(peer = %peer.address, %error, "connection ended");
            Closed::Error
        }
    };
    if ended.is_some() && (state.refused.get().is_some() || state.is_mid_body.get()) {
        linger(connection.into_parts().io.into_inner().into_inner()).await;
    }
    closed
}

/// HTTP/1 as measured: hyper's own builder, no pipelined flushes, which lose answers before a close.
fn http1_builder(config: &Config) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // the entry bounds heads; hyper must have room for one whose target it had to encode
    let buffer_bytes_max = (3 * config.http.header_bytes_max).max(BUFFER_BYTES_MAX);
    builder.keep_alive(true).pipeline_flush(false).max_buf_size(buffer_bytes_max);
    builder
}

/// Reads what still comes on a connection that has been closed for writing: closing it altogether while the client
/// sends would destroy an answer that it has not read yet (RFC 9112 §9.6).
async fn linger(mut stream: impl AsyncRead + Unpin) {
    let drained = async {
        let mut left = LINGER_BYTES_MAX;
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            left = left.saturating_sub(count);
            if left == 0 {
                break;
            }
        }
    };
    // a client that goes on sending has had its chance
    let _ = tokio::time::timeout(LINGER_TIME_MAX, drained).await;
}

async fn answer(
    state: Rc<ConnState>,
    request: hyper::Request<hyper::body::Incoming>,
    peer: Peer,
) -> Result<http::Response<Body>, Infallible> {
    state.answered.set(false);
    state.enter(Stage::Answer);
    let (mut head, body) = request.into_parts();
    settle_target(&mut head);
    let body = if hyper::body::Body::is_end_stream(&body) {
        RequestBody::Empty
    } else {
        RequestBody::Incoming(body)
    };
    let client = Client::of_connection(peer.address.ip(), peer.is_secure, peer.is_proxied);
    let mut request = Request::new(head, body, client, peer.interface);
    request.refused = state.begin_request().map(|refusal| refusal.failure());
    let shared = &state.shared;
    // one snapshot for the whole request, whatever changes meanwhile
    let (services, routes) = (shared.services(), Rc::clone(&shared.routes.borrow()));
    let _in_flight = InFlight::begin(&shared.metrics);
    let mut response = chain::handle(&services, &routes.0, request).await;
    let finished = Rc::clone(&state);
    response.body_mut().on_finish(Finished(finished));
    Ok(response)
}

/// Gives a request with an absolute target the form of any other. Its authority is whom the request is for, whatever
/// `Host` says (RFC 9112 §3.2.2).
fn settle_target(head: &mut http::request::Parts) {
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
