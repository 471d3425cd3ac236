//! Messages to a client: from what the hub tells to PUBLISH, and the client's answers.

use super::client::{Client, Stop};
use super::message::{Extra, Outgoing, Place, Staged, Unanswered, is_retained};
use super::stored;
use super::subscribe::Feed;
use crate::error::Answer;
use crate::hub::{Delivery as Told, Told as Event, Way, What};
use crate::metrics::LeftOut;
use crate::resource::publish;
use bytes::Bytes;
use harper_mqtt::packet::{Ack, Delivery, Packet};
use harper_mqtt::session::{Phase, Received, Resend, expiry_left_s};
use harper_mqtt::{PacketId, Qos, Reason, Text, encode_publish};
use harper_store::{Event as Stored, Operation};

/// How an event goes to the client.
struct Going {
    qos: Qos,
    message: Outgoing,
    place: Option<Place>,
}

impl Client {
    /// Takes what the hub tells, and also what has followed.
    pub(super) fn told_all(&mut self, first: &Told) -> Result<(), Stop> {
        self.told(first)?;
        while self.collects()
            && self.takes_messages()
            && let Some(next) = self.outbox.take()
        {
            self.told(&next)?;
        }
        Ok(())
    }

    fn told(&mut self, told: &Told) -> Result<(), Stop> {
        match &told.what {
            What::Told(event, way) => self.tell(told.tag, event, *way)?,
            What::Complete(sequence) => {
                let Some(feed) = self.feeds.get_mut(&told.tag) else { return Ok(()) };
                feed.cursor.pass(*sequence);
                if feed.is_once {
                    self.feeds.remove(&told.tag);
                }
            }
            // the records that follow are the newest messages
            What::Reset => {}
            What::End(end) => return Err(Stop::from(*end)),
        }
        Ok(())
    }

    fn tell(&mut self, tag: u64, event: &Event, way: Way) -> Result<(), Stop> {
        let going = self.going(tag, event, way);
        let going = going.map_err(|failure| {
            Stop::refuse(Reason::UnspecifiedError, failure.message.to_string())
        })?;
        let sequence = event.event.sequence;
        if let Some(feed) = self.feeds.get_mut(&tag)
            && way != Way::Current
        {
            feed.cursor.pass(sequence);
            self.is_dirty |= self.lifetime.is_durable() || feed.filter.share().is_some();
        }
        let Some(Going { qos, message, place }) = going else { return Ok(()) };
        if qos == Qos::AtMostOnce {
            self.write(Delivery::AtMostOnce, false, &message);
            return Ok(());
        }
        if let (Some(place), Some(feed)) = (place, self.feeds.get_mut(&tag))
            && !place.is_record
        {
            feed.cursor.begin(place.sequence);
        }
        let Some(id) = self.outbound.begin(qos, Unanswered { place, message }) else {
            // it was asked for room before
            return Ok(());
        };
        self.metrics.mqtt.unanswered(self.outbound.in_flight());
        match place.filter(|_| self.is_durable(qos)) {
            Some(place) => self.stage_row(id, place, Phase::Sent, Staged::Publish(id)),
            None => {
                self.send_unanswered(id, false);
                Ok(())
            }
        }
    }

    /// How an event goes to this client; none when it does not.
    fn going(&self, tag: u64, told: &Event, way: Way) -> Answer<Option<Going>> {
        let Some(feed) = self.feeds.get(&tag) else { return Ok(None) };
        let event = &told.event;
        let (sequence, is_record) = (event.sequence, way == Way::Current);
        if !is_record && (feed.is_once || feed.known.contains(&sequence)) {
            return Ok(None);
        }
        let topic = topic_of(feed, event);
        let extra = Extra::of(event);
        let Some((qos, retain, ids)) = self.chosen(feed, &topic, &extra, told, is_record) else {
            return Ok(None);
        };
        let Some(payload) = payload(feed, told, way)? else { return Ok(None) };
        let Ok(topic) = Text::try_from(topic) else { return Ok(None) };
        let place = (sequence > 0).then_some(Place { feed: tag, sequence, is_record });
        let (properties, expires_ms) = (extra.properties, event.expires_ms);
        let message = Outgoing { topic, properties, payload, retain, ids, expires_ms };
        Ok(Some(Going { qos: qos.min(extra.qos), message, place }))
    }

