use super::client::{Mqtt, connect, id, lasting, message, with_login};
use super::{SCHEMA, VERSIONS, connected, launch, start};
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Home, eventually};
use bytes::BytesMut;
use harper_mqtt::packet::{Ack, Connect, Delivery, Publish};
use harper_mqtt::property::{
    ASSIGNED_CLIENT_ID, AUTHENTICATION_METHOD, MAXIMUM_PACKET_SIZE, RECEIVE_MAXIMUM,
    SERVER_KEEP_ALIVE, SESSION_EXPIRY, TOPIC_ALIAS_MAXIMUM,
};
use harper_mqtt::{Packet, Properties, Qos, Reason, Version, encode};
use std::time::{Duration, Instant};

#[test]
fn every_version_connects_pings_and_leaves() {
    let server = start();
    for version in VERSIONS {
        let mut client = Mqtt::version(&server, version).clean("a");
        client.send(&Packet::Pingreq);
        assert_eq!(client.next(), Packet::Pingresp);
        client.disconnect();
    }
    assert!(eventually("the client to be gone", || {
        (server.metric("harper_mqtt_clients") == 0.0).then_some(true)
    }));
}

#[test]
fn logins_are_answered_in_the_words_of_each_version() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("authentication.authorizeLocal=false").start();
    for version in VERSIONS {
        let open = |connect: Connect| Mqtt::version(&server, version).open(connect);
        let good = open(with_login(connect(version, "a"), USERNAME, PASSWORD));
        assert_eq!(good.reason, Reason::Success);
        let bad = open(with_login(connect(version, "a"), USERNAME, "wrong"));
        assert_eq!(bad.reason, Reason::BadUserNameOrPassword);
        let nobody = open(connect(version, "a"));
        assert_eq!(nobody.reason, Reason::NotAuthorized);
    }
    let mut refused = Mqtt::version(&server, Version::V5);
    refused.open(connect(Version::V5, "a"));
    assert_eq!(refused.ended(), None);
    assert_eq!(server.metric("harper_mqtt_connects_refused_total"), 7.0);
}

#[test]
fn who_has_not_logged_in_may_be_let_in_without_rights() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home)
        .set("authentication.authorizeLocal=false")
        .set("mqtt.requireAuthentication=false")
        .start();
    let mut nobody = connected(&server, "a");
    assert_eq!(nobody.publish_1(message("Dog/1", "x")), Reason::NotAuthorized);
    let reasons = nobody.subscribe(vec![super::client::subscription("Dog/#", Qos::AtMostOnce)]);
    assert_eq!(reasons, [Reason::NotAuthorized]);
}

#[test]
fn what_is_no_mqtt_is_ended() {
    let server = start();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\xc0\0", b"\0\0", b"\x10\xff\xff\xff\xff\x01"] {
        let mut client = Mqtt::version(&server, Version::V311);
        client.bytes(bytes);
        assert_eq!(client.ended(), None, "{bytes:?}");
    }
    // 3.1.1 MQTT-3.1.2-2
    let mut client = Mqtt::version(&server, Version::V311);
    client.bytes(b"\x10\x0d\0\x04MQTT\x02\x02\0\0\0\x01a");
    let Packet::Connack(connack) = client.next() else { panic!() };
    assert_eq!(connack.reason, Reason::UnsupportedProtocolVersion);
    // MQTT-3.1.0-2
    let mut twice = connected(&server, "a");
    twice.send(&Packet::Connect(Box::new(connect(Version::V5, "a"))));
    assert_eq!(twice.ended().unwrap().reason, Reason::ProtocolError);
    // MQTT-4.13.1-1
    let mut broken = connected(&server, "a");
    broken.bytes(b"\x36\x05\0\x01a\0\x01");
    assert_eq!(broken.ended().unwrap().reason, Reason::MalformedPacket);
}

