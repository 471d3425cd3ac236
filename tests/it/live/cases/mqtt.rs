//! `mqtt.*`. What is agreed on with CONNACK holds for connections that are made after the change.

use super::{Case, Live};
use crate::harness::eventually;
use crate::mqtt::client::{Mqtt, connect, lasting, message, subscription};
use harper_mqtt::packet::{Connack, Connect};
use harper_mqtt::property::{
    MAXIMUM_PACKET_SIZE, RECEIVE_MAXIMUM, SERVER_KEEP_ALIVE, SESSION_EXPIRY, TOPIC_ALIAS_MAXIMUM,
};
use harper_mqtt::{Qos, Reason, Version};
use serde_json::json;

pub(super) const CASES: &[Case] = &[
    ("mqtt.requireAuthentication", require_authentication),
    ("mqtt.timeout", timeout),
    ("mqtt.keepAliveMax", |live| {
        told(live, "mqtt.keepAliveMax", 7, |connack| {
            connack.properties.get(&SERVER_KEEP_ALIVE).map(|one| u32::from(*one))
        });
    }),
    ("mqtt.packetBytesMax", |live| {
        told(live, "mqtt.packetBytesMax", 5000, |connack| {
            connack.properties.get(&MAXIMUM_PACKET_SIZE).copied()
        });
    }),
    ("mqtt.receiveMaximum", |live| {
        told(live, "mqtt.receiveMaximum", 7, |connack| {
            connack.properties.get(&RECEIVE_MAXIMUM).map(|one| u32::from(*one))
        });
    }),
    ("mqtt.topicAliasesMax", |live| {
        told(live, "mqtt.topicAliasesMax", 7, |connack| {
            connack.properties.get(&TOPIC_ALIAS_MAXIMUM).map(|one| u32::from(*one))
        });
    }),
    ("mqtt.sessionExpiryMax", |live| {
        told(live, "mqtt.sessionExpiryMax", 7, |connack| {
            connack.properties.get(&SESSION_EXPIRY).copied()
        });
    }),
    ("mqtt.inflightMax", inflight_max),
    ("mqtt.subscriptionsMax", subscriptions_max),
    ("mqtt.sessionsMax", sessions_max),
    ("mqtt.sysInterval", sys_interval),
    ("mqtt.resumptionsPerSecondMax", resumptions_max),
];

fn open(live: &Live, connect: Connect) -> (Mqtt, Connack) {
    let mut client = Mqtt::version(&live.server, connect.version);
    let connack = client.open(connect);
    (client, connack)
}

fn client(live: &Live, id: &str) -> Mqtt {
    Mqtt::version(&live.server, Version::V5).clean(id)
}

/// A number that CONNACK tells once it is configured.
fn told(live: &Live, key: &str, number: u32, of: fn(&Connack) -> Option<u32>) {
    let told = || of(&open(live, lasting(Version::V5, "told")).1);
    assert_ne!(told(), Some(number));
    live.set(&[(key, json!(number))]);
    eventually(key, || (told() == Some(number)).then_some(()));
    client(live, "told").disconnect();
}

fn require_authentication(live: &Live) {
    let strangers = ("authentication.authorizeLocal", json!(false));
    let reason = || open(live, connect(Version::V5, "nobody")).1.reason;
    live.set(std::slice::from_ref(&strangers));
    eventually("the refusal", || (reason() == Reason::NotAuthorized).then_some(()));
    live.set(&[strangers, ("mqtt.requireAuthentication", json!(false))]);
    eventually("nobody to be let in", || (reason() == Reason::Success).then_some(()));
}

fn timeout(live: &Live) {
    live.set(&[("mqtt.timeout", json!(100))]);
    eventually("the end of a client that says nothing", || {
        let mut silent = Mqtt::version(&live.server, Version::V5);
        silent.ends_within(std::time::Duration::from_secs(2)).then_some(())
    });
}

fn inflight_max(live: &Live) {
    let unanswered = || {
        let mut listener = client(live, "inflight");
        listener.listen("Dog/inflight", Qos::AtLeastOnce);
        let mut publisher = client(live, "p");
        for _ in 0..3 {
            publisher.publish_1(message("Dog/inflight", "x"));
        }
        listener.count_soon()
    };
    assert_eq!(unanswered(), 3);
    live.set(&[("mqtt.inflightMax", json!(1))]);
    eventually("the limit", || (unanswered() == 1).then_some(()));
}

fn subscriptions_max(live: &Live) {
    let second = || {
        let mut client = client(live, "second");
        client.listen("Dog/1", Qos::AtMostOnce);
        client.subscribe(vec![subscription("Dog/2", Qos::AtMostOnce)])[0]
    };
    assert_eq!(second(), Reason::Success);
    live.set(&[("mqtt.subscriptionsMax", json!(1))]);
    eventually("the limit", || (second() == Reason::QuotaExceeded).then_some(()));
}

fn sessions_max(live: &Live) {
    live.set(&[("mqtt.sessionsMax", json!(0))]);
    let reason = || open(live, lasting(Version::V5, "session")).1.reason;
    eventually("the limit", || (reason() == Reason::QuotaExceeded).then_some(()));
}

fn sys_interval(live: &Live) {
    let asked = || client(live, "sys").subscribe(vec![subscription("$SYS/#", Qos::AtMostOnce)])[0];
    assert_eq!(asked(), Reason::Success);
    live.set(&[("mqtt.sysInterval", json!(0))]);
    eventually("the end of it", || asked().is_error().then_some(()));
}

fn resumptions_max(live: &Live) {
    let hasty = ("mqtt.timeout", json!(200));
    live.set(&[hasty, ("mqtt.resumptionsPerSecondMax", json!(1))]);
    let reason = || open(live, lasting(Version::V5, "again")).1.reason;
    eventually("the limit", || (reason() == Reason::ConnectionRateExceeded).then_some(()));
    live.set(&[]);
    client(live, "again").disconnect();
}
