//! Messages that go: packet identifiers, what is unanswered, and what is sent again (§4.3, §4.4, §4.9).

use crate::basic::{PacketId, Qos};
use crate::error::Error;
use crate::reason::Reason;
use crate::session::row::Phase;
use std::collections::{HashMap, VecDeque};

/// The sending end of a session; `T` is what the caller knows of a message.
#[derive(Debug)]
pub struct Outbound<T> {
    receive_maximum: u16,
    window: HashMap<PacketId, Slot<T>>,
    last_id: u16,
    /// Counts messages begun and answers, so that both can be repeated in their order.
    turn: u64,
    /// Messages of this connection that are unanswered.
    unanswered: usize,
    /// What is still to be sent again on this connection.
    again: VecDeque<PacketId>,
}

#[derive(Debug)]
struct Slot<T> {
    turn: u64,
    qos: Qos,
    phase: Phase,
    /// Whether it was sent on this connection, and so counts.
    is_counted: bool,
    message: T,
}

/// What a PUBREC does.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// PUBREL is to be sent, once it is durable that it is.
    Release,
    /// The client refuses the message, which is done.
    Refused(T),
    /// There is no such message: PUBREL is to say so.
    Unknown,
}

/// What is to be sent again.
#[derive(Debug, PartialEq, Eq)]
pub enum Resend<'a, T> {
    /// PUBLISH, with DUP (MQTT-3.3.1-1).
    Publish(PacketId, Qos, &'a T),
    /// PUBREL.
    Release(PacketId),
}

impl<T> Outbound<T> {
    /// Nothing sent; the client takes so many unanswered messages.
    #[must_use]
    pub fn new(receive_maximum: u16) -> Self {
        Self {
            receive_maximum,
            window: HashMap::new(),
            last_id: 0,
            turn: 0,
            unanswered: 0,
            again: VecDeque::new(),
        }
    }

    /// Puts a message back that an earlier connection has sent, with the turn that it had. [`Outbound::resume`] comes
    /// after all of them.
    pub fn restore(&mut self, turn: u64, id: PacketId, qos: Qos, phase: Phase, message: T) {
        self.window.insert(id, Slot { turn, qos, phase, is_counted: false, message });
        self.pass(turn, id);
    }

    /// Notes a message that an earlier connection has sent and that cannot be sent again: its identifier is not the next that
    /// is used, for the client may still take it for that message.
    pub fn pass(&mut self, turn: u64, id: PacketId) {
        if turn > self.turn {
            self.turn = turn;
            self.last_id = id.get();
        }
    }

    /// How many unanswered messages the client takes.
    #[must_use]
    pub const fn receive_maximum(&self) -> u16 {
        self.receive_maximum
    }

