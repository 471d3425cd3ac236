use super::client::{Mqtt, id, message, subscription, text};
use super::{VERSIONS, connected, start};
use crate::harness::eventually;
use crate::harness::server::{PASSWORD, USERNAME};
use harper_mqtt::packet::{Delivery, Packet, Publish, RetainHandling, Subscription};
use harper_mqtt::property::{
    CONTENT_TYPE, CORRELATION_DATA, MESSAGE_EXPIRY, RESPONSE_TOPIC, SUBSCRIPTION_ID, TOPIC_ALIAS,
    USER_PROPERTY,
};
use harper_mqtt::{Binary, Properties, Qos, Reason, Version};
use serde_json::json;

fn retained(topic: &str, payload: &str) -> Publish {
    Publish { retain: true, ..message(topic, payload) }
}

#[test]
fn a_message_reaches_who_subscribes_on_any_worker() {
    let server = start();
    let mut subscribers: Vec<Mqtt> =
        (0..6).map(|number| connected(&server, &format!("s{number}"))).collect();
    for subscriber in &mut subscribers {
        subscriber.listen("Dog/+", Qos::AtMostOnce);
    }
    let mut publisher = connected(&server, "p");
    publisher.publish(message("Dog/1", "hello"));
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.told(), ("Dog/1".into(), "hello".into()));
        subscriber.silent();
    }
    assert_eq!(server.client().get("/Dog/1").status, 404, "a message is no record");
}

#[test]
fn every_version_and_quality_delivers() {
    let server = start();
    for version in VERSIONS {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut subscriber = Mqtt::version(&server, version).clean("s");
            subscriber.listen("Dog/#", qos);
            let mut publisher = Mqtt::version(&server, version).clean("p");
            assert_eq!(publisher.publish_2(message("Dog/a/b", "x")), Reason::Success);
            let publish = subscriber.publication();
            assert_eq!((publish.delivery.qos(), publish.retain, publish.dup), (qos, false, false));
            subscriber.answer(&publish);
            // MQTT-3.8.4-8: the lesser of both
            assert_eq!(publisher.publish_1(message("Dog/a/b", "y")), Reason::Success);
            let publish = subscriber.publication();
            assert_eq!(publish.delivery.qos(), qos.min(Qos::AtLeastOnce));
            subscriber.answer(&publish);
            publisher.publish(message("Dog/a/b", "z"));
            assert_eq!(subscriber.publication().delivery, Delivery::AtMostOnce);
        }
    }
}