    /// Quality of service, retain flag and identifiers, if the message goes by this subscription.
    fn chosen(
        &self,
        feed: &Feed,
        topic: &str,
        extra: &Extra,
        told: &Event,
        is_record: bool,
    ) -> Option<(Qos, bool, Vec<u32>)> {
        let retained = is_retained(&told.event);
        let is_shared = feed.filter.share().is_some();
        if is_record || is_shared {
            let (own, id) = self.subscriptions.get(&feed.filter)?;
            let (sequence, version) = (told.event.sequence, told.event.version);
            let shares = &self.context.broker.shares;
            if is_shared && !shares.is_chosen(feed.filter.whole(), self.number, sequence, version) {
                return None;
            }
            let retain = is_record || (retained && own.retain_as_published);
            return Some((own.qos, retain, id.into_iter().collect()));
        }
        let is_own = extra.publisher == self.number;
        let found = self.subscriptions.matching(topic, is_own)?;
        let goes_by_this = *found.first == feed.filter;
        goes_by_this.then_some((found.qos, retained && found.retain_as_published, found.ids))
    }

    /// A message that was sent before, made anew from what the log holds.
    pub(super) fn message_again(
        &self,
        feed: &Feed,
        event: &Stored,
        is_record: bool,
    ) -> Option<Outgoing> {
        let topic = topic_of(feed, event);
        let Extra { publisher, properties, .. } = Extra::of(event);
        let (retain, ids) = match self.subscriptions.matching(&topic, publisher == self.number) {
            Some(found) if !is_record => {
                (is_retained(event) && found.retain_as_published, found.ids)
            }
            _ => (is_record, self.subscriptions.get(&feed.filter)?.1.into_iter().collect()),
        };
        let payload = match (&event.body, event.operation) {
            (_, Operation::Delete) | (None, _) => Bytes::new(),
            (Some(body), _) if feed.lens.is_plain() || body.is_empty() => body.clone(),
            (Some(_), _) => {
                let mut shown = Vec::new();
                feed.lens.show(event, &mut shown).ok().filter(|is_shown| *is_shown)?;
                shown.into()
            }
        };
        let payload = if event.is_content { publish::content_of(&payload).ok()? } else { payload };
        let topic = Text::try_from(topic).ok()?;
        Some(Outgoing { topic, properties, payload, retain, ids, expires_ms: event.expires_ms })
    }

    /// Sends an unanswered message, for the first time or again.
    pub(super) fn send_unanswered(&mut self, id: PacketId, is_again: bool) {
        let Some((qos, Unanswered { message, .. })) = self.outbound.get(id) else { return };
        let message = message.clone();
        let delivery = match qos {
            Qos::ExactlyOnce => Delivery::ExactlyOnce(id),
            _ => Delivery::AtLeastOnce(id),
        };
        if !self.write(delivery, is_again, &message)
            && let Some(given_up) = self.outbound.give_up(id)
        {
            self.done(&given_up);
        }
    }

    /// PUBREL.
    pub(super) fn release(&mut self, id: PacketId) {
        self.send(&Packet::Pubrel(Ack::success(id)));
    }

    /// Sends again what an earlier connection had sent, as far as the client takes it.
    pub(super) fn send_again(&mut self) {
        loop {
            let next = match self.outbound.resend() {
                None => return,
                Some(Resend::Publish(id, ..)) => (id, true),
                Some(Resend::Release(id)) => (id, false),
            };
            match next {
                (id, true) => self.send_unanswered(id, true),
                (id, false) => self.release(id),
            }
        }
    }

