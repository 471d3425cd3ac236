//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK (§3.8 to §3.11).

use crate::basic::{PacketId, Qos, Version};
use crate::encode::Sink;
use crate::error::Error;
use crate::place::Place;
use crate::property::Properties;
use crate::read::Reader;
use crate::reason::Reason;
use crate::topic::Filter;

/// When what is retained is sent for a subscription (§3.8.3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RetainHandling {
    /// With every SUBSCRIBE.
    #[default]
    Send,
    /// If the subscription is new.
    SendIfNew,
    /// Never.
    Never,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Of which topics.
    pub filter: Filter,
    /// The greatest quality of service.
    pub qos: Qos,
    /// Whether what the client itself publishes is left out.
    pub no_local: bool,
    /// Whether the retain flag is kept as published.
    pub retain_as_published: bool,
    /// When what is retained is sent.
    pub retain_handling: RetainHandling,
}

/// A client asks for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Which request.
    pub id: PacketId,
    /// Its properties; none before MQTT 5.
    pub properties: Properties,
    /// At least one.
    pub subscriptions: Vec<Subscription>,
}

/// A client asks for no more messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Which request.
    pub id: PacketId,
    /// Its properties; none before MQTT 5.
    pub properties: Properties,
    /// At least one.
    pub filters: Vec<Filter>,
}

/// The answer to either: a reason for each filter, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suback {
    /// Which request.
    pub id: PacketId,
    /// Its properties; none before MQTT 5.
    pub properties: Properties,
    /// A reason for each filter. UNSUBACK has none before MQTT 5.
    pub reasons: Vec<Reason>,
}

/// The head of all of them.
fn read_head(
    reader: &mut Reader,
    version: Version,
    place: Place,
) -> Result<(PacketId, Properties), Error> {
    let id = reader.packet_id()?;
    let properties =
        if version.is_v5() { Properties::read(reader, place)? } else { Properties::default() };
    Ok((id, properties))
}

fn write_head<S: Sink>(id: PacketId, properties: &Properties, version: Version, sink: &mut S) {
    sink.packet_id(id);
    if version.is_v5() {
        properties.write(sink);
    }
}

impl Subscribe {
    pub(crate) fn read(reader: &mut Reader, version: Version) -> Result<Self, Error> {
        let (id, properties) = read_head(reader, version, Place::SUBSCRIBE)?;
        let mut subscriptions = Vec::new();
        while !reader.is_empty() {
            subscriptions.push(Subscription::read(reader, version)?);
        }
        if subscriptions.is_empty() {
            return Err(Error::protocol("SUBSCRIBE has no topic filter"));
        }
        Ok(Self { id, properties, subscriptions })
    }

    pub(crate) fn write<S: Sink>(&self, version: Version, sink: &mut S) {
        write_head(self.id, &self.properties, version, sink);
        for subscription in &self.subscriptions {
            subscription.write(version, sink);
        }
    }
}

impl Subscription {
    /// A subscription without options.
    #[must_use]
    pub const fn new(filter: Filter, qos: Qos) -> Self {
        Self {
            filter,
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        }
    }

    fn read(reader: &mut Reader, version: Version) -> Result<Self, Error> {
        let filter = Filter::new(reader.text()?)?;
        let options = reader.u8()?;
        let qos = Qos::from_bits(options & 0b11).ok_or(Error::malformed("a QoS is 3"))?;
        // before MQTT 5 all other bits are reserved (3.1.1: MQTT-3.8.3-4); MQTT 3.1 has them ignored
        let reserved = match version {
            Version::V31 => 0,
            Version::V311 => 0b1111_1100,
            Version::V5 => 0b1100_0000,
        };
        if options & reserved != 0 {
            return Err(Error::malformed("reserved bits of subscription options are set"));
        }
        if !version.is_v5() {
            return Ok(Self::new(filter, qos));
        }
        let no_local = options & 0b100 != 0;
        if no_local && filter.share().is_some() {
            return Err(Error::protocol("a shared subscription has the option No Local"));
        }
        let retain_handling = match (options >> 4) & 0b11 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::Never,
            _ => return Err(Error::protocol("Retain Handling is 3")),
        };
        Ok(Self {
            filter,
            qos,
            no_local,
            retain_as_published: options & 0b1000 != 0,
            retain_handling,
        })
    }

    fn write<S: Sink>(&self, version: Version, sink: &mut S) {
        sink.field(self.filter.whole().as_bytes());
        let mut options = self.qos.bits();
        if version.is_v5() {
            options |= u8::from(self.no_local) << 2
                | u8::from(self.retain_as_published) << 3
                | (self.retain_handling as u8) << 4;
        }
        sink.u8(options);
    }
}

impl Unsubscribe {
    pub(crate) fn read(reader: &mut Reader, version: Version) -> Result<Self, Error> {
        let (id, properties) = read_head(reader, version, Place::UNSUBSCRIBE)?;
        let mut filters = Vec::new();
        while !reader.is_empty() {
            filters.push(Filter::new(reader.text()?)?);
        }
        if filters.is_empty() {
            return Err(Error::protocol("UNSUBSCRIBE has no topic filter"));
        }
        Ok(Self { id, properties, filters })
    }

    pub(crate) fn write<S: Sink>(&self, version: Version, sink: &mut S) {
        write_head(self.id, &self.properties, version, sink);
        for filter in &self.filters {
            sink.field(filter.whole().as_bytes());
        }
    }
}

impl Suback {
    pub(crate) fn read(reader: &mut Reader, version: Version, place: Place) -> Result<Self, Error> {
        let (id, properties) = read_head(reader, version, place)?;
        let mut reasons = Vec::new();
        let has_reasons = version.is_v5() || place == Place::SUBACK;
        while has_reasons && !reader.is_empty() {
            let reason = super::ack::read_reason(reader, place)?;
            let is_known = version.is_v5() || reason.suback_v3() == reason.code();
            if !is_known {
                return Err(Error::malformed("a return code is reserved"));
            }
            reasons.push(reason);
        }
        if has_reasons && reasons.is_empty() {
            return Err(Error::protocol("an answer has no reason codes"));
        }
        Ok(Self { id, properties, reasons })
    }

    /// As SUBACK, which has reasons in every version, or as UNSUBACK.
    pub(crate) fn write<S: Sink>(&self, version: Version, is_suback: bool, sink: &mut S) {
        write_head(self.id, &self.properties, version, sink);
        for reason in &self.reasons {
            match (version.is_v5(), is_suback) {
                (true, _) => sink.u8(reason.code()),
                (false, true) => sink.u8(reason.suback_v3()),
                (false, false) => {}
            }
        }
    }
}