#[test]
fn a_retained_message_is_the_record() {
    let server = start();
    let http = server.client();
    let mut client = connected(&server, "a");
    assert_eq!(client.publish_1(retained("Dog/1", r#"{"name":"Rex"}"#)), Reason::Success);
    assert_eq!(http.get("/Dog/1").json(), json!({"name": "Rex", "id": "1"}));
    let mut late = connected(&server, "b");
    late.subscribe(vec![subscription("Dog/#", Qos::AtLeastOnce)]);
    let publish = late.publication();
    assert!(publish.retain, "MQTT-3.3.1-8");
    late.answer(&publish);
    assert_eq!(publish.topic, text("Dog/1"));
    let record: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
    assert_eq!(record["name"], "Rex");
    // MQTT-3.3.1-6
    assert_eq!(client.publish_1(retained("Dog/1", "")), Reason::Success);
    assert_eq!(http.get("/Dog/1").status, 404);
    assert_eq!(late.told(), ("Dog/1".into(), String::new()));
}

#[test]
fn what_is_no_object_is_kept_as_it_came() {
    let server = start();
    let mut client = connected(&server, "a");
    let properties = Properties::default().with(&CONTENT_TYPE, text("text/plain"));
    let reason = client.publish_2(Publish { properties, ..retained("Dog/1", "not JSON") });
    assert_eq!(reason, Reason::Success);
    let reply = server.client().get("/Dog/1");
    assert_eq!((reply.header("content-type"), reply.text()), ("text/plain", "not JSON".into()));
    client.subscribe(vec![subscription("Dog/1", Qos::AtMostOnce)]);
    assert_eq!(client.told(), ("Dog/1".into(), "not JSON".into()));
}

#[test]
fn writes_over_http_are_told_as_retained_messages() {
    let server = start();
    let http = server.client();
    let mut client = connected(&server, "a");
    let as_published =
        Subscription { retain_as_published: true, ..subscription("nice/cats/1", Qos::ExactlyOnce) };
    client.subscribe(vec![subscription("Dog/+", Qos::AtMostOnce), as_published]);
    http.put("/Dog/7", &json!({"name": "Bo"}).to_string()).expect(204);
    let publish = client.publication();
    assert_eq!((&*publish.topic, publish.retain), ("Dog/7", false));
    http.delete("/Dog/7").expect(200);
    assert_eq!(client.told(), ("Dog/7".into(), String::new()));
    http.put("/nice/cats/1", &json!({"name": "Mia"}).to_string()).expect(204);
    let publish = client.publication();
    assert!(publish.retain, "MQTT-3.3.1-13");
    assert_eq!(publish.delivery.qos(), Qos::ExactlyOnce);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let server = start();
    let mut client = connected(&server, "a");
    for (publish, reason) in [
        (message("Nothing/1", "x"), Reason::TopicNameInvalid),
        (message("/Dog/1", "x"), Reason::TopicNameInvalid),
        (message("Dog", "x"), Reason::TopicNameInvalid),
        (message("$SYS/x", "x"), Reason::TopicNameInvalid),
        (retained("Dog/1", r#"{"age":"old"}"#), Reason::PayloadFormatInvalid),
        (retained("Dog/1", r#"{"age":"#), Reason::PayloadFormatInvalid),
    ] {
        let topic = publish.topic.clone();
        assert_eq!(client.publish_1(publish.clone()), reason, "{topic}");
        assert_eq!(client.publish_2(publish), reason, "{topic}");
    }
    // before MQTT 5 there is no way to say so: 3.1.1 MQTT-3.3.5-2
    let mut old = Mqtt::version(&server, Version::V311).clean("b");
    assert_eq!(old.publish_1(message("Nothing/1", "x")), Reason::Success);
    assert_eq!(old.publish_2(message("Nothing/1", "x")), Reason::Success);
}

#[test]
fn filters_that_name_no_table_are_refused() {
    let server = start();
    let filters = ["#", "+/x", "Nothing/#", "$OTHER/#", "Dog", "/Dog/1", "$share/g/#", "Dog/#"];
    let asked = || filters.iter().map(|filter| subscription(filter, Qos::AtMostOnce)).collect();
    let reasons = connected(&server, "a").subscribe(asked());
    assert_eq!(reasons[..7], [Reason::TopicFilterInvalid; 7]);
    assert_eq!(reasons[7], Reason::Success);
    let reasons = Mqtt::version(&server, Version::V311).clean("a").subscribe(asked());
    assert_eq!(reasons[..7], [Reason::UnspecifiedError; 7], "0x80");
}

#[test]
fn what_is_retained_is_sent_as_asked_for() {
    let server = start();
    server.client().put("/Dog/1", &json!({"name": "Rex"}).to_string()).expect(204);
    let mut client = connected(&server, "a");
    let asked = |retain_handling| {
        vec![Subscription { retain_handling, ..subscription("Dog/#", Qos::AtMostOnce) }]
    };
    client.subscribe(asked(RetainHandling::Never));
    client.silent();
    client.subscribe(asked(RetainHandling::SendIfNew));
    client.silent();
    client.subscribe(asked(RetainHandling::Send));
    assert_eq!(client.publication().topic, text("Dog/1"));
    client.unsubscribe("Dog/#");
    client.subscribe(asked(RetainHandling::SendIfNew));
    assert_eq!(client.publication().topic, text("Dog/1"));
    server.client().put("/Dog/2", &json!({"name": "Bo"}).to_string()).expect(204);
    assert_eq!(client.publication().topic, text("Dog/2"));
    client.silent();
}

#[test]
fn subscriptions_that_overlap_give_one_message_with_both_identifiers() {
    let server = start();
    for version in VERSIONS {
        let mut client = Mqtt::version(&server, version).clean("a");
        let numbers = [1, 2].map(|number| version.is_v5().then_some(number));
        client.subscribe_as(vec![subscription("Dog/+", Qos::AtMostOnce)], numbers[0]);
        client.subscribe_as(vec![subscription("Dog/#", Qos::AtLeastOnce)], numbers[1]);
        let mut publisher = Mqtt::version(&server, version).clean("p");
        publisher.publish_1(message("Dog/1", "x"));
        let publish = client.publication();
        client.answer(&publish);
        let ids: Vec<Option<u32>> =
            publish.properties.all(&SUBSCRIPTION_ID).map(|id| Some(id.0)).collect();
        assert_eq!(ids, if version.is_v5() { numbers.to_vec() } else { Vec::new() });
        assert_eq!(publish.delivery.qos(), Qos::AtLeastOnce);
        client.silent();
        let known = |reason| if version.is_v5() { vec![reason] } else { Vec::new() };
        assert_eq!(client.unsubscribe("Dog/+"), known(Reason::Success));
        assert_eq!(client.unsubscribe("Dog/+"), known(Reason::NoSubscriptionExisted));
        publisher.publish_1(message("Dog/1", "y"));
        client.answer_next("y");
    }
}

#[test]
fn each_copy_of_a_message_has_the_identifier_that_it_came_by() {
    let server = start();
    server.client().put("/Dog/1", "{}").expect(204);
    let mut client = connected(&server, "a");
    let asked = [("Dog/+", 1), ("Dog/#", 2), ("$share/g/Dog/1", 3)];
    let copies = |client: &mut Mqtt, count: usize| {
        let publishes = (0..count).map(|_| client.publication());
        let id = |publish: Publish| {
            let ids: Vec<u32> = publish.properties.all(&SUBSCRIPTION_ID).map(|id| id.0).collect();
            ids
        };
        let mut ids: Vec<Vec<u32>> = publishes.map(id).collect();
        client.silent();
        ids.sort_unstable();
        ids
    };
    // what is retained goes by each subscription
    for (filter, number) in &asked[..2] {
        client.subscribe_as(vec![subscription(filter, Qos::AtMostOnce)], Some(*number));
        assert_eq!(copies(&mut client, 1), [[*number]]);
    }
    // a share gives a copy beside that of all others
    let (filter, number) = asked[2];
    client.subscribe_as(vec![subscription(filter, Qos::AtMostOnce)], Some(number));
    connected(&server, "p").publish(message("Dog/1", "x"));
    assert_eq!(copies(&mut client, 2), [vec![1, 2], vec![3]]);
}

#[test]
fn no_local_leaves_out_the_client_s_own() {
    let server = start();
    let mut client = connected(&server, "a");
    let asked = Subscription { no_local: true, ..subscription("Dog/#", Qos::AtMostOnce) };
    client.subscribe(vec![asked]);
    client.publish(message("Dog/1", "own"));
    connected(&server, "b").publish_1(message("Dog/1", "other"));
    assert_eq!(client.told().1, "other");
}

#[test]
fn properties_and_aliases_go_through() {
    let server = start();
    let mut client = connected(&server, "a");
    client.listen("Dog/#", Qos::AtMostOnce);
    let correlation = Binary::new(bytes::Bytes::from_static(b"c")).unwrap();
    let same = Properties::default()
        .with(&RESPONSE_TOPIC, text("Dog/answers"))
        .with(&CORRELATION_DATA, correlation)
        .with(&USER_PROPERTY, (text("k"), text("1")))
        .with(&USER_PROPERTY, (text("k"), text("2")));
    let mut publisher = connected(&server, "p");
    let properties = same.clone().with(&TOPIC_ALIAS, 3).with(&MESSAGE_EXPIRY, 100);
    publisher.publish(Publish { properties: properties.clone(), ..message("Dog/1", "x") });
    let mut nameless = message("Dog/1", "y");
    nameless.topic = text("");
    publisher.publish(Publish { properties, ..nameless });
    for payload in ["x", "y"] {
        let mut publish = client.publication();
        assert_eq!((&*publish.topic, &publish.payload[..]), ("Dog/1", payload.as_bytes()));
        let left = *publish.properties.get(&MESSAGE_EXPIRY).unwrap();
        assert!((90..=100).contains(&left));
        publish.properties.remove(&MESSAGE_EXPIRY);
        assert_eq!(publish.properties, same);
    }
    let beyond = Properties::default().with(&TOPIC_ALIAS, 17);
    publisher.publish(Publish { properties: beyond, ..message("Dog/1", "z") });
    assert_eq!(publisher.ended().unwrap().reason, Reason::TopicAliasInvalid);
}

#[test]
fn a_client_gets_no_more_than_it_takes() {
    use super::client::connect;
    use harper_mqtt::property::{MAXIMUM_PACKET_SIZE, RECEIVE_MAXIMUM, TOPIC_ALIAS_MAXIMUM};
    let server = start();
    let mut client = Mqtt::version(&server, Version::V5);
    let mut asked = connect(Version::V5, "a");
    asked.properties.push(&RECEIVE_MAXIMUM, 2);
    asked.properties.push(&MAXIMUM_PACKET_SIZE, 200);
    asked.properties.push(&TOPIC_ALIAS_MAXIMUM, 1);
    client.open(asked);
    client.listen("Dog/#", Qos::AtLeastOnce);
    let mut publisher = connected(&server, "p");
    publisher.publish_1(message("Dog/1", &"x".repeat(300)));
    for payload in ["a", "b", "c"] {
        publisher.publish_1(message("Dog/1", payload));
    }
    let first = client.publication();
    assert_eq!((&first.payload[..], first.properties.get(&TOPIC_ALIAS)), (&b"a"[..], Some(&1)));
    let second = client.publication();
    assert_eq!((&second.payload[..], &*second.topic), (&b"b"[..], ""), "the alias stands for it");
    client.silent();
    client.answer(&second);
    assert_eq!(&client.publication().payload[..], b"c");
    assert_eq!(server.metric("harper_mqtt_messages_left_out_total{reason=\"size\"}"), 1.0);
}

#[test]
fn a_qos_2_message_that_comes_twice_is_carried_out_once() {
    let server = start();
    let mut client = connected(&server, "a");
    client.listen("Dog/#", Qos::AtMostOnce);
    let mut publisher = connected(&server, "p");
    for dup in [false, true] {
        let delivery = Delivery::ExactlyOnce(id(3));
        publisher.publish(Publish { dup, delivery, ..message("Dog/1", "once") });
        assert!(matches!(publisher.next(), Packet::Pubrec(_)));
    }
    assert_eq!(client.told().1, "once");
    client.silent();
}

#[test]
fn nothing_is_missed_while_a_subscription_reads_records() {
    let server = start();
    let client = server.client();
    let records: Vec<_> =
        (0..4000).map(|n| json!({"id": n.to_string(), "name": "x".repeat(500)})).collect();
    client.put("/Dog/", &json!(records).to_string()).expect(204);
    let mut slow = connected(&server, "slow");
    slow.subscribe(vec![subscription("Dog/#", Qos::AtLeastOnce)]);
    let mut publisher = connected(&server, "p");
    for number in 0..50 {
        publisher.publish_1(message("Dog/message", &number.to_string()));
    }
    let mut next = 0;
    while next < 50 {
        let publish = slow.publication();
        slow.answer(&publish);
        if &publish.topic[..] == "Dog/message" {
            assert_eq!(publish.payload, next.to_string());
            next += 1;
        }
    }
}

#[test]
fn messages_stay_in_order() {
    let server = start();
    for version in VERSIONS {
        let mut client = Mqtt::version(&server, version).clean("a");
        client.listen("Dog/1", Qos::AtLeastOnce);
        let mut publisher = Mqtt::version(&server, version).clean("p");
        // records wait for their commit, and what follows them must not overtake them
        for number in 1..=60_u16 {
            let publish = message("Dog/1", &format!("{{\"age\":{number}}}"));
            let delivery = Delivery::AtLeastOnce(id(number));
            publisher.publish(Publish { delivery, retain: number % 3 == 1, ..publish });
        }
        for number in 1..=60_u16 {
            let Packet::Puback(ack) = publisher.next() else { panic!() };
            assert_eq!(ack.id, id(number), "MQTT-4.6.0-2");
        }
        for number in 1..=60 {
            let publish = client.publication();
            client.answer(&publish);
            let told: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
            assert_eq!(told["age"], number);
        }
        publisher.publish_1(retained("Dog/1", ""));
    }
}

#[test]
fn a_right_that_is_taken_away_ends_the_connection() {
    use super::client::{connect, with_login};
    let home = crate::harness::Home::with_schema(super::SCHEMA);
    let server = super::launch(&home).set("operationsApi.network.port=127.0.0.1:0").start();
    let operations = server.operations().login(USERNAME, PASSWORD);
    let call = |body: serde_json::Value| operations.post("/", &body.to_string()).expect(200);
    let tables = |rights: serde_json::Value| json!({"data": {"tables": {"Cat": rights}}});
    let name = json!([{"attribute_name": "name", "read": true, "insert": false, "update": false}]);
    let some = tables(json!({"read": true, "attribute_permissions": name}));
    let none = tables(json!({"read": false}));
    call(json!({"operation": "add_role", "role": "reader", "permission": some}));
    call(
        json!({"operation": "add_user", "role": "reader", "username": "r", "password": "pw of r", "active": true}),
    );
    let mut client = Mqtt::version(&server, Version::V5);
    client.open(with_login(connect(Version::V5, "r"), "r", "pw of r"));
    client.listen("nice/cats/#", Qos::AtMostOnce);
    server
        .client()
        .put("/nice/cats/1", &json!({"name": "Mia", "secret": "s"}).to_string())
        .expect(204);
    let (_, payload) = client.told();
    assert!(payload.contains("Mia") && !payload.contains("secret"), "{payload}");
    assert_eq!(client.publish_1(message("nice/cats/1", "x")), Reason::NotAuthorized);
    call(json!({"operation": "alter_role", "id": "reader", "role": "reader", "permission": none}));
    let reason = eventually("the end", || client.ended().map(|last| last.reason));
    assert_eq!(reason, Reason::NotAuthorized);
}
