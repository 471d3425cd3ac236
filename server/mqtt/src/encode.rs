//! Packets to bytes.

use crate::basic::{PacketId, Qos, Text, VARINT_MAX, Version};
use crate::packet::{Delivery, Packet};
use crate::property::Properties;
use bytes::{BufMut, Bytes, BytesMut};

/// A packet is larger than its reader takes, or than any may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packet is larger than its reader takes")]
pub struct TooLarge;

/// Where the fields of a packet go: into a buffer, or into a count of their bytes. One function per packet serves both,
/// so that a length never disagrees with what follows it.
pub(crate) trait Sink {
    fn slice(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.slice(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.slice(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.slice(&value.to_be_bytes());
    }

    /// A Variable Byte Integer (§1.5.5) in its shortest form.
    fn varint(&mut self, mut value: u32) {
        loop {
            let byte = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                return self.u8(byte);
            }
            self.u8(byte | 0x80);
        }
    }

    /// A string or binary data, with two bytes of length. Their types hold no more than these can say.
    fn field(&mut self, bytes: &[u8]) {
        self.u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
        self.slice(bytes);
    }

    fn packet_id(&mut self, id: PacketId) {
        self.u16(id.get());
    }
}

impl Sink for BytesMut {
    fn slice(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }
}

/// Counts.
#[derive(Debug, Default)]
pub(crate) struct Length(usize);

impl Length {
    /// What was counted; more than a packet can have becomes a number that is refused.
    pub(crate) fn bytes(&self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl Sink for Length {
    fn slice(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// Writes a packet at the end of `out`. What explains an answer (Reason String, User Properties) is left out when the
/// packet would else be larger than `bytes_max`.
///
/// # Errors
/// When it is larger all the same; then nothing is written.
pub fn encode(
    packet: &Packet,
    version: Version,
    bytes_max: u32,
    out: &mut BytesMut,
) -> Result<(), TooLarge> {
    if put(packet, version, bytes_max, out).is_ok() {
        return Ok(());
    }
    let shorter = packet.without_explanations().ok_or(TooLarge)?;
    put(&shorter, version, bytes_max, out)
}

fn put(
    packet: &Packet,
    version: Version,
    bytes_max: u32,
    out: &mut BytesMut,
) -> Result<(), TooLarge> {
    let mut length = Length::default();
    packet.write(version, &mut length);
    head(packet.first_byte(), length.bytes(), bytes_max, out)?;
    packet.write(version, out);
    Ok(())
}

/// Writes a fixed header, and makes room for what follows.
fn head(first: u8, remaining: u32, bytes_max: u32, out: &mut BytesMut) -> Result<(), TooLarge> {
    let mut header = Length::default();
    header.varint(remaining);
    let whole = remaining.saturating_add(1 + header.bytes());
    if remaining > VARINT_MAX || whole > bytes_max {
        return Err(TooLarge);
    }
    out.reserve(usize::try_from(whole).unwrap_or(usize::MAX));
    out.u8(first);
    out.varint(remaining);
    Ok(())
}

/// What differs between the subscribers of one message.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Which form the packet has.
    pub version: Version,
    /// Whether it was sent before.
    pub dup: bool,
    /// Quality of service, with the packet identifier.
    pub delivery: Delivery,
    /// The retain flag.
    pub retain: bool,
    /// What stands in place of the topic's name, and whether the name goes with it this once.
    pub alias: Option<(u16, bool)>,
    /// What is left of the message's expiry, seconds.
    pub expiry_s: Option<u32>,
    /// The subscriptions that it comes by.
    pub subscription_ids: &'a [u32],
    /// The greatest packet that the client takes.
    pub bytes_max: u32,
}

/// Writes a PUBLISH to one of many subscribers: `properties` are the bytes of those that are the same for all, without
/// a length.
///
/// # Errors
/// When the client does not take a packet of this size (MQTT-3.1.2-24); then nothing is written.
pub fn encode_publish(
    outgoing: &Outgoing<'_>,
    topic: &Text,
    properties: &Bytes,
    payload: &[u8],
    out: &mut BytesMut,
) -> Result<(), TooLarge> {
    let Outgoing { version, dup, delivery, retain, .. } = *outgoing;
    let mut length = Length::default();
    outgoing.write(topic, properties, &mut length);
    length.slice(payload);
    let first = first_byte(dup, delivery.qos(), retain);
    debug_assert!(version.is_v5() || outgoing.alias.is_none());
    head(first, length.bytes(), outgoing.bytes_max, out)?;
    outgoing.write(topic, properties, out);
    out.slice(payload);
    Ok(())
}

/// The first byte of a PUBLISH (§3.3.1).
pub(crate) fn first_byte(dup: bool, qos: Qos, retain: bool) -> u8 {
    0x30 | u8::from(dup) << 3 | qos.bits() << 1 | u8::from(retain)
}

impl Outgoing<'_> {
    /// The variable header.
    fn write<S: Sink>(&self, topic: &Text, properties: &Bytes, sink: &mut S) {
        let is_named = self.alias.is_none_or(|(_, is_named)| is_named);
        sink.field(if is_named { topic.as_bytes() } else { b"" });
        if let Some(id) = self.delivery.id() {
            sink.packet_id(id);
        }
        if !self.version.is_v5() {
            return;
        }
        let mut length = Length::default();
        self.write_own(&mut length);
        length.slice(properties);
        sink.varint(length.bytes());
        self.write_own(sink);
        sink.slice(properties);
    }

    /// The properties that are this subscriber's own.
    fn write_own<S: Sink>(&self, sink: &mut S) {
        use crate::property::{MESSAGE_EXPIRY, SUBSCRIPTION_ID, TOPIC_ALIAS};
        if let Some(expiry_s) = self.expiry_s {
            sink.u8(MESSAGE_EXPIRY.id());
            sink.u32(expiry_s);
        }
        if let Some((alias, _)) = self.alias {
            sink.u8(TOPIC_ALIAS.id());
            sink.u16(alias);
        }
        for id in self.subscription_ids {
            sink.u8(SUBSCRIPTION_ID.id());
            sink.varint(*id);
        }
    }
}

/// The bytes of the properties that a server passes on as they came (MQTT-3.3.2-4, MQTT-3.3.2-15 to -20), without a length.
#[must_use]
pub fn passed_on(properties: &Properties) -> Bytes {
    use crate::property::{MESSAGE_EXPIRY, SUBSCRIPTION_ID, TOPIC_ALIAS, WILL_DELAY};
    if properties.is_empty() {
        return Bytes::new();
    }
    let mut rest = properties.clone();
    rest.remove(&MESSAGE_EXPIRY);
    rest.remove(&SUBSCRIPTION_ID);
    rest.remove(&TOPIC_ALIAS);
    rest.remove(&WILL_DELAY);
    rest.to_bytes()
}