    /// Writes PUBLISH; false when it is never to be written: it has expired (MQTT-3.3.2-5), or the client takes no packet
    /// of its size (MQTT-3.1.2-24).
    pub(super) fn write(&mut self, delivery: Delivery, dup: bool, message: &Outgoing) -> bool {
        let left = expiry_left_s(message.expires_ms, stored::now_ms());
        // what was sent once is completed (MQTT-4.3.3-7)
        let Some(expiry_s) = left.or(dup.then_some(Some(0))) else {
            self.metrics.mqtt.left_out(LeftOut::Expired);
            return false;
        };
        let Outgoing { topic, properties, payload, retain, ids, .. } = message;
        let is_v5 = self.version.is_v5();
        // a message that is sent again may come when the alias means nothing yet
        let alias = if is_v5 && !dup { self.out_aliases.assign(topic) } else { None };
        let outgoing = harper_mqtt::Outgoing {
            version: self.version,
            dup,
            delivery,
            retain: *retain,
            alias,
            expiry_s,
            subscription_ids: ids,
            bytes_max: self.bytes_max,
        };
        self.begin_output();
        match encode_publish(&outgoing, topic, properties, payload, &mut self.output) {
            Ok(()) => {
                self.metrics.mqtt.sent.packets.add(1);
                self.metrics.mqtt.sent.message(delivery.qos(), payload.len());
            }
            Err(_) => {
                if let Some((_, true)) = alias {
                    self.out_aliases.forget(topic);
                }
                self.metrics.mqtt.left_out(LeftOut::Size);
                return false;
            }
        }
        true
    }

    /// PUBACK.
    pub(super) fn puback(&mut self, ack: &Ack) -> Result<(), Stop> {
        if let Some(message) = self.outbound.puback(ack.id)? {
            self.done(&message);
        }
        self.send_again();
        Ok(())
    }

    /// PUBREC: PUBREL follows once it is durable that it does.
    pub(super) fn pubrec(&mut self, ack: &Ack) -> Result<(), Stop> {
        let place = self.outbound.get(ack.id).and_then(|(_, message)| message.place);
        match self.outbound.pubrec(ack.id, ack.reason)? {
            Received::Release => match place.filter(|place| self.rows.contains_key(place)) {
                Some(place) => {
                    let id = ack.id;
                    self.stage_row(id, place, Phase::Released, Staged::Release(id))?;
                }
                None => self.release(ack.id),
            },
            Received::Refused(message) => {
                self.done(&message);
                self.send_again();
            }
            Received::Unknown if ack.reason.is_error() => {}
            Received::Unknown => {
                let reason = match self.version.is_v5() {
                    true => Reason::PacketIdentifierNotFound,
                    false => Reason::Success,
                };
                self.send(&Packet::Pubrel(Ack::new(ack.id, reason)));
            }
        }
        Ok(())
    }

    /// PUBCOMP.
    pub(super) fn pubcomp(&mut self, ack: &Ack) -> Result<(), Stop> {
        if let Some(message) = self.outbound.pubcomp(ack.id)? {
            self.done(&message);
        }
        self.send_again();
        Ok(())
    }

    /// A message is delivered, or is not to be.
    fn done(&mut self, message: &Unanswered) {
        let Some(place) = message.place else { return };
        if let Some((_, is_done)) = self.rows.get_mut(&place) {
            *is_done = true;
        }
        if let Some(feed) = self.feeds.get_mut(&place.feed) {
            feed.cursor.done(place.sequence);
        }
        self.is_dirty |= self.lifetime.is_durable();
    }

    /// Has a row stored, then the packet sent.
    fn stage_row(
        &mut self,
        id: PacketId,
        place: Place,
        phase: Phase,
        then: Staged,
    ) -> Result<(), Stop> {
        let row = self.row(id, place, phase);
        self.rows.insert(place, (row, false));
        let kept = self.outbound.get(id).filter(|_| !self.is_told_again(&place));
        let kept = kept.map(|(_, unanswered)| &unanswered.message);
        let op = self.shelf.put_going(&row, Qos::ExactlyOnce, kept);
        self.stage(vec![op], Some(then))
    }
}

/// The topic of an event.
fn topic_of(feed: &Feed, event: &Stored) -> String {
    format!("{}/{}", feed.resource.path, event.key.to_text())
}

/// What the client sees of an event; none when it sees nothing of it. A deletion is an empty message.
fn payload(feed: &Feed, told: &Event, way: Way) -> Answer<Option<Bytes>> {
    if told.event.operation == Operation::Delete {
        return Ok(Some(Bytes::new()));
    }
    let payload = told.payload(way, &*feed.lens)?;
    match payload {
        Some(record) if told.event.is_content => publish::content_of(&record).map(Some),
        payload => Ok(payload),
    }
}
