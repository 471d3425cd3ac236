use super::client::{Mqtt, id, lasting, message, subscription};
use super::{SCHEMA, connected, launch};
use crate::harness::{Home, Server, eventually};
use harper_mqtt::packet::{Ack, Connect, Delivery, Packet, Publish};
use harper_mqtt::property::SESSION_EXPIRY;
use harper_mqtt::{PacketId, Properties, Qos, Reason, Version};
use rustix::process::Signal;
use serde_json::json;
use std::collections::HashMap;
use std::time::{Duration, Instant};

fn start() -> Server {
    launch(&Home::with_schema(SCHEMA)).start()
}

fn resumed(server: &Server, version: Version) -> Mqtt {
    let (client, was_there) = Mqtt::version(server, version).lasting("d");
    // MQTT 3.1 does not say
    assert!(was_there || version == Version::V31);
    client
}

/// Takes the next messages and answers them.
fn take(client: &mut Mqtt, count: usize) -> Vec<String> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let publish = client.publication();
        client.answer(&publish);
        taken.push(String::from_utf8(publish.payload.to_vec()).unwrap());
    }
    taken
}

#[test]
fn a_session_goes_on_with_what_was_missed() {
    for version in super::VERSIONS {
        let server = start();
        let (mut client, was_there) = Mqtt::version(&server, version).lasting("d");
        assert!(!was_there);
        client.listen("Dog/#", Qos::AtLeastOnce);
        client.disconnect();
        let mut publisher = connected(&server, "p");
        for payload in ["1", "2", "3"] {
            publisher.publish_1(message("Dog/x", payload));
        }
        // every value, not only the last one
        for age in 1..=3 {
            server.client().put("/Dog/y", &json!({"age": age}).to_string()).expect(204);
        }
        let mut client = resumed(&server, version);
        let taken = take(&mut client, 6);
        assert_eq!(taken[..3], ["1", "2", "3"]);
        assert!(taken[5].contains("\"age\":3"), "{taken:?}");
        client.silent();
        client.disconnect();
        let mut client = resumed(&server, version);
        client.silent();
    }
}

#[test]
fn a_clean_start_forgets_the_session() {
    let server = start();
    let (mut client, _) = Mqtt::version(&server, Version::V5).lasting("d");
    client.listen("Dog/#", Qos::AtLeastOnce);
    client.disconnect();
    assert_eq!(server.metric("harper_mqtt_sessions"), 1.0);
    connected(&server, "d").disconnect();
    let (mut client, was_there) = Mqtt::version(&server, Version::V5).lasting("d");
    assert!(!was_there);
    connected(&server, "p").publish_1(message("Dog/x", "1"));
    client.silent();
}

#[test]
fn a_session_ends_when_its_time_has_come() {
    let server = start();
    let mut client = Mqtt::version(&server, Version::V5);
    let properties = Properties::default().with(&SESSION_EXPIRY, 1);
    client.open(Connect { properties, ..lasting(Version::V5, "d") });
    client.disconnect();
    eventually("the session's end", || {
        (server.metric("harper_mqtt_sessions") == 0.0).then_some(())
    });
    assert!(!Mqtt::version(&server, Version::V5).lasting("d").1);
}

#[test]
fn unanswered_messages_come_again_under_their_identifiers() {
    for version in super::VERSIONS {
        let server = start();
        let (mut client, _) = Mqtt::version(&server, version).lasting("d");
        client.listen("Dog/#", Qos::ExactlyOnce);
        let mut publisher = Mqtt::version(&server, version).clean("p");
        publisher.publish_2(message("Dog/x", "two"));
        publisher.publish_1(message("Dog/x", "one"));
        publisher.publish_2(message("Dog/x", "released"));
        let sent: Vec<Publish> = (0..3).map(|_| client.publication()).collect();
        assert!(sent.iter().all(|publish| !publish.dup));
        let by_payload = |payload: &str| {
            let sent = sent.iter().find(|one| one.payload == payload.as_bytes()).unwrap();
            sent.delivery.id().unwrap()
        };
        let released = by_payload("released");
        client.send(&Packet::Pubrec(Ack::success(released)));
        assert_eq!(client.next(), Packet::Pubrel(Ack::success(released)));
        // no DISCONNECT
        drop(client);
        eventually("the end", || (server.metric("harper_mqtt_clients") == 1.0).then_some(()));
        let mut client = resumed(&server, version);
        let again = taken_again(&mut client);
        for payload in ["one", "two", "released"] {
            assert_eq!(again[payload.as_bytes()], by_payload(payload), "MQTT-4.4.0-1");
        }
        client.silent();
    }
}

