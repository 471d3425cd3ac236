//! CONNECT and CONNACK (§3.1, §3.2).

use super::ack::read_reason;
use crate::basic::{Binary, Qos, Text, Version};
use crate::encode::Sink;
use crate::error::Error;
use crate::place::Place;
use crate::property::Properties;
use crate::read::Reader;
use crate::reason::Reason;
use crate::topic;

/// Bits of the Connect Flags (§3.1.2.3).
mod flag {
    pub(super) const RESERVED: u8 = 1;
    pub(super) const CLEAN_START: u8 = 1 << 1;
    pub(super) const WILL: u8 = 1 << 2;
    /// Two bits.
    pub(super) const WILL_QOS_SHIFT: u8 = 3;
    pub(super) const WILL_RETAIN: u8 = 1 << 5;
    pub(super) const PASSWORD: u8 = 1 << 6;
    pub(super) const USER_NAME: u8 = 1 << 7;
}

/// A client asks for a session.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// Which MQTT it speaks from here on.
    pub version: Version,
    /// Whether a session that exists is forgotten. Before MQTT 5 it is also forgotten when the connection ends.
    pub clean_start: bool,
    /// Seconds within which the client sends something; 0 for any time.
    pub keep_alive_s: u16,
    /// Its properties; none before MQTT 5.
    pub properties: Properties,
    /// The name of the session; empty when the server is to give one.
    pub client_id: Text,
    /// What to publish when the connection ends without DISCONNECT.
    pub will: Option<Will>,
    /// Who it is.
    pub user_name: Option<Text>,
    /// What proves it.
    pub password: Option<Binary>,
}

impl std::fmt::Debug for Connect {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

/// What to publish when a connection ends without DISCONNECT (§3.1.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Quality of service.
    pub qos: Qos,
    /// Whether it is retained.
    pub retain: bool,
    /// Its properties; none before MQTT 5.
    pub properties: Properties,
    /// Where to.
    pub topic: Text,
    /// What it says.
    pub payload: Binary,
}

impl Connect {
    /// Reads it all. `version` becomes the one that it asks for, also when something else is wrong; of a version that is
    /// not known, the nearest that has an answer for that (MQTT-3.1.2-2).
    pub(crate) fn read(reader: &mut Reader, version: &mut Option<Version>) -> Result<Self, Error> {
        let asked = read_version(reader, version)?;
        *version = Some(asked);
        let flags = reader.u8()?;
        check_flags(flags, asked)?;
        let keep_alive_s = reader.u16()?;
        let properties = if asked.is_v5() {
            Properties::read(reader, Place::CONNECT)?
        } else {
            Properties::default()
        };
        let client_id = reader.text()?;
        let will =
            if flags & flag::WILL == 0 { None } else { Some(Will::read(flags, reader, asked)?) };
        let user_name = if flags & flag::USER_NAME == 0 { None } else { Some(reader.text()?) };
        let password = if flags & flag::PASSWORD == 0 { None } else { Some(reader.binary()?) };
        reader.end()?;
        Ok(Self {
            version: asked,
            clean_start: flags & flag::CLEAN_START != 0,
            keep_alive_s,
            properties,
            client_id,
            will,
            user_name,
            password,
        })
    }

    pub(crate) fn write<S: Sink>(&self, sink: &mut S) {
        sink.field(self.version.name().as_bytes());
        sink.u8(self.version.level());
        sink.u8(self.flags());
        sink.u16(self.keep_alive_s);
        if self.version.is_v5() {
            self.properties.write(sink);
        }
        sink.field(self.client_id.as_bytes());
        if let Some(will) = &self.will {
            if self.version.is_v5() {
                will.properties.write(sink);
            }
            sink.field(will.topic.as_bytes());
            sink.field(will.payload.as_bytes());
        }
        if let Some(name) = &self.user_name {
            sink.field(name.as_bytes());
        }
        if let Some(password) = &self.password {
            sink.field(password.as_bytes());
        }
    }

    fn flags(&self) -> u8 {
        let mut flags = 0;
        if self.clean_start {
            flags |= flag::CLEAN_START;
        }
        if let Some(will) = &self.will {
            flags |= flag::WILL | will.qos.bits() << flag::WILL_QOS_SHIFT;
            if will.retain {
                flags |= flag::WILL_RETAIN;
            }
        }
        if self.user_name.is_some() {
            flags |= flag::USER_NAME;
        }
        if self.password.is_some() {
            flags |= flag::PASSWORD;
        }
        flags
    }
}

