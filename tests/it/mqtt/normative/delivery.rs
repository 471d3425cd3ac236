//! How messages go to clients (§4.3 to §4.6, §4.9).

use super::super::client::{Mqtt, connect, id, lasting, message};
use super::super::{SCHEMA, VERSIONS, connected, launch, start};
use crate::harness::{Home, eventually};
use bytes::BytesMut;
use harper_mqtt::packet::{Ack, Connect, Delivery, Packet, Publish};
use harper_mqtt::property::{MESSAGE_EXPIRY, RECEIVE_MAXIMUM};
use harper_mqtt::{Properties, Qos, Reason, Version, encode};
use std::time::Duration;

fn expiring(topic: &str, payload: &str, seconds: u32) -> Publish {
    Publish {
        properties: Properties::default().with(&MESSAGE_EXPIRY, seconds),
        ..message(topic, payload)
    }
}

#[test]
fn what_has_expired_is_not_sent_and_the_rest_says_what_is_left() {
    let server = start();
    let (mut client, _) = Mqtt::version(&server, Version::V5).lasting("d");
    client.listen("Dog/d", Qos::AtLeastOnce);
    client.disconnect();
    let mut publisher = connected(&server, "p");
    publisher.publish_1(expiring("Dog/d", "brief", 1));
    publisher.publish_1(expiring("Dog/d", "long", 100));
    std::thread::sleep(Duration::from_millis(2100));
    let (mut client, _) = Mqtt::version(&server, Version::V5).lasting("d");
    let publish = client.publication();
    assert_eq!(&publish.payload[..], b"long");
    assert!((90..=98).contains(publish.properties.get(&MESSAGE_EXPIRY).unwrap()));
    client.answer(&publish);
    client.silent();
}

#[test]
fn a_message_that_expires_is_answered_to_the_end() {
    let server = start();
    let (mut client, _) = Mqtt::version(&server, Version::V5).lasting("d");
    client.listen("Dog/d", Qos::ExactlyOnce);
    client.disconnect();
    let mut publisher = connected(&server, "p");
    let publish =
        Publish { delivery: Delivery::ExactlyOnce(id(3)), ..expiring("Dog/d", "brief", 1) };
    publisher.publish(publish.clone());
    assert_eq!(publisher.next(), Packet::Pubrec(Ack::success(id(3))));
    std::thread::sleep(Duration::from_millis(2100));
    publisher.publish(Publish { dup: true, ..publish });
    assert_eq!(publisher.next(), Packet::Pubrec(Ack::success(id(3))));
    publisher.send(&Packet::Pubrel(Ack::success(id(3))));
    assert_eq!(publisher.next(), Packet::Pubcomp(Ack::success(id(3))));
    let (mut client, _) = Mqtt::version(&server, Version::V5).lasting("d");
    client.silent();
}

#[test]
fn what_was_sent_once_does_not_expire() {
    let server = start();
    let (mut client, _) = Mqtt::version(&server, Version::V5).lasting("d");
    client.listen("Dog/d", Qos::ExactlyOnce);
    let mut publisher = connected(&server, "p");
    publisher.publish_2(expiring("Dog/d", "brief", 1));
    let first = client.publication();
    drop(client);
    eventually("the end", || (server.metric("harper_mqtt_clients") == 1.0).then_some(()));
    std::thread::sleep(Duration::from_millis(2100));
    let (mut client, _) = Mqtt::version(&server, Version::V5).lasting("d");
    let again = client.publication();
    assert_eq!(
        (again.delivery, again.dup, &again.payload[..]),
        (first.delivery, true, &b"brief"[..])
    );
    client.answer(&again);
    client.silent();
}

#[test]
fn a_full_window_holds_up_messages_alone() {
    let server = start();
    let mut client = Mqtt::version(&server, Version::V5);
    let properties = Properties::default().with(&RECEIVE_MAXIMUM, 1);
    client.open(Connect { properties, ..connect(Version::V5, "a") });
    client.listen("Dog/#", Qos::AtLeastOnce);
    let mut publisher = connected(&server, "p");
    for payload in ["one", "two"] {
        publisher.publish_1(message("Dog/1", payload));
    }
    let publish = client.publication();
    // everything else goes on
    client.send(&Packet::Pingreq);
    assert_eq!(client.next(), Packet::Pingresp);
    assert_eq!(client.unsubscribe("Dog/9"), [Reason::NoSubscriptionExisted]);
    assert_eq!(client.publish_1(message("Nothing/1", "x")), Reason::TopicNameInvalid);
    client.silent();
    client.answer(&publish);
    assert_eq!(client.told().1, "two");
}

#[test]
fn a_message_that_a_client_refuses_does_not_come_again() {
    let server = start();
    let (mut client, _) = Mqtt::version(&server, Version::V5).lasting("d");
    client.listen("Dog/d", Qos::ExactlyOnce);
    let mut publisher = connected(&server, "p");
    publisher.publish_1(message("Dog/d", "one"));
    publisher.publish_2(message("Dog/d", "two"));
    for _ in 0..2 {
        let publish = client.publication();
        let refusal = Ack::new(publish.delivery.id().unwrap(), Reason::QuotaExceeded);
        client.send(&match publish.delivery.qos() {
            Qos::ExactlyOnce => Packet::Pubrec(refusal),
            _ => Packet::Puback(refusal),
        });
    }
    client.silent();
    client.disconnect();
    let (mut client, was_there) = Mqtt::version(&server, Version::V5).lasting("d");
    assert!(was_there);
    client.silent();
}

