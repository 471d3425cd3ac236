//! A publisher of QoS 2 at full rate that forgets nothing: what is unanswered is sent again by the next connection.

use super::Stage;
use super::client::Link;
use bytes::Bytes;
use harper_mqtt::packet::{Ack, Delivery, Publish};
use harper_mqtt::property::RECEIVE_MAXIMUM;
use harper_mqtt::session::{Outbound, Received, Resend};
use harper_mqtt::{Packet, PacketId, Properties, Qos, Text};
use std::io::Result;
use std::sync::atomic::Ordering;

/// Topics to publish to, in turn.
const TOPICS: u64 = 16;

struct Publisher<'a> {
    stage: &'a Stage,
    /// What was begun, by its number.
    outbound: Outbound<u64>,
    begun: u64,
    has_session: bool,
}

/// Publishes until the stage closes and every message is with the broker.
pub(super) fn run(stage: &Stage) {
    let outbound = Outbound::new(1);
    let mut publisher = Publisher { stage, outbound, begun: 0, has_session: false };
    while !publisher.is_done() {
        if publisher.work().is_err() {
            Link::pause();
        }
    }
    assert_eq!(stage.published.load(Ordering::Relaxed), publisher.begun);
    stage.is_over.store(true, Ordering::Release);
}

impl Publisher<'_> {
    fn is_done(&self) -> bool {
        let is_closing = self.stage.is_closing.load(Ordering::Relaxed);
        is_closing && self.outbound.unanswered().is_empty()
    }

    /// One connection.
    fn work(&mut self) -> Result<()> {
        let (mut link, connack) = Link::resume(self.stage.broker, "publisher")?;
        assert!(connack.session_present || !self.has_session, "the publisher's session was lost");
        self.has_session = true;
        let maximum = connack.properties.get(&RECEIVE_MAXIMUM).copied();
        self.outbound.resume(maximum.unwrap_or(u16::MAX));
        while !self.is_done() {
            self.send(&mut link);
            link.flush()?;
            link.fill()?;
            while let Some(packet) = link.take()? {
                self.answered(&mut link, packet);
            }
        }
        Ok(())
    }

    /// What is unanswered first, then what is new, as far as the broker takes it.
    fn send(&mut self, link: &mut Link) {
        while let Some(again) = self.outbound.resend() {
            match again {
                Resend::Publish(id, _, number) => link.put(&message(id, *number, true)),
                Resend::Release(id) => link.put(&Packet::Pubrel(Ack::success(id))),
            }
        }
        while !self.stage.is_closing.load(Ordering::Relaxed) {
            let Some(id) = self.outbound.begin(Qos::ExactlyOnce, self.begun) else { break };
            link.put(&message(id, self.begun, false));
            self.begun += 1;
        }
    }

    fn answered(&mut self, link: &mut Link, packet: Packet) {
        match packet {
            Packet::Pubrec(ack) => match self.outbound.pubrec(ack.id, ack.reason).unwrap() {
                Received::Release => link.put(&Packet::Pubrel(Ack::success(ack.id))),
                other => panic!("PUBREC {ack:?} did {other:?}"),
            },
            Packet::Pubcomp(ack) => {
                if self.outbound.pubcomp(ack.id).unwrap().is_some() {
                    self.stage.published.fetch_add(1, Ordering::Relaxed);
                }
            }
            other => panic!("the publisher got {other:?}"),
        }
    }
}

fn message(id: PacketId, number: u64, dup: bool) -> Packet {
    Packet::Publish(Publish {
        dup,
        delivery: Delivery::ExactlyOnce(id),
        retain: false,
        topic: Text::try_from(format!("T/topic-{}", number % TOPICS)).unwrap(),
        properties: Properties::default(),
        payload: Bytes::from(number.to_string()),
    })
}
