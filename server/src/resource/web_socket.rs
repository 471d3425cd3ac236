//! A subscription over WebSocket: whoever connects to a record, a collection or a folder of keys is told what is there and what
//! happens. What clients send is not looked at.

use super::extension;
use super::subscribe::{Asked, place};
use super::table::{TableResource, Target};
use crate::content::{self, Format, Media};
use crate::error::{Answer, Code, Failure};
use crate::exchange::Request;
use crate::hub::{Delivery, End, Lens, Outbox, Start, Subscription, Told, Way, What};
use crate::metrics::Protocol;
use crate::services::Services;
use crate::ws::{self, Close, Deflate, Handler, Kind, Received, Serving, Socket};
use bytes::Bytes;
use harper_store::{Attribute, Kind as Type, TableSchema};
use std::borrow::Cow;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What a client hears whose place is in the log no more: what it knows is worth nothing, and what is there follows.
const RESET: &[u8] = b"{\"type\":\"reset\"}";

impl TableResource {
    /// What serves a socket to what `rest` names below the table's path.
    ///
    /// # Errors
    /// Those of [`TableResource::watch`]; 404 for what has no events, 406 for a type that there is not.
    pub(crate) fn connect(
        &self,
        services: &Services,
        request: &Request,
        rest: &str,
    ) -> Answer<Box<dyn Handler>> {
        if !self.has_sockets {
            let sentence = format!("/{} takes no WebSocket (rest.webSocket)", self.path);
            return Err(Failure::new(Code::NotFound, sentence));
        }
        let text = request.head.uri.query().unwrap_or_default();
        let (place, query) = place(&self.schema, text)?;
        let (rest, media) = extension::split(|name| self.declares(name), rest);
        let media = media.map_or_else(|| Media::negotiate(&request.head.headers), Ok)?;
        let target = Target::parse(rest, !query.is_empty(), |name| self.declares(name))?;
        let filter = self.watched(services, &target)?.ok_or_else(|| {
            let sentence = format!("/{} has no events; its records have: /{0}/", self.path);
            Failure::new(Code::NotFound, sentence)
        })?;
        let start = place.unwrap_or(Start::Current);
        let watch =
            self.watch(services, &request.identity, Asked { filter, query: &query, start })?;
        let lens = Rc::clone(&watch.lens);
        let outbox = services.subscriptions.outbox(Protocol::WebSocket);
        let subscription = services.subscriptions.subscribe(&outbox, watch)?;
        let form = Form::new(media.format, lens, &self.schema);
        Ok(Box::new(Listener { outbox, _subscription: subscription, form }))
    }
}

/// Tells a socket of a subscription.
struct Listener {
    outbox: Rc<Outbox>,
    /// Ends with the socket.
    _subscription: Subscription,
    form: Form,
}

impl Handler for Listener {
    fn serve(mut self: Box<Self>, socket: &mut Socket) -> Serving<'_> {
        self.form.deflate = socket.deflate();
        Box::pin(async move { poll_fn(|cx| self.poll(socket, cx)).await })
    }
}

impl Listener {
    /// Gets on, until there is a reason to close.
    fn poll(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<Close> {
        loop {
            if let Some(close) = self.tell(socket, cx) {
                return Poll::Ready(close);
            }
            match socket.poll_receive(cx) {
                Poll::Ready(Received::End) => {
                    return Poll::Ready(Close::new(Close::NORMAL, ""));
                }
                Poll::Ready(Received::Message(_) | Received::Room) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Sends what there is and has room; the reason to close, if there is one.
    fn tell(&self, socket: &mut Socket, cx: &Context<'_>) -> Option<Close> {
        while socket.has_room()
            && let Poll::Ready(Delivery { what, .. }) = self.outbox.poll_next(cx)
        {
            let frame = match what {
                What::Told(told, way) => self.form.event(&told, way),
                What::Reset => self.form.reset(),
                What::Complete(_) => continue,
                What::End(end) => return Some(closing(end)),
            };
            match frame {
                Ok(frame) => socket.send(frame),
                Err(failure) => return Some(Close::new(Close::ERROR, failure.message)),
            }
        }
        None
    }
}

/// How a client hears of the end of its subscription.
fn closing(end: End) -> Close {
    match end {
        End::Rights => Close::new(Close::FORBIDDEN, "the right to read has changed"),
        End::Stopping => Close::new(Close::AWAY, "the server stops"),
        End::Failed => Close::new(Close::ERROR, "the table cannot be read"),
        End::TooSlow => Close::new(Close::POLICY, "messages came faster than they were taken"),
    }
}

/// How events are written.
struct Form {
    lens: Rc<dyn Lens>,
    format: Format,
    /// The types of an event's members; for JSON there is no need of it.
    event: Option<Rc<TableSchema>>,
    deflate: Option<Deflate>,
}

impl Form {
    fn new(format: Format, lens: Rc<dyn Lens>, record: &Arc<TableSchema>) -> Self {
        let event = (format != Format::Json).then(|| Rc::new(event_schema(record)));
        Self { lens, format, event, deflate: None }
    }

    fn reset(&self) -> Answer<Bytes> {
        Ok(ws::frame(self.kind(), &self.message(RESET)?))
    }

    /// An event; the same bytes for all who are shown the same.
    fn event(&self, told: &Told, way: Way) -> Answer<Bytes> {
        let (plain, compressed) = self.names();
        let event = || told.json(way, &*self.lens);
        let plain = || {
            told.form(plain, way, &*self.lens, || {
                Ok(ws::frame(self.kind(), &self.message(&event()?)?))
            })
        };
        let Some(deflate) = self.deflate else { return plain() };
        let compress = || {
            let frame = deflate.frame(self.kind(), &self.message(&event()?)?);
            frame.map_or_else(plain, Ok)
        };
        match deflate.has_full_window() {
            true => told.form(compressed, way, &*self.lens, compress),
            false => compress(),
        }
    }

    /// JSON text in the format of the socket.
    fn message<'a>(&self, text: &'a [u8]) -> Answer<Cow<'a, [u8]>> {
        let Some(event) = &self.event else { return Ok(text.into()) };
        let mut out = Vec::with_capacity(text.len());
        content::encode(self.format, Some(event), text, &mut out)?;
        Ok(out.into())
    }

    fn kind(&self) -> Kind {
        match self.format {
            Format::Cbor | Format::MsgPack => Kind::Binary,
            Format::Json
            | Format::Yaml
            | Format::NdJson
            | Format::Text
            | Format::Csv
            | Format::Form => Kind::Text,
        }
    }

    /// Under which names a frame, and a compressed one, are kept for all.
    fn names(&self) -> (&'static str, &'static str) {
        match self.format {
            Format::Json => ("JSON frame", "compressed JSON frame"),
            Format::Cbor => ("CBOR frame", "compressed CBOR frame"),
            Format::MsgPack => ("MessagePack frame", "compressed MessagePack frame"),
            Format::Yaml => ("YAML frame", "compressed YAML frame"),
            Format::NdJson => ("NDJSON frame", "compressed NDJSON frame"),
            Format::Text => ("text frame", "compressed text frame"),
            Format::Csv => ("CSV frame", "compressed CSV frame"),
            Format::Form => ("form frame", "compressed form frame"),
        }
    }
}

/// The members of an event, with the types of the record in its value.
fn event_schema(record: &TableSchema) -> TableSchema {
    let key = record.attributes[record.primary_key].kind.clone();
    let attributes = vec![
        Attribute::new("id", key),
        Attribute::new("value", Type::Object(record.attributes.clone())),
    ];
    TableSchema::new(&record.database, &record.name, attributes)
}