/// The identifiers of three messages that come again, by payload; one of them comes as PUBREL.
fn taken_again(client: &mut Mqtt) -> HashMap<Vec<u8>, PacketId> {
    let mut again = HashMap::new();
    for _ in 0..3 {
        match client.next() {
            Packet::Publish(publish) => {
                assert!(publish.dup, "MQTT-3.3.1-1");
                again.insert(publish.payload.to_vec(), publish.delivery.id().unwrap());
                client.answer(&publish);
            }
            Packet::Pubrel(ack) => {
                again.insert(b"released".to_vec(), ack.id);
                client.send(&Packet::Pubcomp(ack));
            }
            other => panic!("{other:?}"),
        }
    }
    again
}

#[test]
fn what_is_unanswered_outlives_its_subscription() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        for crashes in [false, true] {
            let server = start();
            let (mut client, _) = Mqtt::version(&server, Version::V5).lasting("d");
            client.listen("Dog/#", qos);
            connected(&server, "p").publish_2(message("Dog/x", "first"));
            let sent = client.publication();
            client.unsubscribe("Dog/#");
            drop(client);
            let server = if crashes { crashed(server) } else { server };
            let mut client = resumed(&server, Version::V5);
            let again = client.publication();
            assert_eq!((again.delivery, &again.payload[..]), (sent.delivery, &b"first"[..]));
            assert!(again.dup, "MQTT-3.3.1-1");
            client.answer(&again);
            client.silent();
        }
    }
}

#[test]
fn a_publisher_s_message_is_carried_out_once_over_a_crash() {
    let server = start();
    let (mut keeper, _) = Mqtt::version(&server, Version::V5).lasting("keeper");
    keeper.listen("Dog/#", Qos::ExactlyOnce);
    keeper.disconnect();
    let (mut client, _) = Mqtt::version(&server, Version::V5).lasting("d");
    let publish = || Publish { delivery: Delivery::ExactlyOnce(id(3)), ..message("Dog/1", "once") };
    client.publish(publish());
    assert!(matches!(client.next(), Packet::Pubrec(_)));
    let server = crashed(server);
    let mut client = resumed(&server, Version::V5);
    client.publish(Publish { dup: true, ..publish() });
    assert!(matches!(client.next(), Packet::Pubrec(_)));
    client.send(&Packet::Pubrel(Ack::success(id(3))));
    assert_eq!(client.next(), Packet::Pubcomp(Ack::success(id(3))));
    // the identifier is free again
    client.publish(Publish { payload: "next".into(), ..publish() });
    assert!(matches!(client.next(), Packet::Pubrec(_)));
    let (mut keeper, _) = Mqtt::version(&server, Version::V5).lasting("keeper");
    assert_eq!(take(&mut keeper, 2), ["once", "next"]);
    keeper.silent();
}

/// Kills the server without a word and starts it again.
fn crashed(mut server: Server) -> Server {
    server.signal(Signal::KILL);
    server.wait();
    launch(&server.home).start()
}

#[test]
fn sessions_lose_nothing_to_crashes() {
    let mut server = start();
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let name = format!("d{}", qos.bits());
        let (mut client, _) = Mqtt::version(&server, Version::V5).lasting(&name);
        client.listen("Dog/#", qos);
    }
    let (mut published, mut taken) = (0, [Vec::new(), Vec::new()]);
    for _ in 0..3 {
        let mut publisher = connected(&server, "p");
        for _ in 0..40 {
            assert_eq!(
                publisher.publish_2(message("Dog/x", &published.to_string())),
                Reason::Success
            );
            published += 1;
        }
        for (index, name) in ["d1", "d2"].into_iter().enumerate() {
            let (mut client, was_there) = Mqtt::version(&server, Version::V5).lasting(name);
            assert!(was_there);
            // some are answered, some not to the end, some not at all
            for step in 0..30 {
                let packet = client.next();
                take_one(&mut client, packet, &mut taken[index], step % 7 != 6);
            }
        }
        server = crashed(server);
    }
    for (index, name) in ["d1", "d2"].into_iter().enumerate() {
        let (mut client, _) = Mqtt::version(&server, Version::V5).lasting(name);
        let last = (published - 1).to_string();
        while !taken[index].iter().any(|(_, payload)| *payload == last) {
            let packet = client.next();
            take_one(&mut client, packet, &mut taken[index], true);
        }
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    taken[1].iter().for_each(|(_, payload)| *counts.entry(payload).or_default() += 1);
    for number in 0..published {
        let number = number.to_string();
        assert!(taken[0].iter().any(|(_, payload)| *payload == number), "QoS 1: {number}");
        assert_eq!(counts.get(&number[..]), Some(&1), "QoS 2: {number} of {:?}", taken[1]);
    }
}

