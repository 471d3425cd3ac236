//! What is kept of a message beside its payload, so that subscribers of MQTT get it as it was published. Other protocols
//! tell the payload alone.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use harper_mqtt::{PacketId, Qos, Text};
use harper_store::{Event, Operation};

/// What else there is to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extra {
    /// The quality of service that it was published with.
    pub qos: Qos,
    /// Number of the client that published it; 0 for what no client has.
    pub publisher: u64,
    /// Properties of MQTT 5 that are passed on, as bytes.
    pub properties: Bytes,
}

/// Bytes before the properties: QoS and publisher.
const HEAD_BYTES: usize = 9;

impl Extra {
    /// As it is kept.
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEAD_BYTES + self.properties.len());
        out.put_u8(self.qos.bits());
        out.put_u64(self.publisher);
        out.extend_from_slice(&self.properties);
        out.freeze()
    }

    /// What was kept with an event. What came over another protocol lasts, and so is told at any quality of service.
    pub(super) fn of(event: &Event) -> Self {
        let known = event.extra.split_first_chunk::<HEAD_BYTES>().and_then(|(head, _)| {
            let [bits, publisher @ ..] = head;
            let publisher = u64::from_be_bytes(*publisher);
            let properties = event.extra.slice(HEAD_BYTES..);
            Some(Self { qos: Qos::from_bits(*bits)?, publisher, properties })
        });
        known.unwrap_or(Self { qos: Qos::ExactlyOnce, publisher: 0, properties: Bytes::new() })
    }
}

/// A message above QoS 0 that a client has not answered.
#[derive(Clone, Debug)]
pub(super) struct Unanswered {
    /// Where it is in which log; none for what is in no log.
    pub place: Option<Place>,
    /// All that is sent again.
    pub message: Outgoing,
}

/// What is sent to one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    /// Its topic.
    pub topic: Text,
    /// Properties that are the same for all clients.
    pub properties: Bytes,
    /// What it says.
    pub payload: Bytes,
    /// The retain flag.
    pub retain: bool,
    /// Identifiers of the subscriptions that it comes by.
    pub ids: Vec<u32>,
    /// When it expires, milliseconds since 1970; 0 for never.
    pub expires_ms: u64,
}

impl Outgoing {
    /// As it is kept where the log will not tell it again.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        let Self { topic, properties, payload, retain, ids, expires_ms } = self;
        out.put_u64(*expires_ms);
        out.put_u8(u8::from(*retain));
        out.put_u32(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        ids.iter().for_each(|id| out.put_u32(*id));
        for part in [topic.as_bytes(), properties, payload] {
            out.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
            out.extend_from_slice(part);
        }
    }

    /// What [`encode`](Self::encode) wrote; none for anything else.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let expires_ms = bytes.try_get_u64().ok()?;
        let retain = bytes.try_get_u8().ok()? == 1;
        let count = bytes.try_get_u32().ok()?;
        let ids = (0..count).map(|_| bytes.try_get_u32().ok()).collect::<Option<_>>()?;
        let mut part = || {
            let len = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
            let (part, rest) = bytes.split_at_checked(len)?;
            bytes = rest;
            Some(Bytes::copy_from_slice(part))
        };
        let (topic, properties, payload) = (part()?, part()?, part()?);
        let topic = Text::try_from(std::str::from_utf8(&topic).ok()?).ok()?;
        Some(Self { topic, properties, payload, retain, ids, expires_ms })
    }
}

/// A message's place: which subscription of the session it came by, and where in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    /// The subscription's number in this connection.
    pub feed: u64,
    /// Sequence number in the table's log.
    pub sequence: u64,
    /// Whether it is a record that was there when the subscription began, for which no cursor waits.
    pub is_record: bool,
}

/// What is to be sent once it is durable that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Staged {
    /// PUBLISH of QoS 2.
    Publish(PacketId),
    /// PUBREL.
    Release(PacketId),
}

/// Whether a message of this kind is retained: a record is what was published last.
pub(super) fn is_retained(event: &Event) -> bool {
    !matches!(event.operation, Operation::Message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use harper_store::{Key, KeyValue, TableId};

    fn event(extra: Bytes) -> Event {
        Event {
            table: TableId { database: 0, table: 0 },
            sequence: 1,
            version: 1,
            origin: 0,
            operation: Operation::Put,
            key: Key::encode(&KeyValue::Integer(1)).unwrap(),
            body: None,
            is_content: false,
            expires_ms: 0,
            extra,
        }
    }

    #[test]
    fn a_message_that_is_kept_is_the_same() {
        let message = Outgoing {
            topic: Text::try_from("Dog/1").unwrap(),
            properties: Bytes::from_static(b"\x01\x01"),
            payload: Bytes::from_static(b"woof"),
            retain: true,
            ids: vec![7, 268_435_455],
            expires_ms: 12,
        };
        let mut kept = BytesMut::new();
        message.encode(&mut kept);
        assert_eq!(Outgoing::decode(&kept), Some(message));
        assert!((0..kept.len()).all(|len| Outgoing::decode(&kept[..len]).is_none()));
    }

    #[test]
    fn what_is_kept_is_found_again() {
        let properties = Bytes::from_static(b"\x01\x01");
        let extra = Extra { qos: Qos::AtLeastOnce, publisher: 77, properties };
        assert_eq!(Extra::of(&event(extra.encode())), extra);
        assert_eq!(Extra::of(&event(Bytes::new())).qos, Qos::ExactlyOnce);
    }
}
