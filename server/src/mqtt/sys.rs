//! `$SYS`: what the broker tells of itself, under the names that mosquitto has given it.
//!
//! Each client that subscribes is told by a timer of its own, so that nothing is done while nobody does. Only super users
//! may, and nobody publishes there. What is told is made once for all clients of a moment.

use super::Broker;
use super::client::{Client, Stop};
use super::message::Outgoing;
use super::stored::{SYSTEM, StoredSubscription};
use crate::metrics::{LeftOut, MqttTotals};
use crate::services::Services;
use bytes::Bytes;
use harper_mqtt::packet::{Delivery, RetainHandling, Subscription};
use harper_mqtt::topic::Filter;
use harper_mqtt::{Reason, Text};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How old what is told may be.
const AGE_MAX: Duration = Duration::from_secs(1);

/// When a client is looked at again that is told nothing any more.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Topics and what they say.
pub(super) type Topics = Vec<(&'static str, String)>;

/// What one client is told.
pub(super) struct Sys {
    /// When it is told next.
    pub(super) next: Instant,
    /// Filters whose topics it has not been told yet, as retained messages.
    fresh: Vec<Filter>,
    /// What it was told last; only what has changed is told again.
    told: HashMap<&'static str, String>,
}

/// What was told last, and when.
pub(super) struct Told {
    begun: Instant,
    last: Mutex<Option<(Instant, Arc<Topics>)>>,
}

impl Told {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), last: Mutex::default() }
    }
}

/// A subscription of a session to what the broker tells, as it is stored; none for any other.
pub(super) fn stored(
    (subscription, id): (&Subscription, Option<u32>),
) -> Option<StoredSubscription> {
    is_about_broker(&subscription.filter).then(|| StoredSubscription {
        // those of tables begin with 1
        feed: 0,
        filter: subscription.filter.whole().to_string(),
        qos: subscription.qos.bits(),
        no_local: subscription.no_local,
        retain_as_published: subscription.retain_as_published,
        id,
        database: String::new(),
        table: String::new(),
        epoch: 0,
        cursor: 0,
    })
}

/// Whether a filter, or the topic of a share, is about the broker.
pub(super) fn is_about_broker(filter: &Filter) -> bool {
    filter.topics() == "$SYS" || filter.topics().starts_with("$SYS/")
}

impl Client {
    /// Subscribes to what the broker tells of itself.
    pub(super) fn subscribe_sys(
        &mut self,
        services: &Services,
        asked: Subscription,
        id: Option<u32>,
    ) -> Result<(), Reason> {
        let is_off = services.config.mqtt.sys_interval.is_zero();
        if is_off || asked.filter.share().is_some() {
            return Err(Reason::TopicFilterInvalid);
        }
        if !self.identity.is_super_user() {
            return Err(Reason::NotAuthorized);
        }
        let (filter, handling) = (asked.filter.clone(), asked.retain_handling);
        let is_known = self.subscriptions.insert(asked, id);
        let now = Instant::now();
        let sys = self.sys.get_or_insert_with(|| {
            let (fresh, told) = (Vec::new(), HashMap::new());
            Box::new(Sys { next: now, fresh, told })
        });
        let is_told = match handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => !is_known,
            RetainHandling::Never => false,
        };
        if is_told {
            sys.fresh.push(filter);
            sys.next = now;
        }
        Ok(())
    }

    /// Tells nothing more when nothing is asked for.
    pub(super) fn unsubscribe_sys(&mut self) {
        if !self.subscriptions.iter().any(|(one, _)| is_about_broker(&one.filter)) {
            self.sys = None;
        }
    }

    /// Tells what has changed, if it is time.
    pub(super) fn tell_sys(&mut self, now: Instant) -> Result<(), Stop> {
        let Some(mut sys) = self.sys.take_if(|sys| sys.next <= now) else { return Ok(()) };
        if !self.identity.is_super_user() {
            return Err(Stop::refuse(Reason::NotAuthorized, "a right to read was taken away"));
        }
        let interval = self.context.host.services().config.mqtt.sys_interval;
        if interval.is_zero() {
            // it may be switched on again
            sys.next = now + LOOK_AGAIN;
            self.sys = Some(sys);
            return Ok(());
        }
        if self.takes_messages() {
            let topics = self.context.broker.topics(now);
            topics.iter().for_each(|(topic, text)| self.tell_topic(&mut sys, topic, text));
            sys.fresh.clear();
        } else {
            self.metrics.mqtt.left_out(LeftOut::Waiting);
        }
        sys.next = now + interval.max(AGE_MAX);
        self.sys = Some(sys);
        Ok(())
    }

    fn tell_topic(&mut self, sys: &mut Sys, topic: &'static str, text: &str) {
        let is_fresh = sys.fresh.iter().any(|filter| filter.matches(topic));
        let is_changed = sys.told.get(topic).is_none_or(|told| told != text);
        let Some(found) = self.subscriptions.matching(topic, false) else { return };
        if !is_fresh && !is_changed {
            return;
        }
        let retain = is_fresh || found.retain_as_published;
        let ids = found.ids;
        let Ok(topic_text) = Text::try_from(topic) else { return };
        sys.told.insert(topic, text.to_owned());
        let message = Outgoing {
            topic: topic_text,
            properties: Bytes::new(),
            payload: Bytes::copy_from_slice(text.as_bytes()),
            retain,
            ids,
            expires_ms: 0,
        };
        self.write(Delivery::AtMostOnce, false, &message);
    }
}

