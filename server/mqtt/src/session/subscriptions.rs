//! The subscriptions of a session, and what they make of a message (§3.3.4, §3.8.4).

use crate::basic::Qos;
use crate::packet::Subscription;
use crate::topic::Filter;

/// The subscriptions of a session, one for each filter (MQTT-3.8.4-3).
#[derive(Debug, Clone, Default)]
pub struct Subscriptions(Vec<(Subscription, Option<u32>)>);

/// How a message goes to a client that it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match<'a> {
    /// The filter of the first of them: the message goes by this one alone, whichever others match.
    pub first: &'a Filter,
    /// The greatest quality of service of the subscriptions that match (MQTT-3.3.4-2).
    pub qos: Qos,
    /// Whether the retain flag is kept as published (MQTT-3.3.1-12, MQTT-3.3.1-13).
    pub retain_as_published: bool,
    /// Their identifiers (MQTT-3.3.4-3, MQTT-3.3.4-4).
    pub ids: Vec<u32>,
}

impl Subscriptions {
    /// Adds a subscription, in place of one with the same filter; whether there was one.
    pub fn insert(&mut self, subscription: Subscription, id: Option<u32>) -> bool {
        let known = self.0.iter_mut().find(|(known, _)| known.filter == subscription.filter);
        match known {
            Some(known) => {
                *known = (subscription, id);
                true
            }
            None => {
                self.0.push((subscription, id));
                false
            }
        }
    }

    /// Removes the subscription with exactly this filter (MQTT-3.10.4-1); whether there was one.
    pub fn remove(&mut self, filter: &Filter) -> bool {
        let before = self.0.len();
        self.0.retain(|(known, _)| known.filter != *filter);
        self.0.len() < before
    }

    /// The subscription with exactly this filter, and its identifier.
    #[must_use]
    pub fn get(&self, filter: &Filter) -> Option<(&Subscription, Option<u32>)> {
        self.iter().find(|(known, _)| known.filter == *filter)
    }

    /// All of them, with their identifiers.
    pub fn iter(&self) -> impl Iterator<Item = (&Subscription, Option<u32>)> {
        self.0.iter().map(|(subscription, id)| (subscription, *id))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How a message goes to the client by those that are not shared; none when it does not. `is_own` says that the
    /// client itself has published it (MQTT-3.8.3-3).
    #[must_use]
    pub fn matching(&self, topic: &str, is_own: bool) -> Option<Match<'_>> {
        let mut found: Option<Match<'_>> = None;
        for (subscription, id) in &self.0 {
            let is_left_out = subscription.no_local && is_own;
            if is_left_out || subscription.filter.share().is_some() {
                continue;
            }
            if !subscription.filter.matches(topic) {
                continue;
            }
            let entry = found.get_or_insert(Match {
                first: &subscription.filter,
                qos: Qos::AtMostOnce,
                retain_as_published: false,
                ids: Vec::new(),
            });
            entry.qos = entry.qos.max(subscription.qos);
            entry.retain_as_published |= subscription.retain_as_published;
            entry.ids.extend(*id);
        }
        found
    }
}