#[test]
fn a_client_without_a_name_gets_one() {
    let server = start();
    let mut first = Mqtt::version(&server, Version::V5);
    let connack = first.open(connect(Version::V5, ""));
    assert_eq!(connack.properties.get(&ASSIGNED_CLIENT_ID).unwrap().len(), 32);
    assert_eq!(
        Mqtt::version(&server, Version::V311).open(connect(Version::V311, "")).reason,
        Reason::Success
    );
    // 3.1.1 MQTT-3.1.3-8
    for refused in [lasting(Version::V311, ""), connect(Version::V31, "")] {
        let version = refused.version;
        let connack = Mqtt::version(&server, version).open(refused);
        assert_eq!(connack.reason, Reason::ClientIdentifierNotValid);
    }
}

#[test]
fn connack_says_what_the_server_takes() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home)
        .set("mqtt.keepAliveMax=30")
        .set("mqtt.sessionExpiryMax=100")
        .set("mqtt.receiveMaximum=7")
        .start();
    let connack = Mqtt::version(&server, Version::V5).open(lasting(Version::V5, "a"));
    let properties = &connack.properties;
    assert_eq!(properties.get(&SERVER_KEEP_ALIVE), Some(&30));
    assert_eq!(properties.get(&SESSION_EXPIRY), Some(&100));
    assert_eq!(properties.get(&RECEIVE_MAXIMUM), Some(&7));
    assert_eq!(properties.get(&MAXIMUM_PACKET_SIZE), Some(&1_048_576));
    assert_eq!(properties.get(&TOPIC_ALIAS_MAXIMUM), Some(&16));
}

#[test]
fn an_authentication_method_is_refused() {
    let server = start();
    let properties = Properties::default().with(&AUTHENTICATION_METHOD, super::client::text("m"));
    let asked = Connect { properties, ..connect(Version::V5, "a") };
    let connack = Mqtt::version(&server, Version::V5).open(asked);
    assert_eq!(connack.reason, Reason::BadAuthenticationMethod);
}

#[test]
fn a_silent_client_is_ended_after_one_and_a_half_times_keep_alive() {
    let server = start();
    let mut client = Mqtt::version(&server, Version::V5);
    client.open(Connect { keep_alive_s: 1, ..connect(Version::V5, "a") });
    let begun = Instant::now();
    assert_eq!(client.ended().unwrap().reason, Reason::KeepAliveTimeout);
    let silence = begun.elapsed();
    assert!(silence > Duration::from_millis(1200), "{silence:?}");
}

#[test]
fn bytes_without_the_end_of_their_packet_are_silence() {
    let server = start();
    for version in VERSIONS {
        let mut client = Mqtt::version(&server, version);
        client.open(Connect { keep_alive_s: 1, ..connect(version, "a") });
        let begun = Instant::now();
        client.bytes(b"\x30\x80\x80\x10");
        let is_ended = (0..20).any(|_| {
            client.bytes(b"\0");
            client.ends_within(Duration::from_millis(300))
        });
        let silence = begun.elapsed();
        assert!(is_ended && silence > Duration::from_secs(1), "{silence:?}");
    }
}

#[test]
fn a_client_that_the_server_does_not_read_is_not_silent() {
    let server = start();
    let mut client = Mqtt::version(&server, Version::V5);
    client.open(Connect { keep_alive_s: 1, ..connect(Version::V5, "a") });
    client.listen("Dog/#", Qos::AtMostOnce);
    let record = format!("{{\"name\":\"{}\"}}", "x".repeat(1_000_000));
    // more than the sockets hold
    for key in 0..16 {
        server.client().put(&format!("/Dog/{key}"), &record).expect(204);
        client.send(&Packet::Pingreq);
    }
    for _ in 0..8 {
        client.send(&Packet::Pingreq);
        std::thread::sleep(Duration::from_millis(500));
    }
    let mut told = 0;
    while told < 16 {
        told += usize::from(matches!(client.next(), Packet::Publish(_)));
    }
}

#[test]
fn a_client_that_does_not_begin_is_ended() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("mqtt.timeout=300").start();
    assert_eq!(Mqtt::version(&server, Version::V5).ended(), None);
}

