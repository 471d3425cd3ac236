//! One connection: its deadlines, and its end.
//!
//! A connection is always in one [`Stage`], each with its own deadline. The deadlines are plain cells, read by the
//! worker's sweep a few times a second: a request costs no timer.

mod answer;
mod entry;
mod event_stream;
mod h1;
mod h2;
mod io;
mod mqtt;
mod place;
mod proxy_protocol;
mod secure;
mod stream;

use crate::exchange::{Interface, Recent, Response, Task, Upgrade};
use crate::metrics::{Closed, Handshake, WorkerMetrics};
use crate::mqtt::Broker;
use crate::tls::{self, ClientCertificate, Offer, Tls};
use crate::{route::OwnRoutes, services::Services};
use entry::Refusal;
#[cfg(any(test, fuzzing))]
pub(crate) use entry::fuzz::check as fuzz_entry;
use h2::Streams;
use harper_config::Timeouts;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
pub(crate) use stream::Stream;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;

/// For how long after it was made a connection may send its first request though the process stops.
const NEW_FOR: Duration = Duration::from_secs(1);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waiting for a request.
    Idle,
    /// Receiving a request's head.
    Head,
    /// Receiving its body, answering, and sending.
    Answer,
    /// Streams of HTTP/2 are open; each has a deadline of its own.
    Streams,
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
    /// When it entered the stage.
    entered: Cell<Instant>,
    /// When its time in the stage began: when it entered it, or when the client last took bytes of an answer.
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
    /// Whose the last credentials were that it brought.
    recent: Cell<Option<Recent>>,
    /// The open streams, on HTTP/2.
    streams: Streams,
    /// What takes the connection over once the answer has been sent, on HTTP/1.
    upgrade: RefCell<Option<Upgrade>>,
    /// An answer that is sent without hyper, on HTTP/1.
    event_stream: RefCell<Option<Response>>,
    /// Whether bytes wait that the client does not take.
    is_blocked: Cell<bool>,
    /// Tells what has taken it over, or streams of it, that it is to end.
    told_to_end: Notify,
    waker: RefCell<Option<Waker>>,
    /// What the listener is for.
    interface: Interface,
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
    /// MQTT.
    pub broker: Arc<Broker>,
}

impl Shared {
    /// The services as they are now.
    #[must_use]
    pub(crate) fn services(&self) -> Rc<Services> {
        Rc::clone(&self.services.borrow())
    }
}

