//! Where a property or a reason code may stand.

/// Which end of a connection reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads what clients send.
    Server,
    /// Reads what a server sends.
    Client,
}

/// A set of packets; PUBLISH and DISCONNECT are two each, by their direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u16);

impl Place {
    /// CONNECT.
    pub const CONNECT: Self = Self(1);
    /// The Will Properties in CONNECT.
    pub const WILL: Self = Self(1 << 1);
    /// CONNACK.
    pub const CONNACK: Self = Self(1 << 2);
    /// PUBLISH from a client.
    pub const PUBLISH_IN: Self = Self(1 << 3);
    /// PUBLISH from a server.
    pub const PUBLISH_OUT: Self = Self(1 << 4);
    /// PUBACK.
    pub const PUBACK: Self = Self(1 << 5);
    /// PUBREC.
    pub const PUBREC: Self = Self(1 << 6);
    /// PUBREL.
    pub const PUBREL: Self = Self(1 << 7);
    /// PUBCOMP.
    pub const PUBCOMP: Self = Self(1 << 8);
    /// SUBSCRIBE.
    pub const SUBSCRIBE: Self = Self(1 << 9);
    /// SUBACK.
    pub const SUBACK: Self = Self(1 << 10);
    /// UNSUBSCRIBE.
    pub const UNSUBSCRIBE: Self = Self(1 << 11);
    /// UNSUBACK.
    pub const UNSUBACK: Self = Self(1 << 12);
    /// DISCONNECT from a client.
    pub const DISCONNECT_IN: Self = Self(1 << 13);
    /// DISCONNECT from a server.
    pub const DISCONNECT_OUT: Self = Self(1 << 14);
    /// AUTH.
    pub const AUTH: Self = Self(1 << 15);

    /// None of them.
    pub const NONE: Self = Self(0);
    /// PUBLISH from either end.
    pub const PUBLISH: Self = Self::PUBLISH_IN.or(Self::PUBLISH_OUT);
    /// PUBACK and PUBREC: the first answers to a PUBLISH.
    pub const RECEIVED: Self = Self::PUBACK.or(Self::PUBREC);
    /// PUBREL and PUBCOMP.
    pub const RELEASED: Self = Self::PUBREL.or(Self::PUBCOMP);
    /// DISCONNECT from either end.
    pub const DISCONNECT: Self = Self::DISCONNECT_IN.or(Self::DISCONNECT_OUT);
    /// Every packet that has properties.
    pub const ALL: Self = Self(u16::MAX);

    /// Both sets together.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the two have a packet in common.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// PUBLISH as `reader` reads it.
    #[must_use]
    pub const fn publish(reader: Role) -> Self {
        match reader {
            Role::Server => Self::PUBLISH_IN,
            Role::Client => Self::PUBLISH_OUT,
        }
    }

    /// DISCONNECT as `reader` reads it.
    #[must_use]
    pub const fn disconnect(reader: Role) -> Self {
        match reader {
            Role::Server => Self::DISCONNECT_IN,
            Role::Client => Self::DISCONNECT_OUT,
        }
    }
}
