//! DISCONNECT and AUTH (§3.14, §3.15).

use super::ack::{read_reason, write_ending};
use crate::basic::Version;
use crate::encode::Sink;
use crate::error::Error;
use crate::place::{Place, Role};
use crate::property::{AUTHENTICATION_METHOD, Properties};
use crate::read::Reader;
use crate::reason::Reason;

/// The last packet of a connection. Before MQTT 5 only clients send it, and it has no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// Why.
    pub reason: Reason,
    /// Its properties.
    pub properties: Properties,
}

impl Disconnect {
    /// With a reason and no properties.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self { reason, properties: Properties::default() }
    }

    pub(crate) fn read(reader: &mut Reader, version: Version, role: Role) -> Result<Self, Error> {
        if !version.is_v5() {
            return match role {
                Role::Server => Ok(Self::new(Reason::Success)),
                Role::Client => Err(Error::protocol("a packet that goes the other way only")),
            };
        }
        if reader.is_empty() {
            return Ok(Self::new(Reason::Success));
        }
        let place = Place::disconnect(role);
        let reason = read_reason(reader, place)?;
        let properties = Properties::read_to_end(reader, place)?;
        Ok(Self { reason, properties })
    }

    pub(crate) fn write<S: Sink>(&self, version: Version, sink: &mut S) {
        if version.is_v5() {
            write_ending(self.reason, &self.properties, sink);
        }
    }
}

/// A step of an authentication that has several (§4.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Success, continue, or begin again.
    pub reason: Reason,
    /// Its properties; the method is one of them.
    pub properties: Properties,
}

impl Auth {
    pub(crate) fn read(reader: &mut Reader) -> Result<Self, Error> {
        let (reason, properties) = if reader.is_empty() {
            (Reason::Success, Properties::default())
        } else {
            let reason = read_reason(reader, Place::AUTH)?;
            (reason, Properties::read_to_end(reader, Place::AUTH)?)
        };
        if properties.get(&AUTHENTICATION_METHOD).is_none() {
            return Err(Error::protocol("AUTH names no authentication method"));
        }
        Ok(Self { reason, properties })
    }

    pub(crate) fn write<S: Sink>(&self, sink: &mut S) {
        write_ending(self.reason, &self.properties, sink);
    }
}