/// What a client of QoS 2 does: a message under an identifier that it holds is not taken again.
fn take_one(client: &mut Mqtt, packet: Packet, taken: &mut Vec<(u16, String)>, answers: bool) {
    match packet {
        Packet::Publish(publish) => {
            let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
            let number = publish.delivery.id().unwrap().get();
            let is_held = |(held, known): &(u16, String)| *held == number && *known == payload;
            match publish.delivery {
                Delivery::ExactlyOnce(id) => {
                    if !(publish.dup && taken.iter().any(is_held)) {
                        taken.push((number, payload));
                    }
                    if answers {
                        client.send(&Packet::Pubrec(Ack::success(id)));
                    }
                }
                _ => {
                    taken.push((number, payload));
                    if answers {
                        client.answer(&publish);
                    }
                }
            }
        }
        Packet::Pubrel(ack) if answers => client.send(&Packet::Pubcomp(Ack::success(ack.id))),
        Packet::Pubrel(_) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn more_sessions_than_may_be_are_refused() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("mqtt.sessionsMax=1").start();
    let (_first, _) = Mqtt::version(&server, Version::V5).lasting("a");
    let connack = Mqtt::version(&server, Version::V5).open(lasting(Version::V5, "b"));
    assert_eq!(connack.reason, Reason::QuotaExceeded);
    connected(&server, "c");
    assert_eq!(server.metric("harper_rejected_total{reason=\"mqtt_sessions\"}"), 1.0);
}

#[test]
fn more_subscriptions_than_may_be_are_refused() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("mqtt.subscriptionsMax=2").start();
    let mut client = connected(&server, "a");
    let asked = ["Dog/1", "Dog/2", "Dog/3", "Dog/1"];
    let asked = asked.iter().map(|filter| subscription(filter, Qos::AtMostOnce)).collect();
    let reasons = client.subscribe(asked);
    assert_eq!(reasons, [Reason::Success, Reason::Success, Reason::QuotaExceeded, Reason::Success]);
}

#[test]
fn after_a_restart_sessions_go_on_in_turn() {
    let mut server = start();
    let names: Vec<String> = (0..30).map(|number| format!("d{number}")).collect();
    for name in &names {
        Mqtt::version(&server, Version::V5).lasting(name).0.listen("Dog/1", Qos::AtLeastOnce);
    }
    server.signal(Signal::KILL);
    server.wait();
    let server = launch(&server.home).set("mqtt.resumptionsPerSecondMax=10").start();
    // the first second's worth at once, the others one after the other
    let mut clients: Vec<Mqtt> =
        names.iter().map(|_| Mqtt::version(&server, Version::V5)).collect();
    let begun = Instant::now();
    for (client, name) in clients.iter_mut().zip(&names) {
        client.send(&Packet::Connect(Box::new(lasting(Version::V5, name))));
    }
    for client in &mut clients {
        let Packet::Connack(connack) = client.next() else { panic!() };
        assert!(connack.session_present, "{connack:?}");
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(1500), "{took:?}");
    let resumed =
        |when: &str| server.metric(&format!("harper_mqtt_resumptions_total{{when=\"{when}\"}}"));
    assert_eq!(resumed("at_once") + resumed("later"), 30.0);
    assert!(resumed("later") >= 15.0);
    // who has no session does not wait
    let begun = Instant::now();
    connected(&server, "new").disconnect();
    assert!(begun.elapsed() < Duration::from_secs(1));
}
