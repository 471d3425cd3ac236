//! What is kept of a message beside its payload, so that subscribers of MQTT get it as it was published. Other protocols
//! tell the payload alone.

use bytes::{BufMut, Bytes, BytesMut};
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
#[derive(Clone, Debug)]
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
    fn what_is_kept_is_found_again() {
        let properties = Bytes::from_static(b"\x01\x01");
        let extra = Extra { qos: Qos::AtLeastOnce, publisher: 77, properties };
        assert_eq!(Extra::of(&event(extra.encode())), extra);
        assert_eq!(Extra::of(&event(Bytes::new())).qos, Qos::ExactlyOnce);
    }
}
