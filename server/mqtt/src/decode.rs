//! Bytes to packets.

use crate::basic::Version;
use crate::error::Error;
use crate::packet::{self, Packet};
use crate::place::Role;
use crate::read::{self, Reader};
use crate::reason::Reason;
use bytes::{Buf, BytesMut};

/// Reads the packets of one connection.
#[derive(Debug, Clone)]
pub struct Decoder {
    role: Role,
    version: Option<Version>,
    bytes_max: u32,
}

/// The control packets by the number in their first byte (§2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Connack,
    Publish,
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
    Subscribe,
    Suback,
    Unsubscribe,
    Unsuback,
    Pingreq,
    Pingresp,
    Disconnect,
    Auth,
}

impl Decoder {
    /// A server's: the version is what the client's CONNECT says. A packet of more than `bytes_max` bytes, with its
    /// fixed header, is refused before they have come.
    #[must_use]
    pub const fn server(bytes_max: u32) -> Self {
        Self { role: Role::Server, version: None, bytes_max }
    }

    /// A client's, which knows the version.
    #[must_use]
    pub const fn client(version: Version, bytes_max: u32) -> Self {
        Self { role: Role::Client, version: Some(version), bytes_max }
    }

    /// The version of the connection. After a CONNECT that was refused, the one to answer in, if an answer is possible.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// Changes what a packet may have: less before its sender is known.
    pub const fn set_bytes_max(&mut self, bytes_max: u32) {
        self.bytes_max = bytes_max;
    }

    /// The next packet of `buffer`, taken out of it; nothing when its end has not come.
    ///
    /// # Errors
    /// What is wrong with it. Nothing can be read after that.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Packet>, Error> {
        let Some(&first) = buffer.first() else { return Ok(None) };
        let kind = self.kind(first)?;
        let Some((remaining, len)) = read::varint(&buffer[1..])? else { return Ok(None) };
        let header = 1 + len;
        // a length has at most 28 bits
        let whole = header + remaining as usize;
        if u32::try_from(whole).is_ok_and(|whole| whole > self.bytes_max) {
            return Err(Error { reason: Reason::PacketTooLarge, what: "the packet is too large" });
        }
        if buffer.len() < whole {
            // the buffer grows with what has come, not with what was announced
            return Ok(None);
        }
        buffer.advance(header);
        let mut reader = Reader::new(buffer.split_to(whole - header).freeze());
        if kind == Kind::Connect {
            return packet::read_connect(&mut reader, &mut self.version).map(Some);
        }
        let version = self.version.ok_or(FIRST)?;
        packet::read(kind, first & 0x0f, reader, version, self.role).map(Some)
    }

    /// Which packet begins with this byte, if it may come now.
    fn kind(&self, first: u8) -> Result<Kind, Error> {
        let kind = Kind::of(first >> 4).ok_or(Error::malformed("a packet type is reserved"))?;
        match (kind, self.version, self.role) {
            (Kind::Connect, None, _) => {}
            (Kind::Connect, Some(_), _) => return Err(Error::protocol("a second CONNECT")),
            (_, None, _) => return Err(FIRST),
            (Kind::Auth, Some(Version::V31 | Version::V311), _) => {
                return Err(Error::malformed("a packet type is reserved"));
            }
            _ => {}
        }
        if !kind.is_read_by(self.role) {
            return Err(Error::protocol("a packet that goes the other way only"));
        }
        let flags = first & 0x0f;
        // in MQTT 3.1 the other bits are of no meaning, or tell of a repetition
        let known = if self.version == Some(Version::V31) { 0b0110 } else { 0b1111 };
        match kind.flags() {
            Some(expected) if (flags ^ expected) & known != 0 => {
                Err(Error::malformed("reserved flags of the fixed header are wrong"))
            }
            _ => Ok(kind),
        }
    }
}

/// MQTT-3.1.0-1.
const FIRST: Error = Error::protocol("the first packet is not CONNECT");

impl Kind {
    const fn of(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Connect,
            2 => Self::Connack,
            3 => Self::Publish,
            4 => Self::Puback,
            5 => Self::Pubrec,
            6 => Self::Pubrel,
            7 => Self::Pubcomp,
            8 => Self::Subscribe,
            9 => Self::Suback,
            10 => Self::Unsubscribe,
            11 => Self::Unsuback,
            12 => Self::Pingreq,
            13 => Self::Pingresp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The flags of the fixed header (§2.1.3), but for PUBLISH, which has its own.
    const fn flags(self) -> Option<u8> {
        match self {
            Self::Publish => None,
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => Some(0b0010),
            _ => Some(0),
        }
    }

    /// Whether this end is sent such packets; the form of DISCONNECT is checked by what reads it.
    const fn is_read_by(self, role: Role) -> bool {
        match self {
            Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::Pingreq => {
                matches!(role, Role::Server)
            }
            Self::Connack | Self::Suback | Self::Unsuback | Self::Pingresp => {
                matches!(role, Role::Client)
            }
            _ => true,
        }
    }
}
