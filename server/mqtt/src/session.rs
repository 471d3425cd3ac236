//! What a session does with packets: state machines without I/O, in which time is an argument.
//!
//! How a server keeps a session over a crash, with these parts and any storage that commits atomically:
//!
//! - A subscription reads a log, and the session has a [`Cursor`] in each log: everything before it was delivered. The
//!   cursor is stored now and then. For QoS 1 that is all: what follows the cursor is sent again (§4.3.2).
//! - Each QoS 2 message has a [`Row`]: its place in the log, its packet identifier, and its [`Phase`]. The row is durable
//!   before PUBLISH is sent, and again, as released, before PUBREL is sent: so the same message never goes out under another
//!   identifier (MQTT-4.4.0-1), nor once more after its PUBREC (MQTT-4.3.3-6). Rows before the cursor are deleted in the
//!   commit that stores the cursor. [`recover`] makes of cursor and rows what is still to be done.
//! - The identifier of a QoS 2 message that came is stored in the commit that carries the message out, and deleted in one
//!   that is durable before PUBCOMP is sent: so the message is carried out once, however often it comes.
//!
//! Only sessions that outlive their connection store anything.

mod alias;
mod cursor;
mod inbound;
mod lifetime;
mod outbound;
mod row;
mod share;
mod subscriptions;
#[cfg(test)]
mod tests;

pub use alias::{InAliases, OutAliases};
pub use cursor::Cursor;
pub use inbound::{Arrival, Inbound};
pub use lifetime::{Lifetime, expires_ms, expiry_left_s, silence_max};
pub use outbound::{Outbound, Received, Resend};
pub use row::{Phase, Recovered, Row, recover};
pub use share::choose;
pub use subscriptions::{Match, Subscriptions};
