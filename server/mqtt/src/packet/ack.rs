//! PUBACK, PUBREC, PUBREL and PUBCOMP (§3.4 to §3.7).

use crate::basic::{PacketId, Version};
use crate::encode::Sink;
use crate::error::Error;
use crate::place::Place;
use crate::property::Properties;
use crate::read::Reader;
use crate::reason::Reason;

/// A step in the delivery of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Which message.
    pub id: PacketId,
    /// What came of it; always success before MQTT 5.
    pub reason: Reason,
    /// Its properties; none before MQTT 5.
    pub properties: Properties,
}

impl Ack {
    /// That all is well.
    #[must_use]
    pub fn success(id: PacketId) -> Self {
        Self::new(id, Reason::Success)
    }

    /// With a reason and no properties.
    #[must_use]
    pub fn new(id: PacketId, reason: Reason) -> Self {
        Self { id, reason, properties: Properties::default() }
    }

    pub(crate) fn read(reader: &mut Reader, version: Version, place: Place) -> Result<Self, Error> {
        let id = reader.packet_id()?;
        if !version.is_v5() || reader.is_empty() {
            return Ok(Self::success(id));
        }
        let reason = read_reason(reader, place)?;
        let properties = Properties::read_to_end(reader, place)?;
        Ok(Self { id, reason, properties })
    }

    pub(crate) fn write<S: Sink>(&self, version: Version, sink: &mut S) {
        sink.packet_id(self.id);
        if version.is_v5() {
            write_ending(self.reason, &self.properties, sink);
        }
    }
}

/// A reason code that may stand in this packet.
pub(super) fn read_reason(reader: &mut Reader, place: Place) -> Result<Reason, Error> {
    let reason = Reason::from_code(reader.u8()?);
    let allowed = reason.filter(|reason| reason.places().meets(place));
    allowed.ok_or(Error::malformed("a reason code may not stand in this packet"))
}

/// A reason and properties at the end of a packet, in their shortest form (§3.4.2.1).
pub(super) fn write_ending<S: Sink>(reason: Reason, properties: &Properties, sink: &mut S) {
    if reason == Reason::Success && properties.is_empty() {
        return;
    }
    sink.u8(reason.code());
    if !properties.is_empty() {
        properties.write(sink);
    }
}
