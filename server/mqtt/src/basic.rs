//! Versions, qualities of service, packet identifiers, and the data types of §1.5.

use crate::error::Error;
use bytes::Bytes;
use bytestring::ByteString;
use std::fmt;
use std::num::NonZeroU16;
use std::ops::Deref;

/// The greatest value of a Variable Byte Integer (§1.5.5), and so of a Remaining Length.
pub const VARINT_MAX: u32 = 268_435_455;
/// The most bytes that a string or binary data can have (§1.5.4, §1.5.6).
pub const FIELD_BYTES_MAX: usize = u16::MAX as usize;

/// A packet identifier; zero is none (MQTT-2.2.1-3).
pub type PacketId = NonZeroU16;

/// Which MQTT a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1, protocol level 3 by the name `MQIsdp`.
    V31,
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.0.
    V5,
}

impl Version {
    /// The level as CONNECT carries it.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }

    /// The protocol's name as CONNECT carries it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V31 => "MQIsdp",
            Self::V311 | Self::V5 => "MQTT",
        }
    }

    /// Whether packets have properties and reason codes.
    #[must_use]
    pub const fn is_v5(self) -> bool {
        matches!(self, Self::V5)
    }
}

/// Quality of service (§4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// 0: sent once, with no answer.
    AtMostOnce,
    /// 1: sent until it is answered.
    AtLeastOnce,
    /// 2: received exactly once.
    ExactlyOnce,
}

impl Qos {
    /// The quality of these two bits; 3 is none (MQTT-3.3.1-4).
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

/// A UTF-8 Encoded String (§1.5.4): at most 65,535 bytes, without U+0000. Control characters and non-characters are
/// taken, which the standard leaves open: the key of a record may hold them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(ByteString);

impl Text {
    /// Text of these bytes, which are shared, not copied.
    ///
    /// # Errors
    /// A malformed packet when they are not such a string (MQTT-1.5.4-1, MQTT-1.5.4-2).
    pub fn new(bytes: Bytes) -> Result<Self, Error> {
        if bytes.len() > FIELD_BYTES_MAX {
            return Err(Error::malformed("a string is longer than 65,535 bytes"));
        }
        if bytes.contains(&0) {
            return Err(Error::malformed("a string holds U+0000"));
        }
        let text = ByteString::try_from(bytes);
        text.map(Self).map_err(|_| Error::malformed("a string is not UTF-8"))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        self.0.as_bytes()
    }

    /// The same in memory of its own. Decoded text is a part of what was received: whoever keeps it for long would keep
    /// all of that.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(ByteString::from(self.as_str()))
    }
}

impl TryFrom<&str> for Text {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        Self::new(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl TryFrom<String> for Text {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::new(Bytes::from(text))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Binary Data (§1.5.6): at most 65,535 bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Binary(Bytes);

impl Binary {
    /// Binary data of these bytes, which are shared, not copied.
    ///
    /// # Errors
    /// When they are too many.
    pub fn new(bytes: Bytes) -> Result<Self, Error> {
        if bytes.len() > FIELD_BYTES_MAX {
            return Err(Error::malformed("binary data are longer than 65,535 bytes"));
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The same in memory of its own; see [`Text::detached`].
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}
