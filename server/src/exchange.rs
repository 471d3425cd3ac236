//! The request and the response as plain data. Every protocol produces the first and writes the second; nothing
//! here knows a protocol, a route or a store.

mod fields;
mod id;
mod incoming;
mod linger;
mod output;
mod summary;
mod trace;
mod upgrade;

use bytes::Bytes;
use futures_util::Stream;
use http::request::Parts;
use http::{HeaderName, HeaderValue, header};
use http_body::{Frame, SizeHint};
use std::cell::Cell;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::auth::Identity;
pub(crate) use crate::auth::cache::Recent;
use crate::auth::cookie::Scope;
use crate::error::Failure;
use crate::tls::{ClientCertificate, Distrust};
pub(crate) use fields::Field;
use fields::Fields;
pub(crate) use id::RequestId;
pub(crate) use incoming::RequestBody;
pub(crate) use linger::linger;
pub(crate) use output::Output;
pub(crate) use summary::Summary;
pub(crate) use trace::{TraceContext, to_hex};
pub(crate) use upgrade::{Carrier, Duplex, Task, Upgrade};

/// A later part of the answer could not be made; the connection is broken off, so that the client sees it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the answer could not be completed: {0}")]
pub(crate) struct BodyError(pub String);

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    /// The application.
    Application,
    /// The Operations API.
    Operations,
    /// MQTT.
    Mqtt,
    /// Metrics and probes, which no worker serves.
    Admin,
}

impl Interface {
    /// Whether it is the Operations API.
    #[must_use]
    pub(crate) fn is_operations(self) -> bool {
        self == Self::Operations
    }
}

/// A request as the chain, the routes and the resources see it.
pub(crate) struct Request {
    /// Method, target, version and headers.
    pub head: Parts,
    /// The body, until something reads it.
    pub body: RequestBody,
    /// Who has sent it, as far as it can be known.
    pub client: Client,
    /// What its listener is for.
    pub interface: Interface,
    /// The certificate that the client has shown in the handshake.
    pub certificate: Option<Rc<ClientCertificate>>,
    /// What the request is called in logs.
    pub id: RequestId,
    /// When the head had been read.
    pub started: Instant,
    /// How long it took until the answer was made; set when it is.
    pub took: Duration,
    /// Who is asking; set by the authentication layer.
    pub identity: Identity,
    /// What the client may still ask for; set where requests are limited.
    pub quota: Option<Quota>,
    /// The trace that the request is part of, where something tells of it.
    pub trace: Option<TraceContext>,
    /// The path under which the resource that answers is exported; set for traces alone.
    pub route: Option<String>,
    /// Why the protocol refuses this request; the chain answers with it.
    pub refused: Option<Box<Failure>>,
    /// Whether it asks for a WebSocket; over HTTP/2 its method is then GET, too, as over HTTP/1.1.
    pub is_web_socket: bool,
    /// Bytes of the body that have been read.
    pub body_bytes: u64,
    /// The share of the process's memory for bodies that this request has taken.
    pub held: Held,
    /// Whose the credentials were that its connection brought last.
    pub recent: Cell<Option<Recent>>,
    fields: Fields,
}

/// Who has sent a request: the peer, or, where trusted proxies stand between, whom they name.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Its address in canonical form: IPv4 is never written as IPv6.
    pub address: IpAddr,
    /// Whether its own connection is encrypted.
    pub is_secure: bool,
    /// The version of TLS on the connection to this server, such as `1.3`; it may be a proxy's.
    pub tls_version: Option<&'static str>,
    /// The host it asked a trusted proxy for.
    pub host: Option<HeaderValue>,
    /// Whether a trusted proxy has passed the request on.
    pub is_vouched: bool,
    /// Whether the connection is a load balancer's, which speaks of its client by the PROXY protocol.
    pub is_proxied: bool,
    /// Whether it is the server's own user, or root, on the Unix socket.
    pub is_owner: bool,
}

impl Client {
    /// The client of a connection, before anything that its requests say.
    #[must_use]
    pub(crate) fn of_connection(
        address: IpAddr,
        tls_version: Option<&'static str>,
        is_proxied: bool,
    ) -> Self {
        Self {
            address: address.to_canonical(),
            is_secure: tls_version.is_some(),
            tls_version,
            host: None,
            is_vouched: false,
            is_proxied,
            is_owner: false,
        }
    }
}

/// What a limit on requests leaves to a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    /// Requests that it may make in each window.
    pub limit: u32,
    /// Requests that it may make now.
    pub remaining: u64,
    /// Time until it may make as many as ever.
    pub reset: Duration,
}

/// Bytes taken from a total that several threads share; given back when dropped.
#[derive(Default)]
pub(crate) struct Held {
    taken: Option<(Arc<AtomicUsize>, usize)>,
}

