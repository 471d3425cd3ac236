//! SUBSCRIBE and UNSUBSCRIBE.

use super::client::{Client, Stop};
use super::sys;
use crate::auth::Identity;
use crate::error::Code;
use crate::hub::{Filter, Lens, Overflow, Pattern, Start, Subscription as Listening};
use crate::resource::subscribe::Asked;
use crate::resource::table::TableResource;
use crate::services::Services;
use harper_mqtt::packet::{Packet, RetainHandling, Suback, Subscribe, Subscription, Unsubscribe};
use harper_mqtt::property::SUBSCRIPTION_ID;
use harper_mqtt::session::Cursor;
use harper_mqtt::topic;
use harper_mqtt::{Properties, Qos, Reason};
use harper_store::Key;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

/// A subscription as it listens to its table.
pub(super) struct Feed {
    /// What was subscribed to.
    pub filter: topic::Filter,
    /// The table.
    pub resource: Arc<TableResource>,
    /// How its events are looked at.
    pub lens: Rc<dyn Lens>,
    /// Keeps it going.
    pub listening: Listening,
    /// How far it has come in the table's log.
    pub cursor: Cursor,
    /// How far it had come when that was last handed to the store.
    pub settled: u64,
    /// Places after the cursor that are done, or sent already.
    pub known: HashSet<u64>,
    /// Whether it only tells the records that are there, for a subscription that was there before.
    pub is_once: bool,
}

