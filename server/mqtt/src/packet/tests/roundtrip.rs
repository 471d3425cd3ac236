//! Law: what is written is read as the same, whatever the packet and the version.

use crate::basic::{Binary, FIELD_BYTES_MAX, PacketId, Qos, Text, Version};
use crate::packet::{
    Ack, Auth, Connack, Connect, Delivery, Disconnect, Packet, Publish, RetainHandling, Suback,
    Subscribe, Subscription, Unsubscribe, Will,
};
use crate::place::{Place, Role};
use crate::property::{self, Properties};
use crate::topic::Filter;
use crate::{Decoder, Reason, encode};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Text> {
    "[^\0]{0,12}".prop_map(|text| Text::try_from(text).unwrap())
}

fn name() -> impl Strategy<Value = Text> {
    "[a-z$/ é]{1,12}".prop_map(|text| Text::try_from(text).unwrap())
}

fn filter() -> impl Strategy<Value = Filter> {
    r"(\$share/[a-z]{1,3}/)?([a-z]{0,3}/|\+/){0,3}([a-z]{1,2}|#|\+)"
        .prop_map(|text| Filter::new(Text::try_from(text).unwrap()).unwrap())
}

fn bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn binary() -> impl Strategy<Value = Binary> {
    bytes().prop_map(|bytes| Binary::new(bytes).unwrap())
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn qos() -> impl Strategy<Value = Qos> {
    (0..3_u8).prop_map(|bits| Qos::from_bits(bits).unwrap())
}

/// Properties that may stand at a place, each at most once; user properties twice.
fn properties(place: Place) -> impl Strategy<Value = Properties> {
    let choice = proptest::collection::vec(any::<bool>(), 27);
    (choice, text(), binary(), name(), 1..1000_u16).prop_map(move |values| build(place, &values))
}

fn build(place: Place, values: &(Vec<bool>, Text, Binary, Text, u16)) -> Properties {
    use property::*;
    let (choice, text, data, name, number) = values;
    let mut all = Properties::default();
    let byte = |all: &mut Properties, key| all.push(key, u8::from(number % 2 == 0));
    for key in [&PAYLOAD_FORMAT, &REQUEST_PROBLEM_INFORMATION, &REQUEST_RESPONSE_INFORMATION] {
        byte(&mut all, key);
    }
    for key in [&MAXIMUM_QOS, &RETAIN_AVAILABLE, &WILDCARD_AVAILABLE, &SHARED_AVAILABLE] {
        byte(&mut all, key);
    }
    byte(&mut all, &SUBSCRIPTION_IDS_AVAILABLE);
    for key in [&MESSAGE_EXPIRY, &SESSION_EXPIRY, &WILL_DELAY, &MAXIMUM_PACKET_SIZE] {
        all.push(key, u32::from(*number) * 70_000);
    }
    for key in [&SERVER_KEEP_ALIVE, &RECEIVE_MAXIMUM, &TOPIC_ALIAS_MAXIMUM, &TOPIC_ALIAS] {
        all.push(key, *number);
    }
    for key in [&CONTENT_TYPE, &ASSIGNED_CLIENT_ID, &AUTHENTICATION_METHOD, &REASON_STRING] {
        all.push(key, text.clone());
    }
    for key in [&RESPONSE_INFORMATION, &SERVER_REFERENCE] {
        all.push(key, text.clone());
    }
    all.push(&RESPONSE_TOPIC, name.clone());
    for key in [&CORRELATION_DATA, &AUTHENTICATION_DATA] {
        all.push(key, data.clone());
    }
    all.push(&SUBSCRIPTION_ID, Varint(u32::from(*number)));
    for _ in 0..2 {
        all.push(&USER_PROPERTY, (text.clone(), name.clone()));
    }
    all.thinned(place, choice)
}

fn will() -> impl Strategy<Value = Will> {
    (qos(), any::<bool>(), properties(Place::WILL), name(), binary()).prop_map(
        |(qos, retain, properties, topic, payload)| Will {
            qos,
            retain,
            properties,
            topic,
            payload,
        },
    )
}

fn connect() -> impl Strategy<Value = Packet> {
    let versions = prop_oneof![Just(Version::V31), Just(Version::V311), Just(Version::V5)];
    let login = (proptest::option::of(text()), proptest::option::of(binary()));
    let head = (versions, any::<bool>(), any::<u16>());
    (head, properties(Place::CONNECT), text(), proptest::option::of(will()), login).prop_map(
        |((version, clean_start, keep_alive_s), properties, client_id, will, login)| {
            let (user_name, password) = login;
            let has_user = user_name.is_some() || version.is_v5();
            let mut connect = Connect {
                version,
                clean_start,
                keep_alive_s,
                properties,
                client_id,
                will,
                user_name,
                password: password.filter(|_| has_user),
            };
            if !version.is_v5() {
                connect.properties = Properties::default();
                if let Some(will) = &mut connect.will {
                    will.properties = Properties::default();
                }
            }
            Packet::Connect(Box::new(connect))
        },
    )
}

fn publish(role: Role) -> impl Strategy<Value = Packet> {
    let head = (any::<bool>(), qos(), packet_id(), any::<bool>());
    (head, name(), properties(Place::publish(role)), bytes()).prop_map(
        |((dup, qos, id, retain), topic, properties, payload)| {
            let delivery = match qos {
                Qos::AtMostOnce => Delivery::AtMostOnce,
                Qos::AtLeastOnce => Delivery::AtLeastOnce(id),
                Qos::ExactlyOnce => Delivery::ExactlyOnce(id),
            };
            let dup = dup && qos != Qos::AtMostOnce;
            Packet::Publish(Publish { dup, delivery, retain, topic, properties, payload })
        },
    )
}

fn reason(place: Place) -> impl Strategy<Value = Reason> {
    let legal: Vec<Reason> =
        Reason::ALL.iter().copied().filter(|reason| reason.places().meets(place)).collect();
    proptest::sample::select(legal)
}

fn ack(place: Place) -> impl Strategy<Value = Ack> {
    (packet_id(), reason(place), properties(place)).prop_map(|(id, reason, properties)| Ack {
        id,
        reason,
        properties,
    })
}

fn suback(place: Place) -> impl Strategy<Value = Suback> {
    (packet_id(), properties(place), proptest::collection::vec(reason(place), 1..5))
        .prop_map(|(id, properties, reasons)| Suback { id, properties, reasons })
}

fn subscription() -> impl Strategy<Value = Subscription> {
    (filter(), qos(), any::<bool>(), any::<bool>(), 0..3_u8).prop_map(
        |(filter, qos, no_local, retain_as_published, handling)| Subscription {
            no_local: no_local && filter.share().is_none(),
            filter,
            qos,
            retain_as_published,
            retain_handling: match handling {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                _ => RetainHandling::Never,
            },
        },
    )
}

fn to_server() -> impl Strategy<Value = Packet> {
    let subscribe = (
        packet_id(),
        properties(Place::SUBSCRIBE),
        proptest::collection::vec(subscription(), 1..5),
    );
    let unsubscribe =
        (packet_id(), properties(Place::UNSUBSCRIBE), proptest::collection::vec(filter(), 1..5));
    let disconnect = (reason(Place::DISCONNECT_IN), properties(Place::DISCONNECT_IN));
    prop_oneof![
        publish(Role::Server),
        ack(Place::PUBACK).prop_map(Packet::Puback),
        ack(Place::PUBREC).prop_map(Packet::Pubrec),
        ack(Place::PUBREL).prop_map(Packet::Pubrel),
        ack(Place::PUBCOMP).prop_map(Packet::Pubcomp),
        subscribe.prop_map(|(id, properties, subscriptions)| Packet::Subscribe(Subscribe {
            id,
            properties,
            subscriptions
        })),
        unsubscribe.prop_map(|(id, properties, filters)| Packet::Unsubscribe(Unsubscribe {
            id,
            properties,
            filters
        })),
        Just(Packet::Pingreq),
        disconnect
            .prop_map(|(reason, properties)| Packet::Disconnect(Disconnect { reason, properties })),
    ]
}

fn to_client() -> impl Strategy<Value = Packet> {
    let connack = (any::<bool>(), reason(Place::CONNACK), properties(Place::CONNACK));
    let auth = (reason(Place::AUTH), properties(Place::AUTH), text());
    let disconnect = (reason(Place::DISCONNECT_OUT), properties(Place::DISCONNECT_OUT));
    prop_oneof![
        publish(Role::Client),
        connack.prop_map(|(present, reason, properties)| Packet::Connack(Connack {
            session_present: present && reason == Reason::Success,
            reason,
            properties
        })),
        suback(Place::SUBACK).prop_map(Packet::Suback),
        suback(Place::UNSUBACK).prop_map(Packet::Unsuback),
        Just(Packet::Pingresp),
        disconnect
            .prop_map(|(reason, properties)| Packet::Disconnect(Disconnect { reason, properties })),
        auth.prop_map(|(reason, mut properties, method)| {
            properties.remove(&property::AUTHENTICATION_METHOD);
            properties.push(&property::AUTHENTICATION_METHOD, method);
            Packet::Auth(Auth { reason, properties })
        }),
    ]
}

/// The packet as it is told in a version, which has no properties and fewer reasons before MQTT 5.
fn in_version(packet: Packet, version: Version) -> Option<Packet> {
    if version.is_v5() {
        return Some(packet);
    }
    let none = Properties::default();
    Some(match packet {
        Packet::Publish(publish) => Packet::Publish(Publish { properties: none, ..publish }),
        Packet::Puback(ack) => Packet::Puback(Ack::success(ack.id)),
        Packet::Pubrec(ack) => Packet::Pubrec(Ack::success(ack.id)),
        Packet::Pubrel(ack) => Packet::Pubrel(Ack::success(ack.id)),
        Packet::Pubcomp(ack) => Packet::Pubcomp(Ack::success(ack.id)),
        Packet::Connack(connack) => Packet::Connack(Connack {
            session_present: connack.session_present && version != Version::V31,
            reason: Reason::from_connack_v3(connack.reason.connack_v3())?,
            properties: none,
        }),
        Packet::Subscribe(subscribe) => Packet::Subscribe(Subscribe {
            id: subscribe.id,
            properties: none,
            subscriptions: subscribe
                .subscriptions
                .into_iter()
                .map(|one| Subscription::new(one.filter, one.qos))
                .collect(),
        }),
        Packet::Unsubscribe(unsubscribe) => {
            Packet::Unsubscribe(Unsubscribe { properties: none, ..unsubscribe })
        }
        Packet::Suback(suback) => Packet::Suback(Suback {
            properties: none,
            reasons: suback
                .reasons
                .into_iter()
                .map(|reason| Reason::from_code(reason.suback_v3()))
                .collect::<Option<_>>()?,
            ..suback
        }),
        Packet::Unsuback(suback) => {
            Packet::Unsuback(Suback { properties: none, reasons: Vec::new(), id: suback.id })
        }
        Packet::Disconnect(_) => Packet::Disconnect(Disconnect::new(Reason::Success)),
        Packet::Auth(_) => return None,
        same => same,
    })
}

fn there_and_back(packet: &Packet, version: Version, mut decoder: Decoder) {
    let mut buffer = BytesMut::new();
    encode(packet, version, u32::MAX, &mut buffer).unwrap();
    let found = decoder.decode(&mut buffer).unwrap();
    assert_eq!(found.as_ref(), Some(packet));
    assert!(buffer.is_empty());
}

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

proptest! {
    #[test]
    fn connects(packet in connect()) {
        let Packet::Connect(connect) = &packet else { unreachable!() };
        there_and_back(&packet, connect.version, Decoder::server(u32::MAX));
    }

    #[test]
    fn packets_to_servers(packet in to_server()) {
        for version in VERSIONS {
            // a server is sent DISCONNECT in every version
            if let Some(packet) = in_version(packet.clone(), version) {
                there_and_back(&packet, version, super::server(version));
            }
        }
    }

    #[test]
    fn packets_to_clients(packet in to_client()) {
        for version in VERSIONS {
            if matches!(packet, Packet::Disconnect(_)) && !version.is_v5() {
                continue;
            }
            if let Some(packet) = in_version(packet.clone(), version) {
                there_and_back(&packet, version, Decoder::client(version, u32::MAX));
            }
        }
    }

    #[test]
    fn any_bytes_are_a_packet_or_an_error(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        for version in VERSIONS {
            let mut buffer = BytesMut::from(&data[..]);
            let mut decoder = super::server(version);
            while let Ok(Some(_)) = decoder.decode(&mut buffer) {}
        }
    }
}

#[test]
fn the_longest_string_fits() {
    let topic = Text::try_from("x".repeat(FIELD_BYTES_MAX)).unwrap();
    let packet = Packet::Publish(Publish {
        dup: false,
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic,
        properties: Properties::default(),
        payload: Bytes::new(),
    });
    there_and_back(&packet, Version::V5, Decoder::client(Version::V5, u32::MAX));
    assert!(Text::try_from("x".repeat(FIELD_BYTES_MAX + 1)).is_err());
}