#[test]
fn who_is_not_let_in_yet_has_little_memory() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("mqtt.timeout=60s").start();
    // the most that a CONNECT may have, but for its end
    let mut most = b"\x10\xfc\xff\x0f".to_vec();
    most.resize(240 * 1024, 0);
    let begun = || {
        let mut peer = Mqtt::version(&server, Version::V5);
        peer.bytes(&most);
        peer
    };
    let is_ended = |peer: &mut Mqtt| peer.ends_within(Duration::from_millis(300));
    let mut peers: Vec<Mqtt> = (0..100).map(|_| begun()).collect();
    eventually("the end of what is too much", || {
        peers.push(begun());
        is_ended(peers.last_mut()?).then_some(())
    });
    // whoever says little comes in all the same
    connected(&server, "a").disconnect();
    drop(peers);
    eventually("room", || (!is_ended(&mut begun())).then_some(()));
}

#[test]
fn another_connection_takes_the_session_over() {
    let server = start();
    for version in VERSIONS {
        let expected = version.is_v5().then_some(Reason::SessionTakenOver);
        // the two are on any of the workers
        for _ in 0..8 {
            let mut first = Mqtt::version(&server, version).clean("same");
            let second = Mqtt::version(&server, version).clean("same");
            assert_eq!(first.ended().map(|last| last.reason), expected);
            second.disconnect();
        }
    }
}

#[test]
fn another_user_does_not_get_the_session() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).start();
    let _own = connected(&server, "same");
    let other = with_login(connect(Version::V5, "same"), USERNAME, PASSWORD);
    assert_eq!(Mqtt::version(&server, Version::V5).open(other).reason, Reason::NotAuthorized);
}

#[test]
fn more_than_the_receive_maximum_ends_the_connection() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("mqtt.receiveMaximum=2").start();
    let mut client = connected(&server, "a");
    for number in 1..=3 {
        let delivery = Delivery::ExactlyOnce(id(number));
        client.publish(Publish { delivery, ..message("Dog/1", "x") });
    }
    assert_eq!(client.ended().unwrap().reason, Reason::ReceiveMaximumExceeded);
}

#[test]
fn before_mqtt_5_a_client_may_leave_any_number_unanswered() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("mqtt.receiveMaximum=2").start();
    for version in [Version::V31, Version::V311] {
        let mut client = Mqtt::version(&server, version).clean("a");
        // more than may wait for their answers
        let ids = || (1..=3000).map(id);
        for delivery in [Delivery::AtLeastOnce, Delivery::ExactlyOnce] {
            let mut bytes = BytesMut::new();
            for id in ids() {
                let publish = Publish { delivery: delivery(id), ..message("Dog/1", "x") };
                encode(&Packet::Publish(publish), version, u32::MAX, &mut bytes).unwrap();
            }
            client.bytes(&bytes);
            for id in ids() {
                let (Packet::Puback(ack) | Packet::Pubrec(ack)) = client.next() else { panic!() };
                assert_eq!(ack.id, id);
            }
        }
    }
}

#[test]
fn a_packet_that_is_too_large_ends_the_connection() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("mqtt.packetBytesMax=2000").start();
    let mut client = connected(&server, "a");
    client.publish(message("Dog/1", &"x".repeat(3000)));
    assert_eq!(client.ended().unwrap().reason, Reason::PacketTooLarge);
}

#[test]
fn a_server_that_stops_says_so() {
    let server = start();
    let mut client = connected(&server, "a");
    let mut listener = connected(&server, "b");
    listener.listen("Dog/#", Qos::AtMostOnce);
    let stopping = std::thread::spawn(move || server.stop());
    assert_eq!(client.ended().unwrap().reason, Reason::ServerShuttingDown);
    assert_eq!(listener.ended().unwrap().reason, Reason::ServerShuttingDown);
    stopping.join().unwrap();
}

#[test]
fn answers_to_nothing_are_taken_as_the_standard_says() {
    let server = start();
    let mut client = connected(&server, "a");
    client.send(&Packet::Puback(Ack::success(id(77))));
    client.send(&Packet::Pubrel(Ack::success(id(77))));
    let expected = Ack::new(id(77), Reason::PacketIdentifierNotFound);
    assert_eq!(client.next(), Packet::Pubcomp(expected.clone()));
    client.send(&Packet::Pubrec(Ack::success(id(77))));
    assert_eq!(client.next(), Packet::Pubrel(expected));
}
