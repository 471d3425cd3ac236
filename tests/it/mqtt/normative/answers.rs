//! SUBSCRIBE, UNSUBSCRIBE and their answers (§3.8 to §3.11).

use super::super::client::{Mqtt, id, message, subscription, text};
use super::super::{VERSIONS, connected, start};
use crate::harness::Server;
use harper_mqtt::packet::{Ack, Delivery, Packet, Publish, Subscribe, Unsubscribe};
use harper_mqtt::topic::Filter;
use harper_mqtt::{Properties, Qos, Reason, Version};

fn unsubscribe(filters: &[&str]) -> Packet {
    let filters = filters.iter().map(|filter| Filter::new(text(filter)).unwrap()).collect();
    Packet::Unsubscribe(Unsubscribe { id: id(55), properties: Properties::default(), filters })
}

#[test]
fn answers_have_the_identifier_of_the_question() {
    let server = start();
    for version in VERSIONS {
        let mut client = Mqtt::version(&server, version).clean("a");
        let publish = |delivery| Packet::Publish(Publish { delivery, ..message("Dog/1", "x") });
        client.send(&publish(Delivery::AtLeastOnce(id(65_535))));
        assert_eq!(client.next(), Packet::Puback(Ack::success(id(65_535))));
        client.send(&publish(Delivery::ExactlyOnce(id(256))));
        assert_eq!(client.next(), Packet::Pubrec(Ack::success(id(256))));
        client.send(&Packet::Pubrel(Ack::success(id(256))));
        assert_eq!(client.next(), Packet::Pubcomp(Ack::success(id(256))));
        let subscriptions = vec![subscription("Dog/1", Qos::AtMostOnce)];
        let properties = Properties::default();
        client.send(&Packet::Subscribe(Subscribe { id: id(54), properties, subscriptions }));
        let Packet::Suback(suback) = client.next() else { panic!() };
        assert_eq!((suback.id, &suback.reasons[..]), (id(54), &[Reason::Success][..]));
        client.send(&unsubscribe(&["Dog/1", "Dog/2"]));
        let Packet::Unsuback(unsuback) = client.next() else { panic!() };
        assert_eq!(unsuback.id, id(55));
    }
}

#[test]
fn several_filters_are_as_several_packets_with_one_answer() {
    let server = start();
    let mut client = connected(&server, "a");
    let reasons = client.subscribe(vec![
        subscription("Dog/1", Qos::AtMostOnce),
        subscription("Nothing/1", Qos::AtMostOnce),
        subscription("Dog/2", Qos::ExactlyOnce),
        subscription("Dog/3", Qos::AtLeastOnce),
    ]);
    let granted =
        [Reason::Success, Reason::TopicFilterInvalid, Reason::GrantedQos2, Reason::GrantedQos1];
    assert_eq!(reasons, granted);
    client.send(&unsubscribe(&["Dog/2", "Dog/9", "Dog/+", "Dog/3"]));
    let Packet::Unsuback(unsuback) = client.next() else { panic!() };
    let none = Reason::NoSubscriptionExisted;
    assert_eq!(unsuback.reasons, [Reason::Success, none, none, Reason::Success]);
    let mut publisher = connected(&server, "p");
    for topic in ["Dog/2", "Dog/3", "Dog/1"] {
        publisher.publish_1(message(topic, "x"));
    }
    assert_eq!(client.told().0, "Dog/1", "nothing of the others");
}

#[test]
fn a_subscription_in_place_of_the_same_loses_nothing() {
    let server = start();
    server.client().put("/Dog/kept", "{}").expect(204);
    let mut client = connected(&server, "a");
    let mut publisher = connected(&server, "p");
    client.subscribe(vec![subscription("Dog/+", Qos::AtLeastOnce)]);
    client.answer_next("kept");
    publisher.publish_1(message("Dog/1", "before"));
    client.answer_next("before");
    let subscriptions = vec![subscription("Dog/+", Qos::AtMostOnce)];
    let properties = Properties::default();
    client.send(&Packet::Subscribe(Subscribe { id: id(9), properties, subscriptions }));
    publisher.publish_1(message("Dog/1", "meanwhile"));
    let mut came = Vec::new();
    while came.len() < 2 {
        if let Packet::Publish(publish) = client.next() {
            client.answer(&publish);
            came.push(String::from_utf8_lossy(&publish.payload).into_owned());
        }
    }
    came.sort_by_key(|payload| payload.contains("kept"));
    assert!(came[0] == "meanwhile" && came[1].contains("kept"), "{came:?}");
    publisher.publish_1(message("Dog/1", "after"));
    let last = client.publication();
    // the new quality of service, once
    assert_eq!((&last.payload[..], last.delivery), (&b"after"[..], Delivery::AtMostOnce));
    client.silent();
}