impl ConnState {
    /// A connection that has just been accepted.
    #[must_use]
    pub(crate) fn new(shared: Rc<Shared>, interface: Interface) -> Rc<Self> {
        Rc::new(Self {
            // the first head must come within its own time; keep-alive is for later ones
            stage: Cell::new(Stage::Head),
            entered: Cell::new(shared.coarse_now.get()),
            since: Cell::new(shared.coarse_now.get()),
            expired: Cell::new(false),
            answered: Cell::new(false),
            draining: Cell::new(false),
            late: Cell::new(Late::No),
            is_mid_body: Cell::new(false),
            requests: Cell::new(0),
            refused: Cell::new(None),
            recent: Cell::default(),
            streams: Streams::default(),
            upgrade: RefCell::default(),
            event_stream: RefCell::default(),
            is_blocked: Cell::new(false),
            told_to_end: Notify::new(),
            waker: RefCell::default(),
            interface,
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
        self.begin_time();
    }

    /// Gives the connection all the time of its stage again.
    fn begin_time(&self) {
        self.entered.set(self.shared.coarse_now.get());
        self.since.set(self.shared.coarse_now.get());
    }

    /// Bytes arrived.
    fn received(&self, count: usize) {
        self.metrics().bytes_received.add(count as u64);
        self.streams.received(count);
        if self.stage.get() == Stage::Idle && !self.streams.are_used() {
            self.enter(Stage::Head);
        }
    }

    /// Bytes were taken by the client, which restarts its time.
    fn sent(&self, count: usize) {
        self.metrics().bytes_sent.add(count as u64);
        // on HTTP/2 the last of an answer may be taken when its stream has ended; before a first stream there is none
        let is_of_answer = match self.stage.get() {
            Stage::Answer => true,
            Stage::Idle | Stage::Streams => self.streams.are_used(),
            Stage::Head => false,
        };
        if is_of_answer {
            self.since.set(self.shared.coarse_now.get());
        }
    }

    /// All that was written has been taken. hyper flushes only when its own buffer is empty, so an answer that is
    /// complete has then been sent to its end.
    fn flushed(&self) {
        self.is_blocked.set(false);
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
        if self.streams.are_used() {
            self.streams.sweep(now, self.timeouts().request);
        }
    }

    /// How long the client may take.
    fn timeouts(&self) -> Timeouts {
        let is_operations = self.interface.is_operations();
        *self.shared.services.borrow().config.timeouts(is_operations)
    }

    fn is_overdue(&self, now: Instant) -> bool {
        let timeouts = self.timeouts();
        let limit = match self.stage.get() {
            Stage::Idle | Stage::Head if self.streams.are_leaving() => h2::LEAVING_TIME_MAX,
            Stage::Idle => timeouts.keep_alive,
            Stage::Head => timeouts.headers,
            Stage::Answer => timeouts.request,
            Stage::Streams => Duration::ZERO,
        };
        let is_over = |since: &Cell<Instant>, limit: Duration| {
            // as in Node, 0 switches a timeout off
            !limit.is_zero() && now.saturating_duration_since(since.get()) > limit
        };
        // whatever the server sends on HTTP/2 counts as an answer, replies to pings, too: they must not hold the
        // connection for longer than an answer may take
        let is_held = self.streams.are_used() && self.stage.get() == Stage::Idle;
        let held_max = limit.checked_add(timeouts.request).filter(|_| !timeouts.request.is_zero());
        is_over(&self.since, limit)
            || is_held
                && !limit.is_zero()
                && held_max.is_some_and(|max| is_over(&self.entered, max))
    }

    /// Lets the client hear that it was too slow; false when it cannot be told, or has been.
    fn tell_late(&self) -> bool {
        let late = match self.stage.get() {
            Stage::Head => Late::Head,
            Stage::Answer if self.is_mid_body.get() => Late::Body,
            Stage::Answer | Stage::Idle | Stage::Streams => Late::No,
        };
        let can_be_told = late != Late::No && self.late.replace(late) == Late::No;
        if can_be_told {
            // as much time again to take the answer
            self.begin_time();
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
            self.told_to_end.notify_waiters();
        }
    }

    /// Waits until the connection is to end.
    async fn ending(self: Rc<Self>) {
        // nothing comes between the look and the wait: this is the only thread
        while !self.draining.get() {
            self.told_to_end.notified().await;
        }
    }

    /// Lets the connection end without cutting anything, since its worker is one too many. A client of HTTP/2 is told now
    /// which of its streams are the last, one of MQTT or WebSocket that it is to connect again; one of HTTP/1 is told by its
    /// next answer.
    pub(crate) fn retire(&self, now: Instant) {
        let is_taken_over = self.stage.get() == Stage::Streams;
        if is_taken_over || self.streams.are_used() || self.interface == Interface::Mqtt {
            self.drain(now);
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
#[derive(Clone)]
struct Peer {
    address: SocketAddr,
    /// What the listener is for.
    interface: Interface,
    /// Whether it is a load balancer's, whom it may or may not have named.
    is_proxied: bool,
    /// Whether it is the server's own user on the Unix socket.
    is_owner: bool,
    /// The version of TLS that it speaks, if any.
    tls_version: Option<&'static str>,
    /// The certificate that it has shown.
    certificate: Option<Rc<ClientCertificate>>,
}

impl Peer {
    /// Whoever is at the other end, as far as the listener tells.
    fn new(address: SocketAddr, interface: Interface) -> Self {
        Self {
            address,
            interface,
            is_proxied: false,
            is_owner: false,
            tls_version: None,
            certificate: None,
        }
    }

    /// The server's own user on this machine.
    fn owner(interface: Interface) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { is_owner: true, ..Self::new(address, interface) }
    }
}

/// Whose the connection is: the other end's, or, where that is a trusted proxy that speaks the PROXY protocol, whose it
/// says. None when it does not say so in time or as it should.
async fn peer_of(
    state: &ConnState,
    stream: &mut TcpStream,
    address: SocketAddr,
) -> Result<Peer, Closed> {
    let peer = Peer::new(address, state.interface);
    let services = state.shared.services();
    let proxies = &services.config.http.proxies;
    if !proxies.use_proxy_protocol || !proxies.trust(address.ip().to_canonical()) {
        return Ok(peer);
    }
    match before_deadline(state, proxy_protocol::read(stream)).await? {
        Ok(source) => {
            // even if it names nobody: whoever sits behind the proxy is not on this machine
            Ok(Peer { address: source.unwrap_or(address), is_proxied: true, ..peer })
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

/// How far a connection has been served.
enum Served {
    /// To its end.
    Whole(Closed),
    /// To where another protocol, or an answer without end, goes on.
    Until(Pin<Box<dyn Future<Output = Closed>>>),
}

/// Serves an accepted connection; where there are certificates, it begins with a handshake. What is left to be done when no more
/// requests will come is given back, to be done in a task of its own: this one has room for requests, thousands of bytes.
pub(crate) async fn serve(
    state: Rc<ConnState>,
    stream: Stream,
    tls: Option<Arc<Tls>>,
) -> Option<Task> {
    let served = requests(&state, stream, tls).await;
    match served.unwrap_or_else(Served::Whole) {
        Served::Whole(closed) => {
            state.metrics().closed(closed);
            None
        }
        Served::Until(rest) => Some(Box::pin(async move {
            let closed = rest.await;
            state.metrics().closed(closed);
        })),
    }
}

async fn requests(
    state: &Rc<ConnState>,
    stream: Stream,
    tls: Option<Arc<Tls>>,
) -> Result<Served, Closed> {
    let (mut stream, address) = match stream {
        Stream::Tcp(stream, address) => (stream, address),
        Stream::Unix(stream) => {
            return Ok(h1::serve(state, stream, Peer::owner(state.interface)).await);
        }
    };
    let peer = peer_of(state, &mut stream, address).await?;
    let is_mqtt = state.interface == Interface::Mqtt;
    let Some(tls) = tls else {
        return Ok(match is_mqtt {
            true => Served::Until(Box::pin(mqtt::serve(Rc::clone(state), stream, peer))),
            false => h1::serve(state, stream, peer).await,
        });
    };
    // boxed, since the task of a plain connection would else have room for all of it
    let (stream, offer) = Box::pin(handshake(state, stream, &tls)).await?;
    let peer = secured(state, &peer, &stream, &tls, &offer).await?;
    if is_mqtt {
        return Ok(Served::Until(Box::pin(mqtt::serve(Rc::clone(state), stream, peer))));
    }
    // what the client chose with ALPN selects the protocol
    Ok(match stream.get_ref().1.alpn_protocol() {
        Some(tls::HTTP_2) => Served::Whole(Box::pin(h2::serve(state, stream, peer)).await),
        _ => Box::pin(h1::serve(state, stream, peer)).await,
    })
}

/// Whose a secure connection is. Where authorities are asked about the certificates of clients, that is done before the first
/// request is read, and once for a connection.
async fn secured(
    state: &ConnState,
    peer: &Peer,
    stream: &TlsStream<TcpStream>,
    tls: &Tls,
    offer: &Offer,
) -> Result<Peer, Closed> {
    let services = state.shared.services();
    let certificate = tls.certificate(stream.get_ref().1, offer, &services.config);
    let certificate = before_deadline(state, certificate).await?.map(Rc::new);
    Ok(Peer { tls_version: Some(secure::version(stream)), certificate, ..peer.clone() })
}

/// Makes the connection secure.
async fn handshake(
    state: &ConnState,
    stream: TcpStream,
    tls: &Tls,
) -> Result<(TlsStream<TcpStream>, Arc<Offer>), Closed> {
    let metrics = &state.metrics().tls;
    let secured = before_deadline(state, secure::accept(stream, tls)).await;
    let secured = secured.inspect_err(|closed| {
        if matches!(closed, Closed::Timeout) {
            metrics.handshake(Handshake::Timeout);
        }
    })?;
    match &secured {
        Ok((stream, _)) => metrics.completed(secure::version(stream), secure::is_resumed(stream)),
        Err(reason) => metrics.handshake(*reason),
    }
    secured.map_err(|_| Closed::Error)
}