fn read_version(reader: &mut Reader, version: &mut Option<Version>) -> Result<Version, Error> {
    let unknown = |what| Error { reason: Reason::UnsupportedProtocolVersion, what };
    let name = reader.text()?;
    if !matches!(name.as_str(), "MQTT" | "MQIsdp") {
        return Err(unknown("the protocol's name is not MQTT"));
    }
    let level = reader.u8()?;
    let known = [Version::V31, Version::V311, Version::V5];
    let found = known.into_iter().find(|known| known.level() == level && known.name() == &*name);
    if found.is_none() {
        let answer = if level > Version::V5.level() { Version::V5 } else { Version::V311 };
        *version = Some(answer);
    }
    found.ok_or(unknown("the protocol's version is not known"))
}

fn check_flags(flags: u8, version: Version) -> Result<(), Error> {
    if flags & flag::RESERVED != 0 && version != Version::V31 {
        return Err(Error::malformed("the reserved flag of CONNECT is set"));
    }
    let will_qos = (flags >> flag::WILL_QOS_SHIFT) & 0b11;
    if Qos::from_bits(will_qos).is_none() {
        return Err(Error::malformed("the QoS of the will is 3"));
    }
    // MQTT 3.1 ignores them
    let has_will_flags = will_qos != 0 || flags & flag::WILL_RETAIN != 0;
    if flags & flag::WILL == 0 && has_will_flags && version != Version::V31 {
        return Err(Error::malformed("there are flags of a will, and no will"));
    }
    // 3.1.1: MQTT-3.1.2-22; MQTT 5 allows it
    if flags & flag::PASSWORD != 0 && flags & flag::USER_NAME == 0 && !version.is_v5() {
        return Err(Error::malformed("there is a password, and no user name"));
    }
    Ok(())
}

impl Will {
    fn read(flags: u8, reader: &mut Reader, version: Version) -> Result<Self, Error> {
        let properties = if version.is_v5() {
            Properties::read(reader, Place::WILL)?
        } else {
            Properties::default()
        };
        let topic = reader.text()?;
        topic::check_name(&topic)?;
        let payload = reader.binary()?;
        let qos = Qos::from_bits((flags >> flag::WILL_QOS_SHIFT) & 0b11);
        let qos = qos.ok_or(Error::malformed("the QoS of the will is 3"))?;
        Ok(Self { qos, retain: flags & flag::WILL_RETAIN != 0, properties, topic, payload })
    }
}

/// The server's answer to CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connack {
    /// Whether the server had the session. Never with a refusal (MQTT-3.2.2-6).
    pub session_present: bool,
    /// Success, or why not.
    pub reason: Reason,
    /// Its properties; none before MQTT 5.
    pub properties: Properties,
}

impl Connack {
    /// A refusal.
    #[must_use]
    pub fn refuse(reason: Reason) -> Self {
        Self { session_present: false, reason, properties: Properties::default() }
    }

    pub(crate) fn read(reader: &mut Reader, version: Version) -> Result<Self, Error> {
        let flags = reader.u8()?;
        // in MQTT 3.1 the byte is reserved
        if flags > 1 && version != Version::V31 {
            return Err(Error::malformed("reserved flags of CONNACK are set"));
        }
        let session_present = flags & 1 != 0 && version != Version::V31;
        let (reason, properties) = if version.is_v5() {
            let reason = read_reason(reader, Place::CONNACK)?;
            (reason, Properties::read(reader, Place::CONNACK)?)
        } else {
            let reason = Reason::from_connack_v3(reader.u8()?);
            let reason = reason.ok_or(Error::malformed("a return code is reserved"))?;
            (reason, Properties::default())
        };
        if session_present && reason != Reason::Success {
            return Err(Error::protocol("CONNACK refuses and says that there is a session"));
        }
        Ok(Self { session_present, reason, properties })
    }

    pub(crate) fn write<S: Sink>(&self, version: Version, sink: &mut S) {
        let has_flag = self.session_present && version != Version::V31;
        sink.u8(u8::from(has_flag));
        if version.is_v5() {
            sink.u8(self.reason.code());
            self.properties.write(sink);
        } else {
            sink.u8(self.reason.connack_v3());
        }
    }
}