impl Broker {
    /// What there is to tell.
    fn topics(&self, now: Instant) -> Arc<Topics> {
        let mut last = self.told.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((made, topics)) if now.saturating_duration_since(*made) < AGE_MAX => {
                Arc::clone(topics)
            }
            _ => {
                let topics = Arc::new(self.make_topics(now));
                *last = Some((now, Arc::clone(&topics)));
                topics
            }
        }
    }

    fn make_topics(&self, now: Instant) -> Topics {
        let MqttTotals {
            connected,
            connected_stored,
            bytes,
            packets,
            messages,
            payload_bytes,
            left_out,
            subscriptions,
        } = self.metrics.mqtt_totals();
        let absent = (self.sessions() as u64).saturating_sub(connected_stored);
        let uptime = now.saturating_duration_since(self.told.begun).as_secs();
        let records = self.records();
        let numbers = [
            ("$SYS/broker/clients/connected", connected),
            ("$SYS/broker/clients/disconnected", absent),
            ("$SYS/broker/clients/total", connected + absent),
            ("$SYS/broker/clients/maximum", self.clients_peak()),
            ("$SYS/broker/bytes/received", bytes[0]),
            ("$SYS/broker/bytes/sent", bytes[1]),
            ("$SYS/broker/messages/received", packets[0]),
            ("$SYS/broker/messages/sent", packets[1]),
            ("$SYS/broker/publish/messages/received", messages[0]),
            ("$SYS/broker/publish/messages/sent", messages[1]),
            ("$SYS/broker/publish/messages/dropped", left_out),
            ("$SYS/broker/publish/bytes/received", payload_bytes[0]),
            ("$SYS/broker/publish/bytes/sent", payload_bytes[1]),
            ("$SYS/broker/subscriptions/count", subscriptions),
            ("$SYS/broker/shared_subscriptions/count", self.shares.count() as u64),
            ("$SYS/broker/retained messages/count", records),
        ];
        let texts = [
            ("$SYS/broker/version", format!("harper-server {}", env!("CARGO_PKG_VERSION"))),
            ("$SYS/broker/uptime", format!("{uptime} seconds")),
        ];
        let numbers = numbers.into_iter().map(|(topic, number)| (topic, number.to_string()));
        texts.into_iter().chain(numbers).collect()
    }

    /// The records of all databases but the server's own: each is a retained message.
    fn records(&self) -> u64 {
        let databases = self.store.databases();
        let own = databases.iter().filter(|database| database.name() != SYSTEM);
        own.filter_map(|database| {
            let txn = database.read().ok()?;
            Some(
                database
                    .tables()
                    .iter()
                    .filter_map(|table| table.count_stored(&txn).ok())
                    .sum::<u64>(),
            )
        })
        .sum()
    }
}