impl Client {
    /// SUBSCRIBE.
    pub(super) async fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), Stop> {
        let Subscribe { id, properties, subscriptions } = subscribe;
        let number = properties.get(&SUBSCRIPTION_ID).map(|id| id.0);
        let mut reasons = Vec::with_capacity(subscriptions.len());
        for subscription in subscriptions {
            let qos = subscription.qos;
            reasons.push(match self.subscribe_one(&subscription, number) {
                Ok(()) => granted(qos),
                Err(reason) => reason,
            });
        }
        if self.keeps {
            self.settle_staging().await;
            self.store().await.map_err(|error| super::client::not_stored(&error))?;
        }
        self.send(&Packet::Suback(Suback { id, properties: Properties::default(), reasons }));
        Ok(())
    }

    fn subscribe_one(&mut self, asked: &Subscription, id: Option<u32>) -> Result<(), Reason> {
        let services = self.context.host.services();
        let asked = Subscription { filter: asked.filter.detached(), ..asked.clone() };
        let is_known = self.subscriptions.get(&asked.filter).is_some();
        if !is_known && self.subscriptions.len() >= services.config.mqtt.subscriptions_max {
            return Err(Reason::QuotaExceeded);
        }
        if sys::is_about_broker(&asked.filter) {
            return self.subscribe_sys(&services, asked, id);
        }
        let (resource, filter) = self.target(&asked.filter)?;
        let is_shared = asked.filter.share().is_some();
        if is_shared && !is_known && !self.context.broker.shares.has_room(asked.filter.whole()) {
            return Err(Reason::QuotaExceeded);
        }
        let tells_records = match asked.retain_handling {
            RetainHandling::Send => !is_shared,
            RetainHandling::SendIfNew => !is_shared && !is_known,
            RetainHandling::Never => false,
        };
        if is_known && !tells_records {
            self.enter(asked, id);
            return Ok(());
        }
        let start = if tells_records { Start::Current } else { Start::Now };
        if self.keeps && !is_known {
            // before the place in the log is taken, so that all that follows is kept
            self.context.broker.keep(names(&resource));
        }
        let place = Place { start, is_once: is_known, cursor: None };
        let listened = self.listen(&services, &asked, resource, filter, place);
        listened.inspect_err(|_| self.unkeep(&asked.filter, is_known))?;
        if !is_known {
            self.share(&asked.filter, true);
        }
        self.enter(asked, id);
        Ok(())
    }

    /// Takes a subscription in, in place of one with the same filter.
    fn enter(&mut self, subscription: Subscription, id: Option<u32>) {
        for feed in self.feeds.values().filter(|feed| feed.filter == subscription.filter) {
            feed.listening.set_overflow(overflow(subscription.qos));
        }
        self.subscriptions.insert(subscription, id);
    }

    fn unkeep(&self, filter: &topic::Filter, is_known: bool) {
        if self.keeps
            && !is_known
            && let Ok((resource, _)) = self.target(filter)
        {
            self.context.broker.release(names(&resource));
        }
    }

    /// The table that a filter is about, and which of its records.
    pub(super) fn target(
        &self,
        filter: &topic::Filter,
    ) -> Result<(Arc<TableResource>, Filter), Reason> {
        let routes = self.context.host.routes();
        let found = routes.0.topic(filter.topics());
        let (resource, rest) = found.ok_or(Reason::TopicFilterInvalid)?;
        let records = match rest {
            "#" => Filter::All,
            rest if filter.has_wildcard() => {
                Filter::Pattern(Pattern::parse(rest).ok_or(Reason::TopicFilterInvalid)?)
            }
            rest => {
                let key = Key::from_path(&resource.schema, rest);
                Filter::Key(key.map_err(|_| Reason::TopicFilterInvalid)?)
            }
        };
        Ok((Arc::clone(resource), records))
    }

    /// Listens to a table.
    pub(super) fn listen(
        &mut self,
        services: &Services,
        subscription: &Subscription,
        resource: Arc<TableResource>,
        filter: Filter,
        place: Place,
    ) -> Result<(), Reason> {
        let Place { start, is_once, cursor } = place;
        let asked = Asked { filter, query: "", start };
        let watch = resource.watch(services, &self.identity, asked);
        let mut watch = watch.map_err(|failure| match (failure.code, &self.identity) {
            (Code::LoginRequired | Code::Forbidden, Identity::Anonymous | Identity::User(_)) => {
                Reason::NotAuthorized
            }
            _ => Reason::UnspecifiedError,
        })?;
        let number = self.last_feed + 1;
        watch.tag = number;
        watch.overflow = overflow(subscription.qos);
        let cursor = match cursor {
            Some(cursor) => cursor,
            None => Cursor::new(last_sequence(&resource)?),
        };
        let lens = Rc::clone(&watch.lens);
        let listening = services.subscriptions.subscribe(&self.outbox, watch);
        let listening = listening.map_err(|failure| match failure.code {
            Code::Overloaded => Reason::QuotaExceeded,
            _ => Reason::UnspecifiedError,
        })?;
        self.last_feed = number;
        if is_once {
            // what the one before has not told yet, this one tells
            self.feeds.retain(|_, feed| !feed.is_once || feed.filter != subscription.filter);
        }
        let feed = Feed {
            filter: subscription.filter.clone(),
            resource,
            lens,
            listening,
            settled: cursor.position(),
            cursor,
            known: HashSet::new(),
            is_once,
        };
        self.feeds.insert(number, feed);
        Ok(())
    }

    /// UNSUBSCRIBE.
    pub(super) async fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Result<(), Stop> {
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            reasons.push(match self.subscriptions.remove(filter) {
                true => Reason::Success,
                false => Reason::NoSubscriptionExisted,
            });
            if let Some(feed) = self.feeds.values().find(|feed| feed.filter == *filter)
                && filter.share().is_some()
            {
                let table = names(&feed.resource);
                self.context.broker.share(filter.whole(), self.number, None, table);
            }
            self.feeds.retain(|_, feed| {
                let stays = feed.filter != *filter;
                if !stays && !feed.is_once && self.keeps {
                    self.context.broker.release(names(&feed.resource));
                }
                stays
            });
        }
        self.unsubscribe_sys();
        if self.keeps {
            self.settle_staging().await;
            self.store().await.map_err(|error| super::client::not_stored(&error))?;
        }
        let unsuback = Suback { id: unsubscribe.id, properties: Properties::default(), reasons };
        self.send(&Packet::Unsuback(unsuback));
        Ok(())
    }
}

/// From where on a subscription is told.
pub(super) struct Place {
    /// For the hub.
    pub start: Start,
    /// As in [`Feed`].
    pub is_once: bool,
    /// How far it had come; none for where the log ends.
    pub cursor: Option<Cursor>,
}

/// The names of a table and its database.
pub(super) fn names(resource: &TableResource) -> (&str, &str) {
    (&resource.schema.database, &resource.schema.name)
}

fn last_sequence(resource: &TableResource) -> Result<u64, Reason> {
    let read = resource.database.read().and_then(|txn| resource.table.last_sequence(&txn));
    read.map_err(|error| {
        tracing::error!(%error, "a table cannot be subscribed to");
        Reason::UnspecifiedError
    })
}

/// A message that has to arrive is not left out: the client comes back for it.
fn overflow(qos: Qos) -> Overflow {
    match qos {
        Qos::AtMostOnce => Overflow::Drop,
        Qos::AtLeastOnce | Qos::ExactlyOnce => Overflow::Disconnect,
    }
}

fn granted(qos: Qos) -> Reason {
    match qos {
        Qos::AtMostOnce => Reason::Success,
        Qos::AtLeastOnce => Reason::GrantedQos1,
        Qos::ExactlyOnce => Reason::GrantedQos2,
    }
}
