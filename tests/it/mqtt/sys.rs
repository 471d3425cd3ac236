//! What the broker tells of itself, and users who change while they are connected.

use super::client::{Mqtt, connect, message, subscription, with_login};
use super::{SCHEMA, connected, launch, start};
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Home, Server, eventually};
use harper_mqtt::packet::{Publish, RetainHandling, Subscription};
use harper_mqtt::{Qos, Reason, Version};
use serde_json::{Value, json};
use std::collections::HashMap;

/// The topics that a client is told at once, and what they say.
fn topics(client: &mut Mqtt, count: usize) -> HashMap<String, String> {
    let told = (0..count).map(|_| client.publication());
    let pair = |publish: Publish| {
        assert!(publish.retain, "{publish:?}");
        (publish.topic.to_string(), String::from_utf8(publish.payload.to_vec()).unwrap())
    };
    told.map(pair).collect()
}

#[test]
fn a_super_user_is_told_of_the_broker_as_by_mosquitto() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("mqtt.sysInterval=1s").start();
    let (durable, _) = Mqtt::version(&server, Version::V311).lasting("durable");
    durable.disconnect();
    let clients = "harper_mqtt_clients";
    eventually("the end", || (server.metric(clients) == 0.0).then_some(()));
    server.client().put("/Dog/1", "{}").expect(204);
    let mut publisher = connected(&server, "p");
    publisher.publish_1(message("Dog/2", "12345"));
    let mut client = connected(&server, "a");
    client.subscribe(vec![subscription("$SYS/#", Qos::ExactlyOnce)]);
    let told = topics(&mut client, 18);
    let at = |name: &str| &told[&format!("$SYS/broker/{name}")][..];
    assert!(at("version").starts_with("harper-server "), "{told:?}");
    assert!(at("uptime").ends_with(" seconds"));
    let clients = ["connected", "disconnected", "total", "maximum"];
    let clients = clients.map(|name| at(&format!("clients/{name}")));
    assert_eq!(clients, ["2", "1", "3", "2"]);
    assert_eq!((at("publish/messages/received"), at("publish/bytes/received")), ("1", "5"));
    assert_eq!(at("retained messages/count"), "1");
    assert!(at("bytes/sent").parse::<u64>().unwrap() > 10);
    // what changes is told again, as a message of its own
    publisher.publish_1(message("Dog/2", "12345"));
    loop {
        let publish = client.publication();
        assert!(!publish.retain);
        assert_ne!(&*publish.topic, "$SYS/broker/version");
        if &*publish.topic == "$SYS/broker/publish/messages/received" {
            assert_eq!(publish.payload, "2");
            break;
        }
    }
}

#[test]
fn sys_is_subscribed_to_like_any_topic() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("mqtt.sysInterval=1s").start();
    let (mut client, _) = Mqtt::version(&server, Version::V5).lasting("d");
    let version = "$SYS/broker/version";
    client.subscribe_as(vec![subscription(version, Qos::AtMostOnce)], Some(7));
    let told = client.publication();
    assert_eq!((&*told.topic, told.retain), (version, true));
    let never = Subscription {
        retain_handling: RetainHandling::Never,
        ..subscription("$SYS/broker/+", Qos::AtMostOnce)
    };
    client.subscribe(vec![never]);
    let told = client.publication();
    assert_eq!((&*told.topic, told.retain), ("$SYS/broker/uptime", false));
    let shared = subscription("$share/g/$SYS/#", Qos::AtMostOnce);
    assert_eq!(client.subscribe(vec![shared]), [Reason::TopicFilterInvalid]);
    // MQTT-4.7.2-1
    for filter in ["#", "+/broker/version"] {
        let refused = client.subscribe(vec![subscription(filter, Qos::AtMostOnce)]);
        assert_eq!(refused, [Reason::TopicFilterInvalid], "{filter}");
    }
    client.disconnect();
    let (mut client, was_there) = Mqtt::version(&server, Version::V5).lasting("d");
    assert!(was_there);
    assert!(client.told().0.starts_with("$SYS/broker/"));
    for filter in [version, "$SYS/broker/+"] {
        client.unsubscribe_soon(filter);
    }
    client.silent_for(std::time::Duration::from_millis(1500));
}

#[test]
fn sys_can_be_switched_off() {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("mqtt.sysInterval=0").start();
    let refused = connected(&server, "a").subscribe(vec![subscription("$SYS/#", Qos::AtMostOnce)]);
    assert_eq!(refused, [Reason::TopicFilterInvalid]);
}

fn operation(server: &Server, body: &Value) {
    server.operations().login(USERNAME, PASSWORD).post("/", &body.to_string()).expect(200);
}

/// A server with a role that writes dogs, and a client of MQTT 5 for a user of it.
fn writer() -> (Server, Mqtt) {
    let home = Home::with_schema(SCHEMA);
    let server = launch(&home).set("operationsApi.network.port=127.0.0.1:0").start();
    operation(&server, &json!({"operation": "add_role", "role": "w", "permission": rights(true)}));
    let user = json!({"operation": "add_user", "username": "w", "password": "pw", "role": "w", "active": true});
    operation(&server, &user);
    let mut client = Mqtt::version(&server, Version::V5);
    client.open(with_login(connect(Version::V5, "w"), "w", "pw"));
    (server, client)
}

fn rights(insert: bool) -> Value {
    let dog = json!({"read": true, "insert": insert, "update": false, "delete": false, "attribute_permissions": []});
    json!({"super_user": false, "data": {"tables": {"Dog": dog}}})
}

#[test]
fn who_is_no_super_user_is_not_told_of_the_broker() {
    let (_server, mut client) = writer();
    let refused = client.subscribe(vec![subscription("$SYS/#", Qos::AtMostOnce)]);
    assert_eq!(refused, [Reason::NotAuthorized]);
}

#[test]
fn a_right_that_is_taken_away_is_gone_at_the_next_message() {
    let (server, mut client) = writer();
    assert_eq!(client.publish_1(message("Dog/1", "x")), Reason::Success);
    operation(&server, &json!({"operation": "alter_role", "id": "w", "permission": rights(false)}));
    assert_eq!(client.publish_1(message("Dog/1", "x")), Reason::NotAuthorized);
    operation(&server, &json!({"operation": "drop_user", "username": "w"}));
    client.publish(message("Dog/1", "x"));
    assert_eq!(client.ended().unwrap().reason, Reason::NotAuthorized);
}

#[test]
fn a_super_user_who_is_one_no_more_is_told_nothing_more() {
    let home = Home::with_schema(SCHEMA);
    let launch = launch(&home).set("mqtt.sysInterval=1s");
    let server = launch.set("operationsApi.network.port=127.0.0.1:0").start();
    let user = json!({"operation": "add_user", "username": "s", "password": "pw", "role": "super_user", "active": true});
    operation(&server, &user);
    let mut client = Mqtt::version(&server, Version::V5);
    client.open(with_login(connect(Version::V5, "s"), "s", "pw"));
    client.subscribe(vec![subscription("$SYS/#", Qos::AtMostOnce)]);
    topics(&mut client, 18);
    operation(&server, &json!({"operation": "drop_user", "username": "s"}));
    assert_eq!(client.ended().unwrap().reason, Reason::NotAuthorized);
}

#[test]
fn nobody_tells_of_the_broker_but_itself() {
    let server = start();
    let mut client = connected(&server, "a");
    let publish = Publish { retain: true, ..message("$SYS/broker/version", "mine") };
    assert_eq!(client.publish_1(publish), Reason::TopicNameInvalid);
}
