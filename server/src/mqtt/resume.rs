//! A session that outlives its connection: what is stored of it, and how it goes on. The rules are those of
//! `harper_mqtt::session`.

use super::client::{Client, Stop};
use super::connect;
use super::message::{Outgoing, Place, Unanswered};
use super::publish;
use super::shares::Member;
use super::stored::{self, Going, Session, StoredError, StoredSubscription};
use super::subscribe;
use super::sys;
use crate::auth::Identity;
use crate::hub::Start;
use crate::metrics::LeftOut;
use bytes::Bytes;
use harper_mqtt::session::{Cursor, Inbound, Phase, Row, recover};
use harper_mqtt::topic::Filter;
use harper_mqtt::{PacketId, Qos, Text};
use harper_store::{Event, SideOp};
use std::collections::HashMap;
use std::sync::Arc;

impl Client {
    /// Goes on with a stored session.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) fn resume(&mut self, session: &Session) -> Result<(), StoredError> {
        let broker = Arc::clone(&self.context.broker);
        let rows = self.shelf.going()?;
        let recovered = recover(rows.iter().map(|going| going.row).collect());
        self.rows = rows.iter().map(|going| (going.row.place, (going.row, false))).collect();
        let mut going: HashMap<Place, Going> =
            rows.into_iter().map(|going| (going.row.place, going)).collect();
        for place in &recovered.done {
            self.rows.entry(*place).and_modify(|(_, is_done)| *is_done = true);
        }
        for stored in &session.subscriptions {
            self.listen_again(stored, &recovered.unanswered, &recovered.done);
        }
        // those of subscriptions that are gone have messages, too
        let feeds = session.subscriptions.iter().map(|one| one.feed);
        let feeds = feeds.chain(self.rows.keys().map(|place| place.feed));
        self.last_feed = feeds.max().unwrap_or(0);
        for row in recovered.unanswered {
            let (qos, kept) = going
                .remove(&row.place)
                .map_or((Qos::ExactlyOnce, None), |going| (going.qos, going.message));
            match self.unanswered(&row, kept) {
                Some(message) => self.outbound.restore(row.turn, row.id, qos, row.phase, message),
                None => {
                    self.metrics.mqtt.left_out(LeftOut::Forgotten);
                    self.outbound.pass(row.turn, row.id);
                    self.let_row_go(row.place);
                }
            }
        }
        let limit = self.outbound.receive_maximum();
        self.outbound.resume(limit);
        self.held = self.shelf.held(&broker.store)?;
        let services = self.context.host.services();
        let maximum = connect::receive_maximum(self.version, &services.config.mqtt);
        self.inbound = Inbound::new(maximum, self.held.keys().copied().collect());
        Ok(())
    }

    fn let_row_go(&mut self, place: Place) {
        self.rows.entry(place).and_modify(|(_, is_done)| *is_done = true);
        if let Some(feed) = self.feeds.get_mut(&place.feed) {
            feed.cursor.done(place.sequence);
        }
    }

    /// Listens again from where the session had come. A subscription whose table is gone, or whose right is, is forgotten.
    fn listen_again(
        &mut self,
        stored: &StoredSubscription,
        unanswered: &[Row<Place>],
        done: &[Place],
    ) {
        let services = self.context.host.services();
        let Some(subscription) = stored.subscription() else { return self.give_up(stored) };
        if sys::is_about_broker(&subscription.filter) {
            // a right that was taken away shows when it is told
            let _ = self.subscribe_sys(&services, subscription, stored.id);
            return;
        }
        let Ok((resource, filter)) = self.target(&subscription.filter) else {
            return self.give_up(stored);
        };
        let mut cursor = Cursor::new(stored.cursor);
        let mine = |place: &&Place| place.feed == stored.feed && !place.is_record;
        let open: Vec<Place> = unanswered.iter().map(|row| row.place).collect();
        for place in open.iter().filter(mine) {
            cursor.reopen(place.sequence);
        }
        let start = Start::After { epoch: stored.epoch, sequence: stored.cursor };
        self.last_feed = stored.feed - 1;
        let place = subscribe::Place { start, is_once: false, cursor: Some(cursor) };
        let listened = self.listen(&services, &subscription, resource, filter, place);
        if let Err(reason) = listened {
            tracing::info!(client = ?self.client_id, %reason, "a subscription is not gone on with");
            return self.give_up(stored);
        }
        if let Some(feed) = self.feeds.get_mut(&stored.feed) {
            let places = open.iter().chain(done);
            feed.known.extend(places.filter(mine).map(|place| place.sequence));
        }
        self.share(&subscription.filter, true);
        self.subscriptions.insert(subscription, stored.id);
    }

    fn give_up(&self, stored: &StoredSubscription) {
        self.context.broker.release((&stored.database, &stored.table));
        self.context.broker.part(self.number, stored);
    }

    /// The message of a row: as it was kept, or read from the log again.
    fn unanswered(&self, row: &Row<Place>, kept: Option<Outgoing>) -> Option<Unanswered> {
        let place = Some(row.place);
        if let Some(message) = kept {
            return Some(Unanswered { place, message });
        }
        if row.phase == Phase::Released {
            let message = Outgoing {
                topic: Text::default(),
                properties: Bytes::new(),
                payload: Bytes::new(),
                retain: false,
                ids: Vec::new(),
                expires_ms: 0,
            };
            return Some(Unanswered { place, message });
        }
        let feed = self.feeds.get(&row.place.feed)?;
        let event = read(feed, row.place.sequence)?;
        let message = self.message_again(feed, &event, row.place.is_record)?;
        Some(Unanswered { place, message })
    }

    /// What is to be stored of where the session has come, and what is not needed any more.
    pub(super) fn settled(&mut self) -> Vec<SideOp> {
        self.is_dirty = false;
        let mut ops = Vec::new();
        let feeds = &self.feeds;
        let shelf = &self.shelf;
        self.rows.retain(|place, (_, is_done)| {
            let position = feeds.get(&place.feed).map(|feed| feed.cursor.position());
            let is_behind = position.is_none_or(|position| place.sequence <= position);
            let goes = *is_done && (place.is_record || is_behind);
            if goes {
                ops.push(shelf.delete_going(place));
            }
            !goes
        });
        self.tell_shares();
        self.kept.retain(|place, _| self.rows.contains_key(place));
        match self.shelf.put_session(&self.as_stored(None)) {
            Ok(op) => ops.push(op),
            Err(error) => tracing::error!(%error, "a session of MQTT cannot be stored"),
        }
        ops
    }

    /// The session as it is stored.
    fn as_stored(&self, closed_ms: Option<u64>) -> Session {
        let feeds = self.feeds.iter().filter(|(_, feed)| !feed.is_once);
        let subscriptions = feeds.filter_map(|(number, feed)| {
            let (subscription, id) = self.subscriptions.get(&feed.filter)?;
            let (database, table) = subscribe::names(&feed.resource);
            Some(StoredSubscription {
                feed: *number,
                filter: subscription.filter.whole().to_string(),
                qos: subscription.qos.bits(),
                no_local: subscription.no_local,
                retain_as_published: subscription.retain_as_published,
                id,
                database: database.to_owned(),
                table: table.to_owned(),
                epoch: feed.resource.database.epoch(),
                cursor: feed.cursor.position(),
            })
        });
        let about_broker = self.subscriptions.iter().filter_map(sys::stored);
        let mut subscriptions: Vec<_> = subscriptions.chain(about_broker).collect();
        subscriptions.sort_unstable_by_key(|one| one.feed);
        Session {
            client: self.client_id.to_string(),
            user: self.user().to_owned(),
            expiry_s: self.lifetime.seconds(),
            closed_ms,
            subscriptions,
            will: self.will.clone(),
        }
    }

    /// Stores the session, and waits until it is durable.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn store(&mut self) -> Result<(), StoredError> {
        let mut ops = self.keep_unanswered();
        ops.push(self.shelf.put_session(&self.as_stored(None))?);
        stored::commit(&self.context.broker.system, ops).await
    }

    /// The connection has ended: what outlives it is stored, and what does not is gone. A will is published at once, or
    /// waits.
    pub(super) async fn finish(mut self: Box<Self>, stop: Stop) {
        let now_ms = stored::now_ms();
        // whoever goes on with the session, perhaps on another worker, speaks after it
        self.context.host.services().subscriptions.pass_on();
        self.settle_answers().await;
        self.settle_staging().await;
        if matches!(stop, Stop::Done { with_will: false }) {
            self.will = None;
        }
        // the process stops: the will is published when it is back, unless the client is back before it is due
        let is_ending = matches!(stop, Stop::Ending);
        let waits = |will: &stored::StoredWill| will.delay_s.min(self.lifetime.seconds()) > 0;
        let is_due = self.will.as_ref().is_some_and(|will| !is_ending && !waits(will));
        if let Some(will) = self.will.take_if(|_| is_due) {
            // no packet has asked since rights were taken away
            let identity = self.identity_now().unwrap_or(Identity::Anonymous);
            publish::will(&self.context, &identity, self.number, &will).await;
        }
        if let Err(error) = self.leave_stored(now_ms).await {
            tracing::error!(%error, client = ?self.client_id, "a session of MQTT cannot be stored");
            self.context.broker.look_again(self.shelf.hash());
        }
        self.part_shares();
        self.metrics.mqtt.connected.add(-1);
        self.metrics.mqtt.connected_stored.add(-i64::from(self.is_stored));
    }

    /// Whether the log tells the message of a place to a later connection: its subscription is stored.
    pub(super) fn is_told_again(&self, place: &Place) -> bool {
        self.feeds.get(&place.feed).is_some_and(|feed| !feed.is_once)
    }

    /// What is stored of a message that goes.
    pub(super) fn row(&self, id: PacketId, place: Place, phase: Phase) -> Row<Place> {
        Row { place, id, turn: self.outbound.turn_of(id).unwrap_or_default(), phase }
    }

    /// Keeps what is unanswered and will not be told again, since its subscription is gone (MQTT-3.10.4-3).
    pub(super) fn keep_unanswered(&mut self) -> Vec<SideOp> {
        let mut ops = Vec::new();
        for (id, qos, phase, unanswered) in self.outbound.unanswered() {
            let Some(place) = unanswered.place.filter(|place| !self.is_told_again(place)) else {
                continue;
            };
            if self.kept.get(&place) == Some(&phase) {
                continue;
            }
            self.kept.insert(place, phase);
            let row = self.row(id, place, phase);
            self.rows.insert(place, (row, false));
            ops.push(self.shelf.put_going(&row, qos, Some(&unanswered.message)));
        }
        ops
    }

    /// Is away from its shared subscriptions, or takes part in them no more.
    pub(super) fn part_shares(&self) {
        for (subscription, _) in self.subscriptions.iter() {
            self.share(&subscription.filter, false);
        }
    }

    /// Takes part in a subscription, if it is a shared one, or is away from it; a client without a session is gone then.
    pub(super) fn share(&self, filter: &Filter, is_here: bool) {
        let feed = self.feeds.values().find(|feed| feed.filter == *filter && !feed.is_once);
        let (Some(feed), Some(_)) = (feed, filter.share()) else { return };
        let (is_durable, cursor) = (self.lifetime.is_durable(), feed.settled);
        let member = Member { is_here, is_durable, cursor };
        let member = Some(member).filter(|_| is_here || is_durable);
        let table = subscribe::names(&feed.resource);
        self.context.broker.share(filter.whole(), self.number, member, table);
    }

    /// Tells the shares how far this client has come: what it was told the last time, which is on its way to the disk before
    /// anything that follows from it.
    pub(super) fn tell_shares(&mut self) {
        let (broker, number) = (&self.context.broker, self.number);
        let is_handed_over = self.staging.is_empty();
        for feed in self.feeds.values_mut().filter(|feed| feed.filter.share().is_some()) {
            if is_handed_over {
                broker.shares.came(feed.filter.whole(), number, feed.settled);
                feed.settled = feed.cursor.position();
            }
        }
    }

    async fn leave_stored(&mut self, now_ms: u64) -> Result<(), StoredError> {
        if !self.is_stored {
            return Ok(());
        }
        let broker = Arc::clone(&self.context.broker);
        let session = self.as_stored(Some(now_ms));
        if !self.lifetime.is_durable() && self.will.is_none() {
            self.shelf.clear(&broker.store).await?;
            broker.forget(&session, self.keeps);
            return Ok(());
        }
        let mut ops = self.settled();
        for (id, qos, phase, message) in self.outbound.unanswered() {
            if let Some(place) = message.place {
                let message = Some(&message.message).filter(|_| !self.is_told_again(&place));
                ops.push(self.shelf.put_going(&self.row(id, place, phase), qos, message));
            }
        }
        let held = self.inbound.held().iter().filter(|id| !self.held.contains_key(id));
        ops.extend(held.map(|id: &PacketId| self.shelf.hold_again(*id)));
        ops.push(self.shelf.put_session(&session)?);
        stored::commit(&broker.system, ops).await?;
        broker.wait_for(&session, now_ms);
        Ok(())
    }
}

/// One entry of a table's log.
fn read(feed: &subscribe::Feed, sequence: u64) -> Option<Event> {
    let txn = feed.resource.database.read().ok()?;
    feed.resource.table.event_at(&txn, sequence).ok()?
}
