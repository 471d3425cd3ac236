//! Messages that come: which are new, and how many may be unanswered (§4.3, §4.9).

use crate::basic::PacketId;
use crate::error::Error;
use crate::packet::Delivery;
use crate::reason::Reason;
use std::collections::HashSet;

/// What a message that came is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// To be carried out.
    New,
    /// Of QoS 2, and carried out before: only to be answered again.
    Known,
}

/// The receiving end of a session.
#[derive(Debug)]
pub struct Inbound {
    receive_maximum: u16,
    /// QoS 1 messages without their PUBACK.
    unanswered: usize,
    /// Identifiers of QoS 2 messages without their PUBREL (MQTT-4.3.3-10).
    held: HashSet<PacketId>,
    /// Those that came on this connection: they count against the maximum.
    counted: HashSet<PacketId>,
}

impl Inbound {
    /// An end that takes so many messages above QoS 0 before it answers; `held` are the QoS 2 messages that the session
    /// knows.
    #[must_use]
    pub fn new(receive_maximum: u16, held: HashSet<PacketId>) -> Self {
        Self { receive_maximum, unanswered: 0, held, counted: HashSet::new() }
    }

    /// A message has come.
    ///
    /// # Errors
    /// More than the receive maximum (MQTT-3.3.4-9).
    pub fn publish(&mut self, delivery: Delivery) -> Result<Arrival, Error> {
        let arrival = match delivery {
            Delivery::AtMostOnce => return Ok(Arrival::New),
            Delivery::AtLeastOnce(_) => {
                self.unanswered += 1;
                Arrival::New
            }
            Delivery::ExactlyOnce(id) => {
                self.counted.insert(id);
                if self.held.insert(id) { Arrival::New } else { Arrival::Known }
            }
        };
        if self.unanswered + self.counted.len() > usize::from(self.receive_maximum) {
            let what = "more messages are unanswered than Receive Maximum allows";
            return Err(Error { reason: Reason::ReceiveMaximumExceeded, what });
        }
        Ok(arrival)
    }

    /// A QoS 1 message is answered with PUBACK.
    pub fn puback(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
    }

    /// A QoS 2 message is answered with a PUBREC that refuses it: its identifier is free.
    pub fn refuse(&mut self, id: PacketId) {
        self.held.remove(&id);
        self.counted.remove(&id);
    }

    /// PUBREL has come; whether there is such a message. It is answered with PUBCOMP in any case (MQTT-4.3.3-11).
    pub fn pubrel(&mut self, id: PacketId) -> bool {
        self.counted.remove(&id);
        self.held.remove(&id)
    }

    /// The QoS 2 messages without their PUBREL.
    #[must_use]
    pub const fn held(&self) -> &HashSet<PacketId> {
        &self.held
    }
}
