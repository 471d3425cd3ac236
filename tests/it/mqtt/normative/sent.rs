//! What the server sends, byte by byte: no decoder is trusted.

use super::super::client::{Mqtt, connect, id, lasting, subscription, text, with_login};
use super::super::{SCHEMA, launch, start};
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Home, Server};
use harper_mqtt::packet::{Connect, Packet, Subscribe, Unsubscribe};
use harper_mqtt::topic::Filter;
use harper_mqtt::{Properties, Qos, Version};

const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

/// Flags and reason of the CONNACK that answers.
fn connack(client: &mut Mqtt, connect: Connect) -> (u8, u8) {
    client.send(&Packet::Connect(Box::new(connect)));
    let (0x20, connack) = client.next_bytes() else { panic!("no CONNACK") };
    (connack[0], connack[1])
}

#[test]
fn connack_has_no_other_flag_and_a_reason_of_its_own() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("authentication.authorizeLocal=false").start();
    for version in VERSIONS {
        let name = format!("{version:?}");
        let fresh = || Mqtt::version(&server, version);
        let known = || with_login(lasting(version, &name), USERNAME, PASSWORD);
        assert_eq!(connack(&mut fresh(), known()), (0, 0));
        assert_eq!(connack(&mut fresh(), known()), (1, 0));
        let wrong = with_login(lasting(version, &name), USERNAME, "wrong");
        assert_eq!(connack(&mut fresh(), wrong), (0, if version.is_v5() { 0x86 } else { 4 }));
        let nobody = connack(&mut fresh(), connect(version, &name));
        assert_eq!(nobody, (0, if version.is_v5() { 0x87 } else { 5 }));
    }
}

/// A client that is let in.
fn connected(server: &Server, version: Version, name: &str) -> Mqtt {
    let mut client = Mqtt::version(server, version);
    assert_eq!(connack(&mut client, lasting(version, name)).1, 0);
    client
}

#[test]
fn suback_and_unsuback_have_reasons_of_their_own() {
    let server = start();
    for version in VERSIONS {
        let is_v5 = version.is_v5();
        let properties = if is_v5 { &[0][..] } else { &[] };
        let mut client = connected(&server, version, "a");
        let subscriptions = [
            ("Dog/0", Qos::AtMostOnce),
            ("Dog/1", Qos::AtLeastOnce),
            ("Dog/2", Qos::ExactlyOnce),
            ("Nothing/1", Qos::ExactlyOnce),
        ];
        client.send(&Packet::Subscribe(Subscribe {
            id: id(9),
            properties: Properties::default(),
            subscriptions: subscriptions.map(|(filter, qos)| subscription(filter, qos)).to_vec(),
        }));
        let reasons = [0, 1, 2, if is_v5 { 0x8f } else { 0x80 }];
        let expected = [&[0, 9], properties, &reasons].concat();
        assert_eq!(client.next_bytes(), (0x90, expected));
        client.send(&Packet::Unsubscribe(Unsubscribe {
            id: id(8),
            properties: Properties::default(),
            filters: ["Dog/0", "Dog/9"].map(|filter| Filter::new(text(filter)).unwrap()).to_vec(),
        }));
        let reasons = if is_v5 { &[0, 0x11][..] } else { &[] };
        assert_eq!(client.next_bytes(), (0xb0, [&[0, 8], properties, reasons].concat()));
    }
}

#[test]
fn disconnect_says_nothing_of_the_session_s_expiry() {
    let server = start();
    let mut first = connected(&server, Version::V5, "same");
    let _second = connected(&server, Version::V5, "same");
    let (0xe0, disconnect) = first.next_bytes() else { panic!("no DISCONNECT") };
    // the reason, and a Reason String alone
    let sentence = b"another connection has the session";
    let string = [&[0x1f, 0, sentence.len() as u8][..], sentence].concat();
    assert_eq!(disconnect, [&[0x8e, string.len() as u8][..], &string].concat());
}
