//! A subscriber whose session lasts, and who keeps what the standard has a client keep: identifiers of QoS 2 (§4.1).

use super::Stage;
use super::client::Link;
use harper_mqtt::packet::{Ack, Delivery, Subscribe, Subscription};
use harper_mqtt::session::{Arrival, Inbound};
use harper_mqtt::topic::Filter;
use harper_mqtt::{Packet, PacketId, Properties, Qos, Reason, Text};
use std::collections::HashSet;
use std::io::Result;
use std::sync::atomic::Ordering;

/// What one subscriber has heard.
pub(super) struct Heard {
    pub(super) client_id: String,
    pub(super) qos: Qos,
    pub(super) connections: u64,
    /// How often each message came, by its number.
    counts: Vec<u8>,
    /// How many have come at all.
    distinct: u64,
}

impl Heard {
    fn count(&mut self, payload: &[u8]) {
        let number: usize = std::str::from_utf8(payload).unwrap().parse().unwrap();
        if self.counts.len() <= number {
            self.counts.resize(number + 1, 0);
        }
        self.distinct += u64::from(self.counts[number] == 0);
        self.counts[number] = self.counts[number].saturating_add(1);
    }

    /// Of so many messages, those that never came.
    pub(super) fn missing(&self, total: u64) -> u64 {
        total - self.distinct
    }

    /// The number of the first of them.
    pub(super) fn first_missing(&self, total: u64) -> Option<u64> {
        (0..total).find(|number| self.counts.get(*number as usize).is_none_or(|count| *count == 0))
    }

    /// Messages that came more than once.
    pub(super) fn doubled(&self) -> u64 {
        self.counts.iter().filter(|count| **count > 1).count() as u64
    }
}

/// Listens until all that was published has come, whatever happens to the connection.
pub(super) fn run(stage: &Stage, client_id: &str, qos: Qos) -> Heard {
    let (counts, client_id) = (Vec::new(), client_id.to_owned());
    let mut heard = Heard { client_id, qos, connections: 0, counts, distinct: 0 };
    let mut held = HashSet::new();
    while !is_done(stage, &heard) {
        if listen(stage, &mut heard, &mut held).is_err() {
            Link::pause();
        }
    }
    heard
}

fn is_done(stage: &Stage, heard: &Heard) -> bool {
    let total = stage.published.load(Ordering::Relaxed);
    let has_all = stage.is_over.load(Ordering::Acquire) && heard.distinct >= total;
    has_all || stage.gives_up.load(Ordering::Relaxed)
}

/// One connection.
fn listen(stage: &Stage, heard: &mut Heard, held: &mut HashSet<PacketId>) -> Result<()> {
    let (mut link, connack) = Link::resume(stage.broker, &heard.client_id)?;
    if heard.connections == 0 {
        subscribe(&mut link, heard.qos)?;
        stage.subscribed.fetch_add(1, Ordering::Relaxed);
    } else {
        assert!(connack.session_present, "the session of {} was lost", heard.client_id);
    }
    heard.connections += 1;
    let mut inbound = Inbound::new(u16::MAX, std::mem::take(held));
    let result = take_messages(stage, heard, &mut link, &mut inbound);
    held.clone_from(inbound.held());
    result
}

fn subscribe(link: &mut Link, qos: Qos) -> Result<()> {
    let filter = Filter::new(Text::try_from("T/#").unwrap()).unwrap();
    link.put(&Packet::Subscribe(Subscribe {
        id: PacketId::MIN,
        properties: Properties::default(),
        subscriptions: vec![Subscription::new(filter, qos)],
    }));
    link.flush()?;
    match link.answer()? {
        Packet::Suback(suback) if suback.reasons.iter().all(|reason| !reason.is_error()) => Ok(()),
        other => panic!("SUBSCRIBE was answered with {other:?}"),
    }
}

fn take_messages(
    stage: &Stage,
    heard: &mut Heard,
    link: &mut Link,
    inbound: &mut Inbound,
) -> Result<()> {
    while !is_done(stage, heard) {
        link.fill()?;
        while let Some(packet) = link.take()? {
            match packet {
                Packet::Publish(publish) => {
                    let arrival = inbound.publish(publish.delivery).unwrap();
                    if arrival == Arrival::New {
                        heard.count(&publish.payload);
                    }
                    match publish.delivery {
                        Delivery::AtMostOnce => panic!("a message of QoS 0"),
                        Delivery::AtLeastOnce(id) => {
                            inbound.puback();
                            link.put(&Packet::Puback(Ack::success(id)));
                        }
                        Delivery::ExactlyOnce(id) => link.put(&Packet::Pubrec(Ack::success(id))),
                    }
                }
                Packet::Pubrel(ack) => {
                    let is_known = inbound.pubrel(ack.id);
                    let reason =
                        if is_known { Reason::Success } else { Reason::PacketIdentifierNotFound };
                    link.put(&Packet::Pubcomp(Ack::new(ack.id, reason)));
                }
                other => panic!("a subscriber got {other:?}"),
            }
        }
        link.flush()?;
    }
    Ok(())
}
