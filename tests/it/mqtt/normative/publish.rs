//! PUBLISH, as a client sends it (§3.3, §4.3, §4.7).

use super::super::client::{Mqtt, id, message, subscription, text};
use super::super::{VERSIONS, connected, start};
use harper_mqtt::packet::{Ack, Delivery, Packet, Publish, RetainHandling, Subscription};
use harper_mqtt::property::{
    CONTENT_TYPE, PAYLOAD_FORMAT, RESPONSE_TOPIC, TOPIC_ALIAS, USER_PROPERTY,
};
use harper_mqtt::{Properties, Qos, Reason};

fn retained(topic: &str, payload: &str) -> Publish {
    Publish { retain: true, ..message(topic, payload) }
}

#[test]
fn dup_is_not_passed_on() {
    let server = start();
    for version in VERSIONS {
        let mut client = Mqtt::version(&server, version).clean("a");
        client.listen("Dog/1", Qos::ExactlyOnce);
        let mut publisher = Mqtt::version(&server, version).clean("p");
        assert_eq!(
            publisher.publish_1(Publish { dup: true, ..message("Dog/1", "x") }),
            Reason::Success
        );
        let publish = client.publication();
        assert!(!publish.dup);
        client.answer(&publish);
    }
}

#[test]
fn a_retained_message_takes_the_place_of_the_one_before() {
    let server = start();
    for version in VERSIONS {
        let mut client = Mqtt::version(&server, version).clean("a");
        for payload in [r#"{"name":"one"}"#, r#"{"age":2}"#] {
            client.publish_1(retained("Dog/kept", payload));
        }
        // neither QoS 0 nor a message without the flag changes that
        client.publish_1(message("Dog/kept", "other"));
        let mut late = Mqtt::version(&server, version).clean("late");
        late.subscribe(vec![subscription("Dog/kept", Qos::AtMostOnce)]);
        let publish = late.publication();
        assert!(publish.retain);
        assert_eq!(&publish.payload[..], br#"{"id":"kept","age":2}"#);
        late.silent();
        client.publish(retained("Dog/kept", r#"{"age":3}"#));
        let publish = late.publication();
        assert!(!publish.retain, "3.1.1 MQTT-3.3.1-9");
        assert_eq!(&publish.payload[..], br#"{"id":"kept","age":3}"#);
        client.publish_1(retained("Dog/kept", ""));
        let mut later = Mqtt::version(&server, version).clean("later");
        later.subscribe(vec![subscription("Dog/kept", Qos::AtMostOnce)]);
        later.silent();
        server.client().get("/Dog/kept").expect(404);
    }
}

#[test]
fn an_empty_retained_message_is_told_whether_it_deletes_something_or_not() {
    let server = start();
    for version in VERSIONS {
        let mut client = Mqtt::version(&server, version).clean("a");
        client.listen("Dog/1", Qos::ExactlyOnce);
        let mut publisher = Mqtt::version(&server, version).clean("p");
        for is_there in [true, false] {
            if is_there {
                publisher.publish(retained("Dog/1", "{}"));
                client.publication();
            }
            publisher.publish_1(retained("Dog/1", ""));
            let publish = client.publication();
            assert_eq!((&*publish.topic, publish.retain), ("Dog/1", false));
            assert_eq!(
                (&publish.payload[..], publish.delivery.qos()),
                (&b""[..], Qos::AtLeastOnce)
            );
            client.answer(&publish);
        }
        publisher.publish(retained("Dog/1", ""));
        assert_eq!(client.publication().delivery, Delivery::AtMostOnce);
    }
}

#[test]
fn an_empty_retained_message_has_all_that_a_message_has() {
    let server = start();
    let mut client = connected(&server, "a");
    client.subscribe(vec![Subscription {
        no_local: true,
        retain_as_published: true,
        ..subscription("Dog/1", Qos::ExactlyOnce)
    }]);
    let mut publisher = connected(&server, "p");
    let properties = Properties::default().with(&USER_PROPERTY, (text("k"), text("1")));
    for is_there in [true, false] {
        if is_there {
            client.publish_1(retained("Dog/1", "{}"));
        }
        publisher.publish_1(Publish { properties: properties.clone(), ..retained("Dog/1", "") });
        let publish = client.publication();
        assert_eq!((publish.retain, &publish.properties), (true, &properties));
        client.answer(&publish);
        if is_there {
            client.publish_1(retained("Dog/1", "{}"));
        }
        client.publish_1(retained("Dog/1", ""));
        client.silent();
    }
}

#[test]
fn the_retain_flag_is_passed_on_to_who_wants_it() {
    let server = start();
    let mut client = connected(&server, "a");
    let asked = |filter: &str, retain_as_published| Subscription {
        retain_as_published,
        retain_handling: RetainHandling::Never,
        ..subscription(filter, Qos::AtMostOnce)
    };
    client.subscribe(vec![asked("Dog/plain", false), asked("Dog/asis", true)]);
    let mut publisher = connected(&server, "p");
    for (topic, retain, expected) in [
        ("Dog/plain", true, false),
        ("Dog/plain", false, false),
        ("Dog/asis", true, true),
        ("Dog/asis", false, false),
    ] {
        publisher.publish(Publish { retain, ..message(topic, "{}") });
        assert_eq!(client.publication().retain, expected, "{topic} {retain}");
    }
}

#[test]
fn what_a_message_says_of_itself_is_passed_on_unaltered() {
    let server = start();
    let mut client = connected(&server, "a");
    client.listen("Dog/1", Qos::AtMostOnce);
    let mut publisher = connected(&server, "p");
    for format in [0, 1] {
        let properties = Properties::default()
            .with(&PAYLOAD_FORMAT, format)
            .with(&CONTENT_TYPE, text("text/plain"))
            .with(&RESPONSE_TOPIC, text("anywhere/else"))
            .with(&USER_PROPERTY, (text("b"), text("1")))
            .with(&USER_PROPERTY, (text("a"), text("")));
        publisher.publish(Publish { properties: properties.clone(), ..message("Dog/1", "x") });
        assert_eq!(client.publication().properties, properties);
    }
}

#[test]
fn aliases_are_taken_up_to_the_maximum_and_end_with_the_connection() {
    let server = start();
    let mut client = connected(&server, "a");
    client.listen("Dog/#", Qos::AtMostOnce);
    let mut publisher = connected(&server, "p");
    let aliased = |topic: &str, alias: u16| Publish {
        properties: Properties::default().with(&TOPIC_ALIAS, alias),
        ..message(topic, "x")
    };
    for alias in 1..=16 {
        publisher.publish(aliased(&format!("Dog/{alias}"), alias));
        publisher.publish(Publish { topic: text(""), ..aliased("x", alias) });
        for _ in 0..2 {
            let publish = client.publication();
            assert_eq!(&*publish.topic, format!("Dog/{alias}"));
            // the client takes none (MQTT-3.1.2-27)
            assert_eq!(publish.properties, Properties::default());
        }
    }
    let mut again = connected(&server, "p");
    assert_eq!(publisher.ended().unwrap().reason, Reason::SessionTakenOver);
    again.publish(Publish { topic: text(""), ..aliased("x", 1) });
    assert_eq!(again.ended().unwrap().reason, Reason::ProtocolError);
}

#[test]
fn an_identifier_is_free_once_its_message_is_answered() {
    let server = start();
    for version in VERSIONS {
        let mut client = Mqtt::version(&server, version).clean("a");
        client.listen("Dog/1", Qos::AtMostOnce);
        let mut publisher = Mqtt::version(&server, version).clean("p");
        // a new message, whatever DUP says
        for dup in [false, true] {
            publisher.publish_1(Publish { dup, ..message("Dog/1", "one") });
            assert_eq!(client.told().1, "one");
            publisher.publish_2(Publish { dup, ..message("Dog/1", "two") });
            assert_eq!(client.told().1, "two");
        }
    }
}

#[test]
fn a_refused_message_s_identifier_is_free() {
    let server = start();
    let mut client = connected(&server, "a");
    client.listen("Dog/1", Qos::AtMostOnce);
    let mut publisher = connected(&server, "p");
    assert_eq!(publisher.publish_2(message("Nothing/1", "x")), Reason::TopicNameInvalid);
    assert_eq!(publisher.publish_2(message("Dog/1", "x")), Reason::Success);
    assert_eq!(client.told().1, "x");
}

#[test]
fn a_message_that_comes_again_before_pubrel_is_answered_and_told_once() {
    let server = start();
    for version in VERSIONS {
        let mut client = Mqtt::version(&server, version).clean("a");
        client.listen("Dog/1", Qos::AtMostOnce);
        let mut publisher = Mqtt::version(&server, version).clean("p");
        let publish = Publish { delivery: Delivery::ExactlyOnce(id(3)), ..message("Dog/1", "x") };
        for dup in [false, true, false] {
            publisher.publish(Publish { dup, ..publish.clone() });
            assert_eq!(publisher.next(), Packet::Pubrec(Ack::success(id(3))));
        }
        publisher.send(&Packet::Pubrel(Ack::success(id(3))));
        assert_eq!(publisher.next(), Packet::Pubcomp(Ack::success(id(3))));
        assert_eq!(client.told().1, "x");
        client.silent();
    }
}

#[test]
fn topics_are_compared_letter_by_letter() {
    let server = start();
    let mut client = connected(&server, "a");
    // one letter, and a letter with an accent after it
    client.listen("Dog/\u{e9}", Qos::AtMostOnce);
    let mut publisher = connected(&server, "p");
    for topic in ["Dog/e\u{301}", "Dog/\u{e9}/", "dog/\u{e9}", "Dog//\u{e9}", "Dog/\u{c9}"] {
        publisher.publish(message(topic, "other"));
    }
    publisher.publish(message("Dog/\u{e9}", "same"));
    assert_eq!(client.told(), ("Dog/\u{e9}".into(), "same".into()));
    // U+FEFF is a letter like any other (MQTT-1.5.4-3)
    client.listen("Dog/\u{feff}", Qos::AtMostOnce);
    publisher.publish(message("Dog/\u{feff}", "space"));
    assert_eq!(client.told(), ("Dog/\u{feff}".into(), "space".into()));
}
