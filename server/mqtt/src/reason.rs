//! Reason codes (§2.4), the packets that may carry each, and the return codes of older versions.

use crate::place::Place;
use std::fmt;

/// Declares the codes: one row for each number that the standard knows.
macro_rules! reasons {
    ($($variant:ident = $code:literal, $text:literal, $place:expr;)*) => {
        /// What came of a request, or why a connection ends. Numbers below 0x80 are successes. 0x00 is also Normal
        /// disconnection and Granted QoS 0.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = concat!(stringify!($code), ": ", $text, ".")] $variant = $code,)*
        }

        impl Reason {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The reason of this number.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The packets that may carry it.
            #[must_use]
            pub const fn places(self) -> Place {
                match self {
                    $(Self::$variant => $place,)*
                }
            }

            /// What it says, as the standard names it.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

const CONNACK: Place = Place::CONNACK;
const SUBACK: Place = Place::SUBACK;
const UNSUBACK: Place = Place::UNSUBACK;
const OUT: Place = Place::DISCONNECT_OUT;
const BOTH: Place = Place::DISCONNECT;
const RECEIVED: Place = Place::RECEIVED;
/// What refuses a request of any kind.
const REQUESTS: Place = CONNACK.or(RECEIVED).or(SUBACK).or(UNSUBACK);

reasons! {
    Success = 0x00, "success", CONNACK.or(RECEIVED).or(Place::RELEASED).or(SUBACK).or(UNSUBACK).or(BOTH).or(Place::AUTH);
    GrantedQos1 = 0x01, "granted QoS 1", SUBACK;
    GrantedQos2 = 0x02, "granted QoS 2", SUBACK;
    DisconnectWithWill = 0x04, "disconnect with will message", Place::DISCONNECT_IN;
    NoMatchingSubscribers = 0x10, "no matching subscribers", RECEIVED;
    NoSubscriptionExisted = 0x11, "no subscription existed", UNSUBACK;
    ContinueAuthentication = 0x18, "continue authentication", Place::AUTH;
    ReAuthenticate = 0x19, "re-authenticate", Place::AUTH;
    UnspecifiedError = 0x80, "unspecified error", REQUESTS.or(BOTH);
    MalformedPacket = 0x81, "malformed packet", CONNACK.or(BOTH);
    ProtocolError = 0x82, "protocol error", CONNACK.or(BOTH);
    ImplementationSpecificError = 0x83, "implementation specific error", REQUESTS.or(BOTH);
    UnsupportedProtocolVersion = 0x84, "unsupported protocol version", CONNACK;
    ClientIdentifierNotValid = 0x85, "client identifier not valid", CONNACK;
    BadUserNameOrPassword = 0x86, "bad user name or password", CONNACK;
    NotAuthorized = 0x87, "not authorized", REQUESTS.or(OUT);
    ServerUnavailable = 0x88, "server unavailable", CONNACK;
    ServerBusy = 0x89, "server busy", CONNACK.or(OUT);
    Banned = 0x8a, "banned", CONNACK;
    ServerShuttingDown = 0x8b, "server shutting down", OUT;
    BadAuthenticationMethod = 0x8c, "bad authentication method", CONNACK.or(OUT);
    KeepAliveTimeout = 0x8d, "keep alive timeout", OUT;
    SessionTakenOver = 0x8e, "session taken over", OUT;
    TopicFilterInvalid = 0x8f, "topic filter invalid", SUBACK.or(UNSUBACK).or(OUT);
    TopicNameInvalid = 0x90, "topic name invalid", CONNACK.or(RECEIVED).or(BOTH);
    PacketIdentifierInUse = 0x91, "packet identifier in use", RECEIVED.or(SUBACK).or(UNSUBACK);
    PacketIdentifierNotFound = 0x92, "packet identifier not found", Place::RELEASED;
    ReceiveMaximumExceeded = 0x93, "receive maximum exceeded", BOTH;
    TopicAliasInvalid = 0x94, "topic alias invalid", BOTH;
    PacketTooLarge = 0x95, "packet too large", CONNACK.or(BOTH);
    MessageRateTooHigh = 0x96, "message rate too high", BOTH;
    QuotaExceeded = 0x97, "quota exceeded", CONNACK.or(RECEIVED).or(SUBACK).or(BOTH);
    AdministrativeAction = 0x98, "administrative action", BOTH;
    PayloadFormatInvalid = 0x99, "payload format invalid", CONNACK.or(RECEIVED).or(BOTH);
    RetainNotSupported = 0x9a, "retain not supported", CONNACK.or(OUT);
    QosNotSupported = 0x9b, "QoS not supported", CONNACK.or(OUT);
    UseAnotherServer = 0x9c, "use another server", CONNACK.or(OUT);
    ServerMoved = 0x9d, "server moved", CONNACK.or(OUT);
    SharedSubscriptionsNotSupported = 0x9e, "shared subscriptions not supported", SUBACK.or(OUT);
    ConnectionRateExceeded = 0x9f, "connection rate exceeded", CONNACK.or(OUT);
    MaximumConnectTime = 0xa0, "maximum connect time", OUT;
    SubscriptionIdentifiersNotSupported = 0xa1, "subscription identifiers not supported", SUBACK.or(OUT);
    WildcardSubscriptionsNotSupported = 0xa2, "wildcard subscriptions not supported", SUBACK.or(OUT);
}

impl Reason {
    /// Its number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether it refuses or ends.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.code() >= 0x80
    }

    /// The return code of CONNACK in MQTT 3.1 and 3.1.1 (3.1.1 §3.2.2.3) that says the same, or the nearest.
    #[must_use]
    pub const fn connack_v3(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::BadUserNameOrPassword => 4,
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => 5,
            _ => 3,
        }
    }

    /// The reason of a return code of CONNACK in MQTT 3.1 and 3.1.1; codes above 5 are reserved.
    #[must_use]
    pub const fn from_connack_v3(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Success),
            1 => Some(Self::UnsupportedProtocolVersion),
            2 => Some(Self::ClientIdentifierNotValid),
            3 => Some(Self::ServerUnavailable),
            4 => Some(Self::BadUserNameOrPassword),
            5 => Some(Self::NotAuthorized),
            _ => None,
        }
    }

    /// The return code of SUBACK in MQTT 3.1.1 (§3.9.3): what was granted, or 0x80.
    #[must_use]
    pub const fn suback_v3(self) -> u8 {
        if self.is_error() { 0x80 } else { self.code() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
