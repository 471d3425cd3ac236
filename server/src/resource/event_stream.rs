//! Server-Sent Events (WHATWG HTML §9.2): a subscription as an answer that does not end.
//!
//! The `id` of an event is the epoch of the database and the sequence number in the table, so that a client that comes back
//! with `Last-Event-ID` misses nothing and hears nothing twice, also after a restart. The records that are there when a
//! stream begins have no `id`; the place in the log that they stand for follows the last of them. An empty `id`, with the
//! event `reset`, tells a client whose place is in the log no more to forget what it knows. The stream ends when the server
//! stops or the right to read does; the client then asks again by itself.

use super::subscribe::{Asked, place};
use super::table::TableResource;
use crate::content;
use crate::error::Answer;
use crate::exchange::{self, Body, BodyError, Field, Request, Response};
use crate::hub::{Delivery, End, Filter, Lens, Outbox, Start, Subscription, Told, Way, What};
use crate::metrics::Protocol;
use crate::reply;
use crate::services::Services;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use harper_config::{EventStream, Http};
use http::{HeaderName, HeaderValue, Method, header};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Has nginx pass on what it gets at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Bytes of events that are sent at once.
const PART_BYTES: usize = 16 * 1024;
/// What is sent when there is nothing to tell: a comment.
const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");
const RESET: &[u8] =
    b"id\nevent: reset\ndata: {\"reason\":\"the change log does not reach back\"}\n\n";

/// Whether the request asks for a stream.
#[must_use]
pub(super) fn is_wanted(request: &Request) -> bool {
    request.has(Field::Accept)
        && matches!(request.head.method, Method::GET | Method::HEAD)
        && content::prefers_event_stream(&request.head.headers)
}

impl TableResource {
    /// The answer to a request for a stream.
    ///
    /// # Errors
    /// Those of [`TableResource::watch`]; 503 when too many subscriptions are open.
    pub(super) fn event_stream(
        &self,
        services: &Services,
        request: &Request,
        filter: Filter,
    ) -> Answer<Response> {
        let text = request.head.uri.query().unwrap_or_default();
        let (place, query) = place(&self.schema, text)?;
        let epoch = self.database.epoch();
        let start = match request.header(LAST_EVENT_ID).filter(|id| !id.is_empty()) {
            // what is no id of ours is none of this database
            Some(id) => after(id).unwrap_or(Start::After { epoch: !epoch, sequence: 0 }),
            None => place.unwrap_or(Start::Current),
        };
        let asked = Asked { filter, query: &query, start };
        let watch = self.watch(services, &request.identity, asked)?;
        let body = if request.head.method == Method::HEAD {
            Body::default()
        } else {
            let lens = Rc::clone(&watch.lens);
            let outbox = services.subscriptions.outbox(Protocol::EventStream);
            let subscription = services.subscriptions.subscribe(&outbox, watch)?;
            let http = &services.config.http;
            let (settings, heartbeat) = (http.event_stream, heartbeat(http));
            Body::stream(Box::pin(Frames {
                outbox,
                _subscription: subscription,
                form: Form { lens, epoch, are_named: settings.are_named },
                begins: Some(beginning(&settings)),
                is_over: false,
                sent: Instant::now(),
                heartbeat,
                timer: Box::pin(sleep(heartbeat)),
            }))
            .event_stream()
        };
        let mut response = exchange::response(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        // when it ends, the client is to ask another worker or server
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        headers.insert(header::VARY, reply::VARY);
        Ok(response)
    }
}

/// Time between signs of life. Each also tells the connection that the client still takes what it is sent.
fn heartbeat(http: &Http) -> Duration {
    let limit = http.timeouts.request;
    let half = if limit.is_zero() { Duration::MAX } else { limit / 2 };
    http.event_stream.heartbeat.min(half)
}

/// The first line: the client knows at once that it is heard.
fn beginning(settings: &EventStream) -> Bytes {
    Bytes::from(format!("retry: {}\n\n", settings.retry.as_millis()))
}

/// Where to go on after an event's id.
fn after(id: &str) -> Option<Start> {
    let (epoch, sequence) = id.split_once('-')?;
    let epoch = u64::from_str_radix(epoch, 16).ok()?;
    Some(Start::After { epoch, sequence: sequence.parse().ok()? })
}

/// A stream of parts, each of one event or of several that came together.
struct Frames {
    outbox: Rc<Outbox>,
    /// Ends with the stream.
    _subscription: Subscription,
    form: Form,
    begins: Option<Bytes>,
    is_over: bool,
    /// When something was sent last.
    sent: Instant,
    heartbeat: Duration,
    timer: Pin<Box<Sleep>>,
}

/// How deliveries are written.
struct Form {
    lens: Rc<dyn Lens>,
    epoch: u64,
    are_named: bool,
}

impl Stream for Frames {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let this = &mut *self;
        if let Some(begins) = this.begins.take() {
            return Poll::Ready(Some(Ok(begins)));
        }
        match this.gather(cx) {
            Ok(part) if !part.is_empty() => {
                this.sent = Instant::now();
                return Poll::Ready(Some(Ok(part)));
            }
            Ok(_) if this.is_over => return Poll::Ready(None),
            Ok(_) => {}
            Err(failure) => {
                this.is_over = true;
                return Poll::Ready(Some(Err(BodyError(failure.message.into_owned()))));
            }
        }
        while this.timer.as_mut().poll(cx).is_ready() {
            let is_due = this.sent.elapsed() >= this.heartbeat;
            if is_due {
                this.sent = Instant::now();
            }
            this.timer.as_mut().reset(this.sent + this.heartbeat);
            if is_due {
                return Poll::Ready(Some(Ok(HEARTBEAT)));
            }
        }
        Poll::Pending
    }
}