impl Held {
    /// Takes more, so that `bytes` are held; false when the total would pass `bytes_max`.
    pub(crate) fn raise_to(
        &mut self,
        bytes: usize,
        total: &Arc<AtomicUsize>,
        bytes_max: usize,
    ) -> bool {
        let (_, held) = self.taken.get_or_insert_with(|| (Arc::clone(total), 0));
        let more = bytes.saturating_sub(*held);
        if total.fetch_add(more, Ordering::Relaxed) + more > bytes_max {
            total.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        *held += more;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((total, held)) = self.taken.take() {
            total.fetch_sub(held, Ordering::Relaxed);
        }
    }
}

impl Request {
    /// Why the certificate that the client has shown is not believed, if it is not.
    #[must_use]
    pub(crate) fn distrust(&self) -> Option<Distrust> {
        self.certificate.as_ref().and_then(|certificate| certificate.distrust)
    }

    /// A request whose head has just been read.
    #[must_use]
    pub(crate) fn new(
        head: Parts,
        body: RequestBody,
        client: Client,
        interface: Interface,
    ) -> Self {
        Self {
            fields: Fields::of(&head.headers),
            head,
            body,
            client,
            interface,
            certificate: None,
            id: RequestId::default(),
            started: Instant::now(),
            took: Duration::ZERO,
            identity: Identity::Anonymous,
            quota: None,
            trace: None,
            route: None,
            refused: None,
            is_web_socket: false,
            body_bytes: 0,
            held: Held::default(),
            recent: Cell::default(),
        }
    }

    /// Whether it has this field.
    #[must_use]
    pub(crate) fn has(&self, field: Field) -> bool {
        debug_assert_eq!(self.fields, Fields::of(&self.head.headers), "the head was changed");
        self.fields.has(field)
    }

    /// Puts a field in the place of what the client has sent.
    pub(crate) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.head.headers.insert(name, value);
        self.fields = Fields::of(&self.head.headers);
    }

    /// The scheme of the request's URL (RFC 9110 §4.2).
    #[must_use]
    pub(crate) fn scheme(&self) -> &'static str {
        if self.client.is_secure { "https" } else { "http" }
    }

    /// Where its cookies belong.
    #[must_use]
    pub(crate) fn cookie_scope(&self) -> Scope<'_> {
        let headers = &self.head.headers;
        let host = self.client.host.as_ref().or_else(|| headers.get(header::HOST));
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        Scope { headers, host, is_secure: self.client.is_secure }
    }

    /// A request header as text; none when absent or not visible ASCII.
    #[must_use]
    pub(crate) fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }
}

/// A response as the chain sees it. It passes through some thirty hands, so that what is moved is a pointer.
pub(crate) type Response = Box<http::Response<Body>>;

/// 200 without headers.
#[must_use]
pub(crate) fn response(body: Body) -> Response {
    Box::new(http::Response::new(body))
}

/// A stream of body parts, made on this worker.
pub(crate) type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>>>>;

/// The body of a response.
#[derive(Default)]
pub(crate) struct Body {
    content: Content,
    finished: Option<Finished>,
    /// A longer part is handed over piece by piece; 0 hands it over whole.
    piece_bytes_max: usize,
    tail: Tail,
    /// What takes the connection over after the answer.
    upgrade: Option<Upgrade>,
    /// Whether this is the result of a query: such bodies are compressed whatever their size.
    pub is_query_result: bool,
    /// Whether this is an event stream: its parts come when something happens, and must not wait for one another.
    pub is_event_stream: bool,
}

#[derive(Default)]
enum Content {
    #[default]
    Empty,
    Whole(Bytes),
    Stream(Chunks),
}

/// What became of an answer's body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// Bytes handed to the connection, after compression and before any framing.
    pub bytes: u64,
    /// Whether these were all.
    pub is_whole: bool,
}

/// Counts what is sent, and tells it when the body is dropped.
#[derive(Default)]
struct Tail {
    sent: Sent,
    told: Vec<Box<dyn FnOnce(Sent)>>,
}

impl Drop for Tail {
    fn drop(&mut self) {
        for tell in self.told.drain(..) {
            tell(self.sent);
        }
    }
}

/// Who wants to know that an answer has been handed over, whole or not.
pub(crate) trait OnFinish {
    /// Called once for each answer.
    fn finish(&self);
}

/// Calls [`OnFinish::finish`] when it is dropped with the body that holds it.
pub(crate) struct Finished(pub Rc<dyn OnFinish>);

impl Drop for Finished {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl Body {
    /// A body that is known whole.
    #[must_use]
    pub(crate) fn whole(bytes: Bytes) -> Self {
        let content = if bytes.is_empty() { Content::Empty } else { Content::Whole(bytes) };
        Self { content, ..Self::default() }
    }

