//! One event as the subscribers of a worker hear it: encoded once for each form and each way of looking at it, however
//! many hear it.

use super::lens::Lens;
use crate::content::json;
use crate::error::Answer;
use bytes::Bytes;
use harper_store::{Event, Operation};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a hybrid logical clock counts in a millisecond.
const TICKS_PER_MS: f64 = 65_536.0;

/// Encoded forms that are kept of one event. Who looks at it in yet another way encodes it anew.
const FORMS_MAX: usize = 32;

/// How an event comes to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The record was there when the subscription began; MQTT calls it retained.
    Current,
    /// It happened: a change or a message.
    Change,
    /// The record was changed so that it no longer meets the conditions of the subscription: for the subscriber it is
    /// deleted.
    Gone,
}

/// An event on this worker.
pub(crate) struct Told {
    /// What happened.
    pub event: Arc<Event>,
    /// When this process had committed it; none for what was read from the log or from a table.
    committed: Option<Instant>,
    forms: RefCell<Vec<Form>>,
    held: HeldBytes,
}

/// An encoded form.
struct Form {
    name: &'static str,
    way: Way,
    lens: Box<str>,
    bytes: Bytes,
}

/// Bytes of events that a worker holds; each event gives its own back.
#[derive(Clone, Default)]
pub(super) struct HeldTotal(Rc<Cell<usize>>);

struct HeldBytes {
    total: HeldTotal,
    bytes: Cell<usize>,
}

impl HeldTotal {
    /// The bytes now.
    pub(super) fn get(&self) -> usize {
        self.0.get()
    }
}

impl HeldBytes {
    fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
        self.total.0.set(self.total.0.get() + bytes);
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.total.0.set(self.total.0.get() - self.bytes.get());
    }
}

impl Told {
    pub(super) fn new(
        event: Arc<Event>,
        committed: Option<Instant>,
        total: &HeldTotal,
    ) -> Rc<Self> {
        let held = HeldBytes { total: total.clone(), bytes: Cell::new(0) };
        held.add(event.bytes());
        Rc::new(Self { event, committed, forms: RefCell::default(), held })
    }

    /// Memory that it takes, about.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        self.event.bytes()
    }

    /// Time since it was committed, for what has just been.
    pub(super) fn latency(&self) -> Option<Duration> {
        self.committed.map(|committed| committed.elapsed())
    }

    /// What `make` encodes, which is kept under `name` for all who look through an equal lens.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn form(
        &self,
        name: &'static str,
        way: Way,
        lens: &dyn Lens,
        make: impl FnOnce() -> Answer<Bytes>,
    ) -> Answer<Bytes> {
        let Some(tag) = lens.tag() else { return make() };
        let is_it = |form: &&Form| form.name == name && form.way == way && *form.lens == *tag;
        if let Some(form) = self.forms.borrow().iter().find(is_it) {
            return Ok(form.bytes.clone());
        }
        let bytes = make()?;
        let mut forms = self.forms.borrow_mut();
        if forms.len() < FORMS_MAX {
            self.held.add(bytes.len());
            forms.push(Form { name, way, lens: tag.into(), bytes: bytes.clone() });
        }
        Ok(bytes)
    }

    /// The record as JSON, or the bytes of the message, as the subscriber sees it: what MQTT carries. None for a record
    /// that is deleted, and for what the subscriber may not see.
    ///
    /// # Errors
    /// 500 when a stored record cannot be read.
    pub(crate) fn payload(&self, way: Way, lens: &dyn Lens) -> Answer<Option<Bytes>> {
        if way == Way::Gone || self.event.operation == Operation::Delete {
            return Ok(None);
        }
        // nothing of an empty message is hidden from anybody
        let is_empty = self.event.body.as_ref().is_some_and(Bytes::is_empty);
        if lens.is_plain() || is_empty {
            return Ok(self.event.body.clone());
        }
        let payload = self.form("payload", way, lens, || {
            let mut out = Vec::new();
            // no form of a record or a message that is shown is empty
            if !lens.show(&self.event, &mut out)? {
                out.clear();
            }
            Ok(out.into())
        })?;
        Ok(Some(payload).filter(|payload| !payload.is_empty()))
    }

    /// The event as an object: `id`, `localTime`, `value`, `version`, `type` (`put`, `delete` or `message`). The times are
    /// milliseconds since 1970; the fraction tells writes of one millisecond apart.
    ///
    /// # Errors
    /// As [`Told::payload`].
    pub(crate) fn json(&self, way: Way, lens: &dyn Lens) -> Answer<Bytes> {
        self.form("event", way, lens, || {
            let time = self.event.version as f64 / TICKS_PER_MS;
            let payload = self.payload(way, lens)?;
            let mut out = Vec::with_capacity(96 + payload.as_ref().map_or(0, Bytes::len));
            out.extend_from_slice(b"{\"id\":");
            out.extend_from_slice(self.event.key.to_json().as_bytes());
            out.extend_from_slice(format!(",\"localTime\":{time}").as_bytes());
            if let Some(payload) = payload {
                out.extend_from_slice(b",\"value\":");
                match self.event.operation {
                    Operation::Message => push_message(&payload, &mut out),
                    Operation::Put | Operation::Delete => out.extend_from_slice(&payload),
                }
            }
            let kind = self.kind(way);
            out.extend_from_slice(format!(",\"version\":{time},\"type\":\"{kind}\"}}").as_bytes());
            Ok(out.into())
        })
    }

    /// The event's `type`.
    #[must_use]
    pub(crate) fn kind(&self, way: Way) -> &'static str {
        match self.event.operation {
            Operation::Put if way == Way::Gone => "delete",
            Operation::Put => "put",
            Operation::Delete => "delete",
            Operation::Message => "message",
        }
    }
}