#[test]
fn a_subscription_made_again_and_again_reads_the_records_once_at_a_time() {
    let server = start();
    let record = format!("{{\"name\":\"{}\"}}", "x".repeat(5000));
    for key in 0..400 {
        server.client().put(&format!("/Dog/{key}"), &record).expect(204);
    }
    let mut client = connected(&server, "a");
    for _ in 0..50 {
        let subscriptions = vec![subscription("Dog/#", Qos::AtLeastOnce)];
        let properties = Properties::default();
        client.send(&Packet::Subscribe(Subscribe { id: id(9), properties, subscriptions }));
    }
    let mut answers = 0;
    while answers < 50 {
        answers += usize::from(matches!(client.next(), Packet::Suback(_)));
    }
    let open = server.metric("harper_realtime_subscriptions{protocol=\"mqtt\"}");
    assert!(open <= 2.0, "{open}");
}

#[test]
fn what_was_begun_is_completed_after_unsubscribe() {
    let server = start();
    let mut client = connected(&server, "a");
    client.listen("Dog/1", Qos::ExactlyOnce);
    connected(&server, "p").publish_2(message("Dog/1", "x"));
    let publish = client.publication();
    assert_eq!(client.unsubscribe("Dog/1"), [Reason::Success]);
    client.answer(&publish);
    connected(&server, "p").publish_2(message("Dog/1", "y"));
    client.silent();
}

/// What a client that shares gets, while another shares, too.
fn shared(server: &Server, name: &str, qos: Qos) -> Mqtt {
    let (mut client, _) = Mqtt::version(server, Version::V5).lasting(name);
    client.listen("$share/g/Dog/shared", qos);
    client
}

#[test]
fn a_share_s_quality_of_service_is_the_client_s_own() {
    let server = start();
    let mut client = shared(&server, "one", Qos::AtLeastOnce);
    connected(&server, "p").publish_2(message("Dog/shared", "x"));
    assert_eq!(client.publication().delivery.qos(), Qos::AtLeastOnce);
}

#[test]
fn a_shared_message_that_is_refused_goes_to_nobody_else() {
    let server = start();
    let mut members =
        [shared(&server, "one", Qos::ExactlyOnce), shared(&server, "two", Qos::ExactlyOnce)];
    connected(&server, "p").publish_2(message("Dog/shared", "x"));
    let (taker, publish) = members
        .iter_mut()
        .find_map(|member| member.publication_soon().map(|publish| (member, publish)))
        .unwrap();
    let refusal = Ack::new(publish.delivery.id().unwrap(), Reason::ImplementationSpecificError);
    taker.send(&Packet::Pubrec(refusal));
    members.iter_mut().for_each(Mqtt::silent);
}

#[test]
fn a_shared_message_of_qos_2_is_completed_to_whom_it_was_begun_and_to_nobody_else() {
    let server = start();
    for is_resumed in [true, false] {
        let mut members =
            [shared(&server, "one", Qos::ExactlyOnce), shared(&server, "two", Qos::ExactlyOnce)];
        connected(&server, "p").publish_2(message("Dog/shared", "x"));
        let taker = (0..2).find(|member| members[*member].publication_soon().is_some()).unwrap();
        let [one, two] = members;
        let (taken, mut other) = if taker == 0 { (one, two) } else { (two, one) };
        drop(taken);
        other.silent();
        let name = ["one", "two"][taker];
        if is_resumed {
            let (mut again, was_there) = Mqtt::version(&server, Version::V5).lasting(name);
            assert!(was_there);
            let publish = again.publication();
            assert_eq!((&publish.payload[..], publish.dup), (&b"x"[..], true));
            again.answer(&publish);
            again.disconnect();
        } else {
            // the session ends: nobody gets it
            connected(&server, name).silent();
        }
        other.silent();
        other.disconnect();
        for name in ["one", "two"] {
            connected(&server, name).disconnect();
        }
    }
}