#[test]
fn a_message_that_a_client_refuses_makes_room_for_the_next_that_is_sent_again() {
    let server = start();
    let (mut client, _) = Mqtt::version(&server, Version::V5).lasting("d");
    client.listen("Dog/d", Qos::ExactlyOnce);
    let mut publisher = connected(&server, "p");
    for _ in 0..50 {
        publisher.publish_2(message("Dog/d", "x"));
        client.publication();
    }
    drop(client);
    let mut client = Mqtt::version(&server, Version::V5);
    let mut asked = lasting(Version::V5, "d");
    asked.properties.push(&RECEIVE_MAXIMUM, 10);
    client.open(asked);
    for _ in 0..50 {
        let publish = client.publication();
        assert!(publish.dup);
        let refusal = Ack::new(publish.delivery.id().unwrap(), Reason::QuotaExceeded);
        client.send(&Packet::Pubrec(refusal));
    }
    client.silent();
}

#[test]
fn nothing_is_sent_again_on_one_connection() {
    let server = start();
    for version in VERSIONS {
        let mut client = Mqtt::version(&server, version).clean("a");
        client.listen("Dog/1", Qos::ExactlyOnce);
        let mut publisher = Mqtt::version(&server, version).clean("p");
        publisher.publish_1(message("Dog/1", "x"));
        client.publication();
        client.silent_for(Duration::from_secs(2));
    }
}

#[test]
fn a_message_above_qos_0_waits_for_every_session_that_wants_it() {
    let server = start();
    let names = ["d0", "d1", "d2"];
    for name in names {
        let mut client = Mqtt::version(&server, Version::V311);
        client.open(lasting(Version::V311, name));
        client.listen("Dog/d", Qos::ExactlyOnce);
        client.disconnect();
    }
    let mut publisher = connected(&server, "p");
    publisher.publish_1(message("Dog/d", "one"));
    publisher.publish_2(message("Dog/d", "two"));
    for name in names {
        let (mut client, _) = Mqtt::version(&server, Version::V311).lasting(name);
        for payload in ["one", "two"] {
            let publish = client.publication();
            assert_eq!(publish.payload, payload);
            client.answer(&publish);
        }
    }
}

#[test]
fn a_message_that_cannot_be_taken_now_is_not_said_to_be() {
    let home = Home::with_schema(SCHEMA);
    // what a first start stores needs room
    launch(&home).start().stop();
    let server = launch(&home).set("storage.freeBytesMin=1000T").start();
    let write = || Publish { retain: true, ..message("Dog/1", "{}") };
    let reason = connected(&server, "a").publish_1(write());
    assert_eq!(reason, Reason::QuotaExceeded);
    for version in [Version::V31, Version::V311] {
        let mut client = Mqtt::version(&server, version).clean("a");
        client.publish(Publish { delivery: Delivery::AtLeastOnce(id(1)), ..write() });
        client.ends_unanswered();
        let mut client = Mqtt::version(&server, version).clean("a");
        client.publish(Publish { delivery: Delivery::ExactlyOnce(id(1)), ..write() });
        client.ends_unanswered();
    }
}

#[test]
fn a_client_that_takes_nothing_is_ended() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("mqtt.timeout=1s").start();
    let mut client = connected(&server, "stuck");
    client.listen("Dog/#", Qos::AtMostOnce);
    let record = format!("{{\"name\":\"{}\"}}", "x".repeat(1_000_000));
    // more than the sockets hold
    for key in 0..16 {
        server.client().put(&format!("/Dog/{key}"), &record).expect(204);
    }
    eventually("the end", || (server.metric("harper_mqtt_clients") == 0.0).then_some(()));
}

#[test]
fn a_message_that_waits_keeps_nothing_of_what_came_with_it() {
    let server = start();
    let mut client = connected(&server, "stuck");
    client.listen("Dog/#", Qos::AtLeastOnce);
    let mut publisher = connected(&server, "p");
    let large = Packet::Publish(message("Nothing/1", &"x".repeat(1_000_000)));
    let mut bytes = BytesMut::new();
    let mut both = |number: u16| {
        let delivery = Delivery::AtLeastOnce(id(number));
        let small = Packet::Publish(Publish { delivery, ..message("Dog/1", "small") });
        bytes.clear();
        for packet in [&large, &small] {
            encode(packet, Version::V5, u32::MAX, &mut bytes).unwrap();
        }
        publisher.bytes(&bytes);
        assert!(matches!(publisher.next(), Packet::Puback(_)));
    };
    both(1);
    let before = server.resident_bytes();
    (2..=150).for_each(both);
    let growth = server.resident_bytes().saturating_sub(before);
    assert!(growth < 50_000_000, "{growth}");
}

#[test]
fn a_slow_client_is_ended_with_its_reason() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("realtime.outboxBytesMax=100000").start();
    let mut publisher = connected(&server, "p");
    let payload = "x".repeat(50_000);
    // what is in no log, and has to arrive, from the beginning or later
    for asked in [&[Qos::AtLeastOnce][..], &[Qos::AtMostOnce, Qos::AtLeastOnce]] {
        let mut client = connected(&server, "slow");
        for qos in asked {
            client.listen("Dog/1", *qos);
        }
        for _ in 0..200 {
            publisher.publish_1(message("Dog/1", &payload));
        }
        assert_eq!(client.ended().unwrap().reason, Reason::QuotaExceeded);
    }
}
