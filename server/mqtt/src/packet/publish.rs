//! PUBLISH (§3.3).

use crate::basic::{PacketId, Qos, Text, Version};
use crate::encode::{Sink, first_byte};
use crate::error::Error;
use crate::place::{Place, Role};
use crate::property::{Properties, TOPIC_ALIAS};
use crate::read::Reader;
use crate::topic;
use bytes::Bytes;

/// Quality of service and packet identifier: only a message above QoS 0 has one (MQTT-2.2.1-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce(PacketId),
    /// QoS 2.
    ExactlyOnce(PacketId),
}

impl Delivery {
    /// The quality of service.
    #[must_use]
    pub const fn qos(self) -> Qos {
        match self {
            Self::AtMostOnce => Qos::AtMostOnce,
            Self::AtLeastOnce(_) => Qos::AtLeastOnce,
            Self::ExactlyOnce(_) => Qos::ExactlyOnce,
        }
    }

    /// The packet identifier.
    #[must_use]
    pub const fn id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce(id) | Self::ExactlyOnce(id) => Some(id),
        }
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Whether it was sent before.
    pub dup: bool,
    /// Quality of service, with the packet identifier.
    pub delivery: Delivery,
    /// To a server: whether to retain it. From a server: whether it was retained.
    pub retain: bool,
    /// The topic's name; empty when the property Topic Alias stands for it.
    pub topic: Text,
    /// Its properties; none before MQTT 5.
    pub properties: Properties,
    /// What it says.
    pub payload: Bytes,
}

impl Publish {
    pub(crate) fn read(
        flags: u8,
        mut reader: Reader,
        version: Version,
        role: Role,
    ) -> Result<Self, Error> {
        let dup = flags & 0b1000 != 0;
        let qos = Qos::from_bits((flags >> 1) & 0b11);
        let qos = qos.ok_or(Error::malformed("a QoS is 3"))?;
        if dup && qos == Qos::AtMostOnce && version != Version::V31 {
            return Err(Error::malformed("a QoS 0 message says that it was sent before"));
        }
        let topic = reader.text()?;
        let delivery = match qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce(reader.packet_id()?),
            Qos::ExactlyOnce => Delivery::ExactlyOnce(reader.packet_id()?),
        };
        let properties = if version.is_v5() {
            Properties::read(&mut reader, Place::publish(role))?
        } else {
            Properties::default()
        };
        match (topic.is_empty() && version.is_v5(), properties.get(&TOPIC_ALIAS)) {
            (true, Some(_)) => {}
            (true, None) => return Err(Error::protocol("a message has neither topic nor alias")),
            (false, _) => topic::check_name(&topic)?,
        }
        let retain = flags & 1 != 0;
        Ok(Self { dup, delivery, retain, topic, properties, payload: reader.rest() })
    }

    pub(crate) fn first_byte(&self) -> u8 {
        first_byte(self.dup, self.delivery.qos(), self.retain)
    }

    pub(crate) fn write<S: Sink>(&self, version: Version, sink: &mut S) {
        sink.field(self.topic.as_bytes());
        if let Some(id) = self.delivery.id() {
            sink.packet_id(id);
        }
        if version.is_v5() {
            self.properties.write(sink);
        }
        sink.slice(&self.payload);
    }
}