    /// A body that is made part by part; sent with chunked framing.
    #[must_use]
    pub(crate) fn stream(parts: Chunks) -> Self {
        Self { content: Content::Stream(parts), ..Self::default() }
    }

    /// No body, after which the connection is handed over.
    #[must_use]
    pub(crate) fn upgrade(upgrade: Upgrade) -> Self {
        Self { upgrade: Some(upgrade), ..Self::default() }
    }

    /// Takes out what the connection is to be handed to.
    pub(crate) fn take_upgrade(&mut self) -> Option<Upgrade> {
        self.upgrade.take()
    }

    /// Marks the body as the result of a query.
    #[must_use]
    pub(crate) fn query_result(mut self) -> Self {
        self.is_query_result = true;
        self
    }

    /// Marks the body as an event stream.
    #[must_use]
    pub(crate) fn event_stream(mut self) -> Self {
        self.is_event_stream = true;
        self
    }

    /// Length in bytes; none for a stream.
    #[must_use]
    pub(crate) fn len(&self) -> Option<usize> {
        match &self.content {
            Content::Empty => Some(0),
            Content::Whole(bytes) => Some(bytes.len()),
            Content::Stream(_) => None,
        }
    }

    /// Takes the content out: whole bytes, or the stream.
    pub(crate) fn take(&mut self) -> Result<Bytes, Chunks> {
        match std::mem::take(&mut self.content) {
            Content::Empty => Ok(Bytes::new()),
            Content::Whole(bytes) => Ok(bytes),
            Content::Stream(parts) => Err(parts),
        }
    }

    /// Has `tell` called when the body is done with, whole or not.
    pub(crate) fn on_end(&mut self, tell: impl FnOnce(Sent) + 'static) {
        self.tail.sent.is_whole = matches!(self.content, Content::Empty);
        self.tail.told.push(Box::new(tell));
    }

    /// Hands a body that is known whole over in pieces, so that a client that takes nothing holds up no more than one.
    pub(crate) fn in_pieces(&mut self, bytes_max: usize) {
        self.piece_bytes_max = bytes_max;
    }

    /// Has `finished` called when the body is done with.
    pub(crate) fn on_finish(&mut self, finished: Finished) {
        self.finished = Some(finished);
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let max = self.piece_bytes_max;
        let part = match &mut self.content {
            Content::Empty => None,
            Content::Whole(bytes) => {
                if max > 0 && bytes.len() > max {
                    Some(Ok(bytes.split_to(max)))
                } else {
                    let last = std::mem::take(bytes);
                    self.content = Content::Empty;
                    Some(Ok(last))
                }
            }
            Content::Stream(parts) => ready!(parts.as_mut().poll_next(cx)),
        };
        match &part {
            Some(Ok(bytes)) => self.tail.sent.bytes += bytes.len() as u64,
            Some(Err(_)) => {}
            None => self.content = Content::Empty,
        }
        self.tail.sent.is_whole = matches!(self.content, Content::Empty);
        Poll::Ready(part.map(|part| part.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        self.len().map_or_else(SizeHint::default, |len| SizeHint::with_exact(len as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[test]
    fn what_is_held_is_counted_limited_and_given_back() {
        let total = Arc::<AtomicUsize>::default();
        let mut held = Held::default();
        assert!(held.raise_to(60, &total, 100));
        assert!(held.raise_to(80, &total, 100));
        assert!(!Held::default().raise_to(30, &total, 100));
        assert_eq!(total.load(Ordering::Relaxed), 80);
        drop(held);
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }

    /// What is told of a body of which at most `frames` are taken.
    fn told(mut body: Body, frames: usize) -> (u64, bool) {
        let told = Rc::new(std::cell::Cell::new(Sent::default()));
        body.on_end({
            let told = Rc::clone(&told);
            move |sent| told.set(sent)
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for _ in 0..frames {
                let _ = body.frame().await;
            }
        });
        drop(body);
        (told.get().bytes, told.get().is_whole)
    }

    #[test]
    fn the_end_of_a_body_tells_what_was_sent() {
        let whole = || Body::whole(Bytes::from_static(b"abc"));
        let parts = || [Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"c"))];
        let stream = || Body::stream(Box::pin(futures_util::stream::iter(parts())));
        let broken = futures_util::stream::iter([parts()[0].clone(), Err(BodyError("x".into()))]);
        assert_eq!(told(Body::default(), 0), (0, true));
        assert_eq!(told(whole(), 1), (3, true));
        assert_eq!(told(whole(), 0), (0, false));
        assert_eq!(told(stream(), 3), (3, true));
        assert_eq!(told(stream(), 1), (2, false));
        assert_eq!(told(Body::stream(Box::pin(broken)), 2), (2, false));
    }
}
