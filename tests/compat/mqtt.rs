//! MQTT.

use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Client, eventually};
use crate::shared::mqtt::client::{
    Mqtt, connect, lasting, message, subscription, text, with_login,
};
use crate::{Row, World, differs, same};
use harper_mqtt::packet::{Connack, Connect, Publish, RetainHandling, Subscription, Will};
use harper_mqtt::{Binary, Packet, Properties, Qos, Reason, Version};
use serde_json::json;

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    differs(
        "versions",
        "3.1, 3.1.1 and 5; any other, and another first packet, is closed without a word",
        "the same three; another version is told so before (MQTT-3.1.2-2)",
        versions,
    ),
    differs(
        "CONNACK",
        "no properties",
        "with MQTT 5 it tells what the server takes: receive maximum, packet size, topic aliases",
        connack,
    ),
    differs(
        "a wrong login, and none",
        "codes of the other version: 0x86 with 3.1.1, 4 with 5; the connection stays open",
        "4 and 5 before MQTT 5, 0x86 and 0x87 with it; the connection ends",
        wrong_login,
    ),
    differs(
        "an empty client identifier",
        "accepted, also without a clean session",
        "refused without a clean session before MQTT 5 (3.1.1 MQTT-3.1.3-8)",
        empty_client_identifier,
    ),
    differs(
        "a second CONNECT; a client identifier twice",
        "answered; both stay",
        "a protocol error; the first is told 0x8E and ends (MQTT-3.1.0-2, MQTT-3.1.4-3)",
        second_connect,
    ),
    same("topics: export path and key", |w| {
        let mut client = admin(w, Version::V311, "topics");
        for (filter, topic) in
            [("Dog/#", "Dog/t1"), ("Dog/+", "Dog/t1"), ("nice/path/1", "nice/path/1")]
        {
            client.listen(filter, Qos::AtMostOnce);
            admin(w, Version::V311, "p").publish(message(topic, "here"));
            assert_eq!(client.told(), (topic.into(), "here".into()));
            client.unsubscribe(filter);
        }
        assert!(client.subscribe(vec![subscription("/Dog/1", Qos::AtMostOnce)])[0].is_error());
    }),
    differs(
        "subscribe: the records that are there",
        "sent before SUBACK and without the retain flag",
        "sent after it, with the flag (MQTT-3.3.1-8)",
        records_that_are_there,
    ),
    differs(
        "refused subscriptions",
        "unknown table, `#`, `+/x`, `$SYS/#`, `$share/…`: 0x80, with MQTT 5 0x8F; no right: 0x87",
        "the same, but shared subscriptions are granted, and `$SYS/#` to super users",
        refused_subscriptions,
    ),
    differs(
        "retain handling, no local",
        "the former is respected, the latter is not",
        "both are",
        retain_handling,
    ),
    same("publish with retain: written, and deleted when empty", |w| {
        let mut client = admin(w, Version::V5, "retain");
        assert_eq!(client.publish_1(retained("Dog/r1", r#"{"name":"Rex"}"#)), Reason::Success);
        assert_eq!(w.admin.get("/Dog/r1").expect(200).json()["name"], "Rex");
        assert_eq!(client.publish_1(retained("Dog/r1", "")), Reason::Success);
        w.admin.get("/Dog/r1").expect(404);
    }),
    differs(
        "publish without retain",
        "a message alone, nothing is stored; an empty one is an error",
        "a message alone, and an empty one is one, too (MQTT §3.3.3)",
        without_retain,
    ),
    differs(
        "refused publications",
        "PUBACK and PUBREC 0x80, whatever the reason; nothing is said before MQTT 5",
        "0x99 for the record, 0x90 for the topic, 0x87 for the right; nothing is said before MQTT 5",
        refused_publications,
    ),
    same("a payload that is no JSON", |w| {
        let mut client = admin(w, Version::V311, "verbatim");
        client.publish_1(retained("Dog/verbatim", "not {JSON"));
        assert_eq!(w.admin.get("/Dog/verbatim").expect(200).text(), "not {JSON");
        client.subscribe(vec![subscription("Dog/verbatim", Qos::AtMostOnce)]);
        assert_eq!(client.told().1, "not {JSON");
        w.admin.delete("/Dog/verbatim").expect(200);
    }),
    differs(
        "QoS 2",
        "the exchange of packets alone",
        "the same packets, and once is once: over repetitions and crashes, too",
        |w| {
            let mut client = admin(w, Version::V311, "two");
            client.listen("Dog/two", Qos::ExactlyOnce);
            let mut publisher = admin(w, Version::V311, "p");
            assert_eq!(publisher.publish_2(message("Dog/two", "once")), Reason::Success);
            let publish = client.publication();
            assert_eq!(publish.delivery.qos(), Qos::ExactlyOnce);
            client.answer(&publish);
            client.silent();
        },
    ),
    differs(
        "writes over HTTP",
        "told as the full record; a deletion as `null`",
        "told as the full record; a deletion as an empty message, as MQTT deletes",
        |w| {
            let mut client = admin(w, Version::V311, "http");
            client.listen("Dog/http", Qos::AtMostOnce);
            w.admin.put("/Dog/http", r#"{"name":"Bo"}"#).expect(204);
            assert!(client.told().1.contains(r#""name":"Bo""#));
            w.admin.patch("/Dog/http", r#"{"age":3}"#).expect(204);
            assert!(client.told().1.contains(r#""name":"Bo""#), "the full record");
            w.admin.delete("/Dog/http").expect(200);
            assert_eq!(client.told().1, "");
        },
    ),
    differs(
        "unsubscribe from what was not subscribed to",
        "with MQTT 5 code 0",
        "0x11, no subscription existed",
        |w| {
            let mut client = admin(w, Version::V5, "un");
            client.listen("Dog/un", Qos::AtMostOnce);
            assert_eq!(client.unsubscribe("Dog/un"), [Reason::Success]);
            assert_eq!(client.unsubscribe("Dog/un"), [Reason::NoSubscriptionExisted]);
        },
    ),
    same("keep-alive", |w| {
        let mut client = Mqtt::version(&w.server, Version::V311);
        let asked = as_admin(connect(Version::V311, "alive"));
        client.open(Connect { keep_alive_s: 1, ..asked });
        let begun = std::time::Instant::now();
        client.ended();
        assert!((1200..3000).contains(&begun.elapsed().as_millis()));
    }),
    differs(
        "wills",
        "published when the connection breaks, not after DISCONNECT; lost when it breaks right after CONNACK",
        "published when the connection breaks, not after DISCONNECT; stored before CONNACK",
        wills,
    ),
    differs(
        "durable sessions",
        "what was missed is replayed, and older changes with it; a session is present at the first connect; QoS 1 is granted as 0",
        "what was missed is replayed, once; a session is present when there was one; granted as asked",
        durable_sessions,
    ),
];

fn as_admin(connect: Connect) -> Connect {
    with_login(connect, USERNAME, PASSWORD)
}

/// The administrator with a clean session.
fn admin(w: &World, version: Version, id: &str) -> Mqtt {
    let mut client = Mqtt::version(&w.server, version);
    assert_eq!(client.open(as_admin(connect(version, id))).reason, Reason::Success);
    client
}

fn retained(topic: &str, payload: &str) -> Publish {
    Publish { retain: true, ..message(topic, payload) }
}

fn versions(w: &World) {
    for version in [Version::V31, Version::V311, Version::V5] {
        admin(w, version, "v").disconnect();
    }
    let mut sixth = Mqtt::version(&w.server, Version::V5);
    sixth.bytes(b"\x10\x0d\0\x04MQTT\x06\x02\0\0\0\x01a");
    let Packet::Connack(connack) = sixth.next() else { panic!() };
    assert_eq!(connack.reason, Reason::UnsupportedProtocolVersion);
    for bytes in [&b"\x10\x0d\0\x04MQTX\x04\x02\0\0\0\x01a"[..], b"\xc0\0"] {
        let mut other = Mqtt::version(&w.server, Version::V311);
        other.bytes(bytes);
        assert_eq!(other.ended(), None);
    }
}

fn connack(w: &World) {
    let open = |version| {
        let mut client = Mqtt::version(&w.server, version);
        client.open(as_admin(connect(version, "c")))
    };
    let expected = Connack {
        session_present: false,
        reason: Reason::Success,
        properties: Properties::default(),
    };
    assert_eq!(open(Version::V311), expected);
    assert_ne!(open(Version::V5).properties, Properties::default());
}

fn wrong_login(w: &World) {
    for version in [Version::V311, Version::V5] {
        let mut wrong = Mqtt::version(&w.server, version);
        let connack = wrong.open(with_login(connect(version, "w"), USERNAME, "wrong"));
        assert_eq!(connack.reason, Reason::BadUserNameOrPassword);
        wrong.ended();
        let mut nobody = Mqtt::version(&w.server, version);
        assert_eq!(nobody.open(connect(version, "w")).reason, Reason::NotAuthorized);
        nobody.ended();
    }
}

fn empty_client_identifier(w: &World) {
    let reason =
        |connect: Connect| Mqtt::version(&w.server, connect.version).open(as_admin(connect)).reason;
    assert_eq!(reason(connect(Version::V311, "")), Reason::Success);
    assert_eq!(reason(connect(Version::V5, "")), Reason::Success);
    assert_eq!(reason(lasting(Version::V311, "")), Reason::ClientIdentifierNotValid);
}

fn second_connect(w: &World) {
    let mut first = admin(w, Version::V5, "twice");
    let mut second = admin(w, Version::V5, "twice");
    assert_eq!(first.ended().unwrap().reason, Reason::SessionTakenOver);
    second.send(&Packet::Connect(Box::new(connect(Version::V5, "twice"))));
    assert_eq!(second.ended().unwrap().reason, Reason::ProtocolError);
}

fn records_that_are_there(w: &World) {
    w.admin.put("/Dog/there", r#"{"name":"Rex"}"#).expect(204);
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut client = admin(w, Version::V311, "there");
        let granted = client.subscribe(vec![subscription("Dog/there", qos)]);
        assert_eq!(granted[0].code(), qos.bits());
        let publish = client.publication();
        assert!(publish.retain);
        assert_eq!(publish.delivery.qos(), qos);
        let record: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
        assert_eq!((&record["id"], &record["name"]), (&json!("there"), &json!("Rex")));
    }
    w.admin.delete("/Dog/there").expect(200);
}

fn refused_subscriptions(w: &World) {
    let filters = ["Nothing/1", "#", "+/x"];
    for (version, code) in [(Version::V311, 0x80), (Version::V5, 0x8f)] {
        let mut client = admin(w, version, "refused");
        for filter in filters {
            let reasons = client.subscribe(vec![subscription(filter, Qos::AtMostOnce)]);
            assert_eq!(reasons[0].code(), code, "{filter}");
        }
    }
    let mut client = admin(w, Version::V5, "refused");
    let shared = subscription("$share/g/Dog/#", Qos::AtMostOnce);
    assert_eq!(client.subscribe(vec![shared]), [Reason::Success]);
    let mut reader = user(w, "mqtt-reader", "reader");
    for filter in ["Owner/#", "$SYS/#"] {
        let refused = reader.subscribe(vec![subscription(filter, Qos::AtMostOnce)]);
        assert_eq!(refused, [Reason::NotAuthorized], "{filter}");
    }
}

/// A client of MQTT 5 for a user with this role.
fn user(w: &World, name: &str, role: &str) -> Mqtt {
    let operations: Client = w.server.operations().login(USERNAME, PASSWORD);
    let add = json!({
        "operation": "add_user", "username": name, "password": "pw", "role": role, "active": true,
    });
    operations.post("/", &add.to_string());
    let mut client = Mqtt::version(&w.server, Version::V5);
    let connack = client.open(with_login(connect(Version::V5, name), name, "pw"));
    assert_eq!(connack.reason, Reason::Success);
    client
}

fn retain_handling(w: &World) {
    w.admin.put("/Dog/handled", "{}").expect(204);
    let mut client = admin(w, Version::V5, "handling");
    let asked = Subscription {
        no_local: true,
        retain_handling: RetainHandling::Never,
        ..subscription("Dog/handled", Qos::AtMostOnce)
    };
    client.subscribe(vec![asked]);
    client.publish(message("Dog/handled", "own"));
    client.silent();
    w.admin.delete("/Dog/handled").expect(200);
}

fn without_retain(w: &World) {
    let mut client = admin(w, Version::V5, "message");
    client.listen("Dog/message", Qos::AtMostOnce);
    for payload in [r#"{"name":"x"}"#, ""] {
        client.publish(message("Dog/message", payload));
        assert_eq!(client.told().1, payload, "without the key");
    }
    w.admin.get("/Dog/message").expect(404);
}

fn refused_publications(w: &World) {
    let mut client = admin(w, Version::V5, "publications");
    let invalid = retained("Dog/bad", r#"{"age":"old"}"#);
    assert_eq!(client.publish_1(invalid.clone()), Reason::PayloadFormatInvalid);
    assert_eq!(client.publish_2(invalid.clone()), Reason::PayloadFormatInvalid);
    assert_eq!(client.publish_1(message("Nothing/1", "x")), Reason::TopicNameInvalid);
    client.publish(message("Nothing/1", "x"));
    client.silent();
    let mut reader = user(w, "mqtt-writer", "reader");
    assert_eq!(reader.publish_1(message("Dog/1", "x")), Reason::NotAuthorized);
    let mut old = admin(w, Version::V311, "publications");
    assert_eq!(old.publish_1(invalid), Reason::Success);
    w.admin.get("/Dog/bad").expect(404);
}

fn wills(w: &World) {
    let will = || Will {
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: Properties::default(),
        topic: text("Dog/will"),
        payload: Binary::new("gone".into()).unwrap(),
    };
    let mortal = || {
        let mut client = Mqtt::version(&w.server, Version::V311);
        client.open(Connect { will: Some(will()), ..as_admin(connect(Version::V311, "mortal")) });
        client
    };
    let mut mourner = admin(w, Version::V311, "mourner");
    mourner.listen("Dog/will", Qos::AtMostOnce);
    mortal().disconnect();
    mourner.silent();
    drop(mortal());
    assert_eq!(mourner.told(), ("Dog/will".into(), "gone".into()));
}

fn durable_sessions(w: &World) {
    let open = || {
        let mut client = Mqtt::version(&w.server, Version::V311);
        let connack = client.open(as_admin(lasting(Version::V311, "durable")));
        (client, connack.session_present)
    };
    let (mut client, is_present) = open();
    assert!(!is_present);
    let granted = client.subscribe(vec![subscription("Dog/durable", Qos::AtLeastOnce)]);
    assert_eq!(granted, [Reason::GrantedQos1]);
    client.disconnect();
    let clients = "harper_mqtt_clients";
    eventually("the end", || (w.server.metric(clients) == 0.0).then_some(()));
    admin(w, Version::V311, "p").publish_1(message("Dog/durable", "missed"));
    let (mut client, is_present) = open();
    assert!(is_present);
    let publish = client.publication();
    assert_eq!(publish.payload, "missed");
    client.answer(&publish);
    client.silent();
    let last = connect(Version::V311, "durable");
    Mqtt::version(&w.server, Version::V311).open(as_admin(last));
}