impl Frames {
    /// What there is to send now; empty when nothing is. A single event is not copied.
    fn gather(&mut self, cx: &Context<'_>) -> Answer<Bytes> {
        let (mut first, mut more) = (Bytes::new(), BytesMut::new());
        while !self.is_over && first.len() + more.len() < PART_BYTES {
            let Poll::Ready(Delivery { what, .. }) = self.outbox.poll_next(cx) else { break };
            self.is_over = matches!(what, What::End(_));
            let frame = self.form.frame(&what)?;
            if first.is_empty() {
                first = frame;
                continue;
            }
            if more.is_empty() {
                more.extend_from_slice(&first);
            }
            more.extend_from_slice(&frame);
        }
        Ok(if more.is_empty() { first } else { more.freeze() })
    }
}

impl Form {
    /// A delivery as it is sent.
    fn frame(&self, what: &What) -> Answer<Bytes> {
        let end = |reason| format!("event: end\ndata: {{\"reason\":\"{reason}\"}}\n\n").into();
        Ok(match what {
            What::Told(told, way) => self.event(told, *way)?,
            // no event: the place alone
            What::Complete(sequence) => format!("id: {:x}-{sequence}\n\n", self.epoch).into(),
            What::Reset => Bytes::from_static(RESET),
            What::End(End::Rights) => end("the right to read has changed"),
            What::End(End::Stopping) => end("the server stops"),
            What::End(End::Failed) => end("the table cannot be read"),
            What::End(End::TooSlow) => end("messages came faster than they were taken"),
        })
    }

    /// An event; the same bytes for all who are shown the same.
    fn event(&self, told: &Told, way: Way) -> Answer<Bytes> {
        let name = if self.are_named { "named frame" } else { "frame" };
        told.form(name, way, &*self.lens, || {
            let json = told.json(way, &*self.lens)?;
            let mut frame = Vec::with_capacity(json.len() + 64);
            // a record that was there is no place in the log, and neither is a message that is not in it
            if way != Way::Current && told.event.sequence != 0 {
                let id = format!("id: {:x}-{}\n", self.epoch, told.event.sequence);
                frame.extend_from_slice(id.as_bytes());
            }
            if self.are_named {
                frame.extend_from_slice(format!("event: {}\n", told.kind(way)).as_bytes());
            }
            frame.extend_from_slice(b"data: ");
            frame.extend_from_slice(&json);
            frame.extend_from_slice(b"\n\n");
            Ok(frame.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back() {
        assert_eq!(after("ff-7"), Some(Start::After { epoch: 255, sequence: 7 }));
        for wrong in ["", "7", "ff-", "-7", "zz-7", "ff-7x"] {
            assert_eq!(after(wrong), None, "{wrong}");
        }
    }
}