/// Appends a message as a JSON value: itself when it is JSON, else as text, else as base64.
fn push_message(message: &[u8], out: &mut Vec<u8>) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    if let Ok(value) = serde_json::from_slice::<&serde_json::value::RawValue>(message) {
        // a line break within it would end a line of an event stream
        let is_one_line = !value.get().contains(['\n', '\r']);
        match is_one_line {
            true => out.extend_from_slice(value.get().as_bytes()),
            false => push_compact(value.get(), out),
        }
        return;
    }
    match std::str::from_utf8(message) {
        Ok(text) => json::push_string(text, out),
        Err(_) => json::push_string(&STANDARD.encode(message), out),
    }
}

/// Appends JSON text without the white space between its tokens.
fn push_compact(text: &str, out: &mut Vec<u8>) {
    let (mut is_string, mut is_escaped) = (false, false);
    for byte in text.bytes() {
        if is_string || !byte.is_ascii_whitespace() {
            out.push(byte);
        }
        if is_escaped {
            is_escaped = false;
        } else if is_string && byte == b'\\' {
            is_escaped = true;
        } else if byte == b'"' {
            is_string = !is_string;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lens::Whole;
    use super::*;
    use harper_store::{Key, KeyValue, TableId};

    fn told(operation: Operation, body: Option<&'static [u8]>) -> Rc<Told> {
        let event = Event {
            table: TableId { database: 0, table: 0 },
            sequence: 7,
            version: (1_700_000_000_000 << 16) + (1 << 15),
            origin: 0,
            operation,
            key: Key::encode(&KeyValue::String("a\"b".into())).unwrap(),
            body: body.map(Bytes::from_static),
            is_content: false,
            expires_ms: 0,
            extra: Bytes::new(),
        };
        Told::new(Arc::new(event), None, &HeldTotal::default())
    }

    fn json(operation: Operation, body: Option<&'static [u8]>, way: Way) -> serde_json::Value {
        let text = told(operation, body).json(way, &Whole).unwrap();
        assert!(!text.contains(&b'\n'));
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn an_event_is_an_object_with_its_type() {
        let put = json(Operation::Put, Some(br#"{"id":"a","n":1}"#), Way::Change);
        assert_eq!(put["id"], "a\"b");
        assert_eq!(put["value"]["n"], 1);
        assert_eq!(put["type"], "put");
        assert_eq!(put["version"], 1_700_000_000_000.5);
        assert_eq!(put["localTime"], put["version"]);
        let gone = json(Operation::Put, Some(b"{}"), Way::Gone);
        assert_eq!((gone["type"].as_str(), gone.get("value")), (Some("delete"), None));
        let deleted = json(Operation::Delete, None, Way::Change);
        assert_eq!((deleted["type"].as_str(), deleted.get("value")), (Some("delete"), None));
    }

    #[test]
    fn a_message_is_json_or_text_or_base64() {
        let value = |body| json(Operation::Message, Some(body), Way::Change)["value"].clone();
        assert_eq!(value(b"{\n \"a b\": \"x\\\" y\" }"), serde_json::json!({"a b": "x\" y"}));
        assert_eq!(value(b"[1]"), serde_json::json!([1]));
        assert_eq!(value(b"two\nlines"), "two\nlines");
        assert_eq!(value(b"\xff"), "/w==");
        let empty = json(Operation::Message, Some(b""), Way::Change);
        assert_eq!(empty["value"], "");
    }

    #[test]
    fn what_is_encoded_once_is_shared() {
        let told = told(Operation::Put, Some(b"{}"));
        let first = told.json(Way::Change, &Whole).unwrap();
        let second = told.json(Way::Change, &Whole).unwrap();
        assert_eq!(first.as_ptr(), second.as_ptr());
        assert_ne!(first, told.json(Way::Gone, &Whole).unwrap());
    }

    #[test]
    fn what_is_held_is_given_back() {
        let total = HeldTotal::default();
        let event = told(Operation::Put, Some(b"{}")).event.clone();
        let told = Told::new(event, None, &total);
        assert_eq!(total.get(), told.bytes());
        drop(told);
        assert_eq!(total.get(), 0);
    }
}
