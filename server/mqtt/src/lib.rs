//! MQTT as bytes and as rules: the packets of MQTT 3.1, 3.1.1 and 5.0, and what a session does with them.
//!
//! Owns the form of packets, of topics and of filters, and the conversation of one session. Does no I/O, reads no
//! clock, knows no task and no socket: bytes go in, packets come out, and the time is an argument. What a topic means
//! and who may use it is the caller's affair.
//!
//! References of the form `MQTT-x.x.x-x` are normative statements of MQTT 5.0 (OASIS, 2019), unless they say 3.1.1.

pub mod basic;
pub mod decode;
pub mod encode;
pub mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
pub mod packet;
pub mod place;
pub mod property;
mod read;
pub mod reason;
pub mod session;
pub mod topic;

pub use basic::{Binary, PacketId, Qos, Text, Version};
pub use decode::Decoder;
pub use encode::{Outgoing, encode, encode_publish};
pub use error::Error;
pub use packet::Packet;
pub use place::Role;
pub use property::Properties;
pub use reason::Reason;
