//! For how long a session, a will, a message and a silent connection live.

use crate::basic::Version;
use crate::error::Error;
use crate::packet::{Connect, Disconnect};
use crate::property::{MESSAGE_EXPIRY, Properties, SESSION_EXPIRY, WILL_DELAY};
use std::time::Duration;

/// Session Expiry Interval that never ends (§3.1.2.11.2).
const NEVER: u32 = u32::MAX;

/// For how long a session outlives its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    seconds: u32,
}

impl Lifetime {
    /// What a client asks for, but no more than `seconds_max`. A session of MQTT 3 that is not clean asks for ever.
    #[must_use]
    pub fn of(connect: &Connect, seconds_max: u32) -> Self {
        let asked = match connect.version {
            Version::V5 => connect.properties.get(&SESSION_EXPIRY).copied().unwrap_or(0),
            Version::V31 | Version::V311 if connect.clean_start => 0,
            Version::V31 | Version::V311 => NEVER,
        };
        Self { seconds: asked.min(seconds_max) }
    }

    /// So many seconds.
    #[must_use]
    pub const fn from_seconds(seconds: u32) -> Self {
        Self { seconds }
    }

    /// The seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.seconds
    }

    /// Whether the session outlives its connection at all.
    #[must_use]
    pub const fn is_durable(self) -> bool {
        self.seconds > 0
    }

    /// What DISCONNECT makes of it.
    ///
    /// # Errors
    /// A session that was to end with its connection is to last (§3.14.2.2.2).
    pub fn amended(self, disconnect: &Disconnect, seconds_max: u32) -> Result<Self, Error> {
        match disconnect.properties.get(&SESSION_EXPIRY) {
            None => Ok(self),
            Some(0) => Ok(Self { seconds: 0 }),
            Some(_) if self.seconds == 0 => {
                Err(Error::protocol("DISCONNECT gives an expiry to a session that had none"))
            }
            Some(seconds) => Ok(Self { seconds: (*seconds).min(seconds_max) }),
        }
    }

    /// When a session ends whose connection ended at this time; none for never. Milliseconds.
    #[must_use]
    pub fn ends_ms(self, closed_ms: u64) -> Option<u64> {
        (self.seconds != NEVER).then(|| closed_ms + u64::from(self.seconds) * 1000)
    }

    /// When a will is due whose connection ended at this time: after its delay, and not after the session
    /// (MQTT-3.1.3-9). Milliseconds.
    #[must_use]
    pub fn will_due_ms(self, will: &Properties, closed_ms: u64) -> u64 {
        let delay = will.get(&WILL_DELAY).copied().unwrap_or(0).min(self.seconds);
        closed_ms + u64::from(delay) * 1000
    }
}

/// Within which time something has to come from a client (MQTT-3.1.2-22); none for any time.
#[must_use]
pub fn silence_max(keep_alive_s: u16) -> Option<Duration> {
    (keep_alive_s > 0).then(|| Duration::from_millis(u64::from(keep_alive_s) * 1500))
}

/// When a message that came now expires, in milliseconds; 0 for never.
#[must_use]
pub fn expires_ms(properties: &Properties, now_ms: u64) -> u64 {
    properties.get(&MESSAGE_EXPIRY).map_or(0, |seconds| now_ms + u64::from(*seconds) * 1000)
}

/// What is left of a message's expiry, in seconds (MQTT-3.3.2-6); none when it has expired (MQTT-3.3.2-5). A message that
/// never expires has none to tell.
#[must_use]
pub fn expiry_left_s(expires_ms: u64, now_ms: u64) -> Option<Option<u32>> {
    if expires_ms == 0 {
        return Some(None);
    }
    let left = expires_ms.checked_sub(now_ms).filter(|left| *left > 0)?;
    Some(Some(u32::try_from(left.div_ceil(1000)).unwrap_or(u32::MAX)))
}
