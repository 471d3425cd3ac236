//! The control packets (§3).

mod ack;
mod connect;
mod ending;
mod publish;
mod subscribe;
#[cfg(test)]
mod tests;

use crate::basic::Version;
use crate::decode::Kind;
use crate::encode::Sink;
use crate::error::Error;
use crate::place::{Place, Role};
use crate::read::Reader;

pub use ack::Ack;
pub use connect::{Connack, Connect, Will};
pub use ending::{Auth, Disconnect};
pub use publish::{Delivery, Publish};
pub use subscribe::{RetainHandling, Suback, Subscribe, Subscription, Unsubscribe};

/// A control packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// A client asks for a session.
    Connect(Box<Connect>),
    /// The server's answer to CONNECT.
    Connack(Connack),
    /// A message.
    Publish(Publish),
    /// A QoS 1 message was received.
    Puback(Ack),
    /// A QoS 2 message was received.
    Pubrec(Ack),
    /// The sender of a QoS 2 message has forgotten it.
    Pubrel(Ack),
    /// The receiver of a QoS 2 message has forgotten its identifier.
    Pubcomp(Ack),
    /// A client asks for messages.
    Subscribe(Subscribe),
    /// The answer to SUBSCRIBE.
    Suback(Suback),
    /// A client asks for no more of them.
    Unsubscribe(Unsubscribe),
    /// The answer to UNSUBSCRIBE.
    Unsuback(Suback),
    /// A client shows that it lives.
    Pingreq,
    /// So does the server.
    Pingresp,
    /// The last packet of a connection.
    Disconnect(Disconnect),
    /// A step of an authentication.
    Auth(Auth),
}

/// Reads a CONNECT, and notes the version that it asks for.
pub(crate) fn read_connect(
    reader: &mut Reader,
    version: &mut Option<Version>,
) -> Result<Packet, Error> {
    Connect::read(reader, version).map(Box::new).map(Packet::Connect)
}

/// Reads any other packet, all of it.
pub(crate) fn read(
    kind: Kind,
    flags: u8,
    mut reader: Reader,
    version: Version,
    role: Role,
) -> Result<Packet, Error> {
    let from = &mut reader;
    let packet = match kind {
        // a decoder reads it elsewhere
        Kind::Connect => return Err(Error::protocol("a second CONNECT")),
        Kind::Publish => return Publish::read(flags, reader, version, role).map(Packet::Publish),
        Kind::Connack => Packet::Connack(Connack::read(from, version)?),
        Kind::Puback => Packet::Puback(Ack::read(from, version, Place::PUBACK)?),
        Kind::Pubrec => Packet::Pubrec(Ack::read(from, version, Place::PUBREC)?),
        Kind::Pubrel => Packet::Pubrel(Ack::read(from, version, Place::PUBREL)?),
        Kind::Pubcomp => Packet::Pubcomp(Ack::read(from, version, Place::PUBCOMP)?),
        Kind::Subscribe => Packet::Subscribe(Subscribe::read(from, version)?),
        Kind::Suback => Packet::Suback(Suback::read(from, version, Place::SUBACK)?),
        Kind::Unsubscribe => Packet::Unsubscribe(Unsubscribe::read(from, version)?),
        Kind::Unsuback => Packet::Unsuback(Suback::read(from, version, Place::UNSUBACK)?),
        Kind::Pingreq => Packet::Pingreq,
        Kind::Pingresp => Packet::Pingresp,
        Kind::Disconnect => Packet::Disconnect(Disconnect::read(from, version, role)?),
        Kind::Auth => Packet::Auth(Auth::read(from)?),
    };
    reader.end()?;
    Ok(packet)
}

impl Packet {
    /// The first byte: type and flags.
    pub(crate) fn first_byte(&self) -> u8 {
        match self {
            Self::Connect(_) => 0x10,
            Self::Connack(_) => 0x20,
            Self::Publish(publish) => publish.first_byte(),
            Self::Puback(_) => 0x40,
            Self::Pubrec(_) => 0x50,
            Self::Pubrel(_) => 0x62,
            Self::Pubcomp(_) => 0x70,
            Self::Subscribe(_) => 0x82,
            Self::Suback(_) => 0x90,
            Self::Unsubscribe(_) => 0xa2,
            Self::Unsuback(_) => 0xb0,
            Self::Pingreq => 0xc0,
            Self::Pingresp => 0xd0,
            Self::Disconnect(_) => 0xe0,
            Self::Auth(_) => 0xf0,
        }
    }

    /// All after the fixed header.
    pub(crate) fn write<S: Sink>(&self, version: Version, sink: &mut S) {
        match self {
            Self::Connect(connect) => connect.write(sink),
            Self::Connack(connack) => connack.write(version, sink),
            Self::Publish(publish) => publish.write(version, sink),
            Self::Puback(ack) | Self::Pubrec(ack) | Self::Pubrel(ack) | Self::Pubcomp(ack) => {
                ack.write(version, sink);
            }
            Self::Subscribe(subscribe) => subscribe.write(version, sink),
            Self::Suback(suback) => suback.write(version, true, sink),
            Self::Unsuback(unsuback) => unsuback.write(version, false, sink),
            Self::Unsubscribe(unsubscribe) => unsubscribe.write(version, sink),
            Self::Pingreq | Self::Pingresp => {}
            Self::Disconnect(disconnect) => disconnect.write(version, sink),
            Self::Auth(auth) => auth.write(sink),
        }
    }

    /// The packet without Reason String and User Properties, where these only explain.
    pub(crate) fn without_explanations(&self) -> Option<Self> {
        let mut shorter = self.clone();
        let properties = match &mut shorter {
            Self::Connack(Connack { properties, .. })
            | Self::Puback(Ack { properties, .. })
            | Self::Pubrec(Ack { properties, .. })
            | Self::Pubrel(Ack { properties, .. })
            | Self::Pubcomp(Ack { properties, .. })
            | Self::Suback(Suback { properties, .. })
            | Self::Unsuback(Suback { properties, .. })
            | Self::Disconnect(Disconnect { properties, .. })
            | Self::Auth(Auth { properties, .. }) => properties,
            _ => return None,
        };
        let rest = properties.without_explanations();
        let was_shortened = rest != *properties;
        *properties = rest;
        was_shortened.then_some(shorter)
    }
}