    /// Whether another message may be begun: what is sent again goes first, and Receive Maximum holds (MQTT-3.3.4-9).
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.again.is_empty()
            && self.unanswered < usize::from(self.receive_maximum)
            && self.window.len() < usize::from(u16::MAX)
    }

    /// Begins a message above QoS 0, under an identifier that is free (MQTT-2.2.1-3); none where there is no room.
    pub fn begin(&mut self, qos: Qos, message: T) -> Option<PacketId> {
        if !self.has_room() {
            return None;
        }
        let id = self.free_id();
        let turn = self.next_turn();
        self.unanswered += 1;
        self.window.insert(id, Slot { turn, qos, phase: Phase::Sent, is_counted: true, message });
        Some(id)
    }

    /// The place of a message in the order of all.
    #[must_use]
    pub fn turn_of(&self, id: PacketId) -> Option<u64> {
        self.window.get(&id).map(|slot| slot.turn)
    }

    /// PUBACK has come: the message that is done, if there is one.
    ///
    /// # Errors
    /// An answer that does not belong to the message's quality of service.
    pub fn puback(&mut self, id: PacketId) -> Result<Option<T>, Error> {
        match self.window.get(&id) {
            None => Ok(None),
            Some(slot) if slot.qos == Qos::AtLeastOnce => Ok(self.end(id)),
            Some(_) => Err(Error::protocol("PUBACK for a message of QoS 2")),
        }
    }

    /// PUBREC has come. After [`Received::Release`], [`Outbound::turn_of`] is the turn of the PUBREL.
    ///
    /// # Errors
    /// As [`Outbound::puback`].
    pub fn pubrec(&mut self, id: PacketId, reason: Reason) -> Result<Received<T>, Error> {
        let Some(slot) = self.window.get_mut(&id) else { return Ok(Received::Unknown) };
        if slot.qos != Qos::ExactlyOnce {
            return Err(Error::protocol("PUBREC for a message of QoS 1"));
        }
        if reason.is_error() {
            return Ok(self.end(id).map_or(Received::Unknown, Received::Refused));
        }
        if slot.phase == Phase::Sent {
            slot.phase = Phase::Released;
            // PUBRELs are repeated in the order of the PUBRECs
            self.turn += 1;
            slot.turn = self.turn;
        }
        Ok(Received::Release)
    }

    /// PUBCOMP has come: the message that is done, if there is one.
    ///
    /// # Errors
    /// An answer to a PUBREL that was not sent.
    pub fn pubcomp(&mut self, id: PacketId) -> Result<Option<T>, Error> {
        match self.window.get(&id) {
            None => Ok(None),
            Some(slot) if slot.phase == Phase::Released => Ok(self.end(id)),
            Some(_) => Err(Error::protocol("PUBCOMP for a message that was not released")),
        }
    }

    /// Gives a message up, which can never be sent: the client takes no packet of its size (MQTT-3.1.2-25).
    pub fn give_up(&mut self, id: PacketId) -> Option<T> {
        self.end(id)
    }

    /// What is known of an unanswered message.
    #[must_use]
    pub fn get(&self, id: PacketId) -> Option<(Qos, &T)> {
        self.window.get(&id).map(|slot| (slot.qos, &slot.message))
    }

    /// Another connection goes on with the session: all that is unanswered is to be sent again.
    pub fn resume(&mut self, receive_maximum: u16) {
        self.receive_maximum = receive_maximum;
        self.unanswered = 0;
        let mut ids: Vec<(u64, PacketId)> = Vec::with_capacity(self.window.len());
        for (id, slot) in &mut self.window {
            slot.is_counted = false;
            ids.push((slot.turn, *id));
        }
        ids.sort_unstable();
        self.again = ids.into_iter().map(|(_, id)| id).collect();
    }

    /// The next thing to send again, if Receive Maximum allows it now.
    pub fn resend(&mut self) -> Option<Resend<'_, T>> {
        let has_room = self.unanswered < usize::from(self.receive_maximum);
        while let Some(id) = self.again.front().copied() {
            let is_gone = match self.window.get(&id) {
                Some(slot) if slot.phase == Phase::Sent && !has_room => return None,
                Some(_) => false,
                None => true,
            };
            self.again.pop_front();
            if !is_gone {
                return self.repeat(id);
            }
        }
        None
    }

    /// How many messages of this connection are unanswered.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.unanswered
    }

    /// Everything unanswered, in the order in which it would be sent again.
    #[must_use]
    pub fn unanswered(&self) -> Vec<(PacketId, Qos, Phase, &T)> {
        let mut all: Vec<_> = self.window.iter().collect();
        all.sort_unstable_by_key(|(_, slot)| slot.turn);
        all.into_iter().map(|(id, slot)| (*id, slot.qos, slot.phase, &slot.message)).collect()
    }

    fn repeat(&mut self, id: PacketId) -> Option<Resend<'_, T>> {
        let slot = self.window.get_mut(&id)?;
        if slot.phase == Phase::Released {
            return Some(Resend::Release(id));
        }
        slot.is_counted = true;
        self.unanswered += 1;
        Some(Resend::Publish(id, slot.qos, &slot.message))
    }

    fn end(&mut self, id: PacketId) -> Option<T> {
        let slot = self.window.remove(&id)?;
        if slot.is_counted {
            self.unanswered -= 1;
        }
        Some(slot.message)
    }

    const fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    /// The next identifier that no unanswered message has. There is one: the window is never full of them.
    fn free_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last_id).filter(|id| !self.window.contains_key(id))
            {
                return id;
            }
        }
    }
}
