//! CONNECT, CONNACK and what a session is (§3.1, §3.2, §4.1).

use super::super::client::{Mqtt, connect, lasting, message, text, with_login};
use super::super::{SCHEMA, VERSIONS, connected, launch, start};
use crate::harness::Home;
use crate::harness::server::USERNAME;
use bytes::BytesMut;
use harper_mqtt::packet::{Connect, Packet, Publish, Will};
use harper_mqtt::property::{
    ASSIGNED_CLIENT_ID, CONTENT_TYPE, CORRELATION_DATA, REQUEST_PROBLEM_INFORMATION,
    REQUEST_RESPONSE_INFORMATION, RESPONSE_INFORMATION, RESPONSE_TOPIC, USER_PROPERTY,
};
use harper_mqtt::{Binary, Properties, Qos, Reason, Version, encode};

#[test]
fn every_letter_and_digit_may_be_in_a_client_identifier() {
    let server = start();
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for version in VERSIONS {
        for start in (0..all.len() - 23).step_by(13).chain([all.len() - 23]) {
            Mqtt::version(&server, version).clean(&all[start..start + 23]).disconnect();
        }
        Mqtt::version(&server, version).clean("x").disconnect();
    }
}

#[test]
fn names_that_are_given_are_new() {
    let server = start();
    let given = || {
        let mut client = Mqtt::version(&server, Version::V5);
        let connack = client.open(connect(Version::V5, ""));
        (client, connack.properties.get(&ASSIGNED_CLIENT_ID).unwrap().to_string())
    };
    let ((mut first, one), (_second, other)) = (given(), given());
    assert_ne!(one, other);
    // the session is under that name
    let _third = connected(&server, &one);
    assert_eq!(first.ended().unwrap().reason, Reason::SessionTakenOver);
}

#[test]
fn what_follows_a_refused_connect_is_not_looked_at() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("authentication.authorizeLocal=false").start();
    for version in VERSIONS {
        let mut client = Mqtt::version(&server, version);
        let refused = with_login(connect(version, "a"), USERNAME, "wrong");
        let write = Publish { retain: true, ..message("Dog/refused", "{}") };
        let mut bytes = BytesMut::new();
        for packet in [Packet::Connect(Box::new(refused)), Packet::Publish(write)] {
            encode(&packet, version, u32::MAX, &mut bytes).unwrap();
        }
        client.bytes(&bytes);
        let Packet::Connack(connack) = client.next() else { panic!() };
        assert_eq!(connack.reason, Reason::BadUserNameOrPassword);
        assert!(!connack.session_present, "MQTT-3.2.2-6");
        assert_eq!(client.ended(), None, "MQTT-3.14.0-1: no DISCONNECT");
    }
    let admin = server.client().login(USERNAME, crate::harness::server::PASSWORD);
    admin.get("/Dog/refused").expect(404);
}

#[test]
fn what_follows_a_good_connect_need_not_wait() {
    let server = start();
    for version in VERSIONS {
        let mut client = Mqtt::version(&server, version);
        let mut bytes = BytesMut::new();
        for packet in [Packet::Connect(Box::new(connect(version, "a"))), Packet::Pingreq] {
            encode(&packet, version, u32::MAX, &mut bytes).unwrap();
        }
        client.bytes(&bytes);
        assert!(matches!(client.next(), Packet::Connack(_)), "MQTT-3.2.0-1");
        assert_eq!(client.next(), Packet::Pingresp);
    }
}

#[test]
fn a_second_connect_ends_the_connection_without_a_second_connack() {
    let server = start();
    for version in VERSIONS {
        let mut client = Mqtt::version(&server, version).clean("a");
        client.send(&Packet::Connect(Box::new(connect(version, "a"))));
        let last = client.ended_without_connack();
        assert_eq!(last.map(|last| last.reason), version.is_v5().then_some(Reason::ProtocolError));
    }
}

#[test]
fn who_wants_no_problems_is_told_of_none() {
    let server = start();
    let ask = |problems: u8| {
        let properties = Properties::default()
            .with(&REQUEST_PROBLEM_INFORMATION, problems)
            .with(&REQUEST_RESPONSE_INFORMATION, 0);
        let mut client = Mqtt::version(&server, Version::V5);
        let connack = client.open(Connect { properties, ..connect(Version::V5, "a") });
        assert_eq!(connack.properties.get(&RESPONSE_INFORMATION), None, "MQTT-3.1.2-28");
        client.puback(message("Nothing/1", "x")).properties
    };
    assert_eq!(ask(0), Properties::default());
    assert_ne!(ask(1), Properties::default());
}

#[test]
fn a_will_s_properties_are_those_of_its_message() {
    let server = start();
    let same = Properties::default()
        .with(&CONTENT_TYPE, text("text/plain"))
        .with(&RESPONSE_TOPIC, text("Dog/answers"))
        .with(&CORRELATION_DATA, Binary::new("c".into()).unwrap())
        .with(&USER_PROPERTY, (text("b"), text("1")))
        .with(&USER_PROPERTY, (text("a"), text("2")))
        .with(&USER_PROPERTY, (text("b"), text("3")));
    let will = Will {
        qos: Qos::AtMostOnce,
        retain: false,
        properties: same.clone(),
        topic: text("Dog/will"),
        payload: Binary::new("gone".into()).unwrap(),
    };
    let mut mourner = connected(&server, "mourner");
    mourner.listen("Dog/will", Qos::AtMostOnce);
    let mut mortal = Mqtt::version(&server, Version::V5);
    mortal.open(Connect { will: Some(will), ..connect(Version::V5, "mortal") });
    drop(mortal);
    let publish = mourner.publication();
    assert_eq!((&publish.payload[..], publish.retain), (&b"gone"[..], false));
    assert_eq!(publish.properties, same);
}

#[test]
fn a_session_is_kept_while_its_connection_is_open_and_goes_when_it_is_to() {
    let server = start();
    for version in VERSIONS {
        let (mut client, _) = Mqtt::version(&server, version).lasting("d");
        client.listen("Dog/d", Qos::AtLeastOnce);
        connected(&server, "p").publish_1(message("Dog/d", "x"));
        assert_eq!(client.told().1, "x", "MQTT-4.1.0-1");
        client.disconnect();
        // a clean session ends the one before, and itself with its connection
        Mqtt::version(&server, version).clean("d").disconnect();
        let mut again = Mqtt::version(&server, version);
        assert!(!again.open(lasting(version, "d")).session_present);
        connected(&server, "p").publish_1(message("Dog/d", "x"));
        again.silent();
        again.disconnect();
        Mqtt::version(&server, version).clean("d").disconnect();
    }
}
