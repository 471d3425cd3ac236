use crate::basic::{PacketId, Qos, Text};
use crate::packet::{Delivery, Disconnect, Subscription};
use crate::property::{MESSAGE_EXPIRY, SESSION_EXPIRY, WILL_DELAY};
use crate::session::{
    Arrival, Cursor, InAliases, Inbound, Lifetime, OutAliases, Outbound, Phase, Received, Resend,
    Row, Subscriptions, choose, expires_ms, expiry_left_s, recover, silence_max,
};
use crate::topic::Filter;
use crate::{Properties, Reason};
use std::collections::HashSet;
use std::time::Duration;

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn text(text: &str) -> Text {
    Text::try_from(text).unwrap()
}

#[test]
fn identifiers_in_use_are_skipped() {
    let mut out = Outbound::new(u16::MAX);
    assert_eq!(out.begin(Qos::AtLeastOnce, 'a'), Some(id(1)));
    for _ in 0..u16::MAX - 1 {
        let next = out.begin(Qos::AtLeastOnce, 'b').unwrap();
        out.puback(next).unwrap();
    }
    // 1 is still unanswered
    assert_eq!(out.begin(Qos::AtLeastOnce, 'c'), Some(id(2)));
}

#[test]
fn receive_maximum_holds_both_ways() {
    let mut out = Outbound::new(2);
    let first = out.begin(Qos::ExactlyOnce, 1).unwrap();
    out.begin(Qos::AtLeastOnce, 2).unwrap();
    assert!(!out.has_room() && out.begin(Qos::AtLeastOnce, 3).is_none());
    // a released message still counts
    assert_eq!(out.pubrec(first, Reason::Success).unwrap(), Received::Release);
    assert!(!out.has_room());
    assert_eq!(out.pubcomp(first).unwrap(), Some(1));
    assert!(out.has_room());

    let mut inbound = Inbound::new(2, HashSet::new());
    inbound.publish(Delivery::AtLeastOnce(id(1))).unwrap();
    assert_eq!(inbound.publish(Delivery::ExactlyOnce(id(2))), Ok(Arrival::New));
    assert_eq!(inbound.publish(Delivery::ExactlyOnce(id(2))), Ok(Arrival::Known));
    let error = inbound.publish(Delivery::AtLeastOnce(id(3))).unwrap_err();
    assert_eq!(error.reason, Reason::ReceiveMaximumExceeded);
    inbound.publish(Delivery::AtMostOnce).unwrap();
}

#[test]
fn wrong_answers_are_errors_and_unknown_ones_are_not() {
    let mut out = Outbound::new(10);
    let one = out.begin(Qos::AtLeastOnce, 1).unwrap();
    let two = out.begin(Qos::ExactlyOnce, 2).unwrap();
    out.pubrec(one, Reason::Success).unwrap_err();
    out.puback(two).unwrap_err();
    out.pubcomp(two).unwrap_err();
    assert_eq!(out.puback(id(77)), Ok(None));
    assert_eq!(out.pubcomp(id(77)), Ok(None));
    assert_eq!(out.pubrec(id(77), Reason::Success), Ok(Received::Unknown));
    assert_eq!(out.pubrec(two, Reason::QuotaExceeded), Ok(Received::Refused(2)));
}

#[test]
fn another_connection_repeats_in_order_and_within_its_receive_maximum() {
    let mut out = Outbound::new(10);
    let ids: Vec<PacketId> =
        (0..4).map(|message| out.begin(Qos::ExactlyOnce, message).unwrap()).collect();
    out.pubrec(ids[2], Reason::Success).unwrap();
    out.pubrec(ids[1], Reason::Success).unwrap();
    out.resume(1);
    assert!(!out.has_room());
    assert_eq!(out.resend(), Some(Resend::Publish(ids[0], Qos::ExactlyOnce, &0)));
    assert_eq!(out.resend(), None);
    out.pubrec(ids[0], Reason::Success).unwrap();
    out.pubcomp(ids[0]).unwrap();
    assert_eq!(out.resend(), Some(Resend::Publish(ids[3], Qos::ExactlyOnce, &3)));
    assert_eq!(out.resend(), Some(Resend::Release(ids[2])));
    assert_eq!(out.resend(), Some(Resend::Release(ids[1])));
    assert_eq!(out.resend(), None);
}

#[test]
fn a_cursor_waits_for_the_first_that_is_not_done() {
    let mut cursor = Cursor::new(10);
    cursor.begin(11);
    cursor.pass(12);
    cursor.begin(13);
    cursor.done(13);
    assert_eq!((cursor.position(), cursor.seen()), (10, 13));
    cursor.done(11);
    assert_eq!(cursor.position(), 13);
}

#[test]
fn of_two_rows_with_one_identifier_the_earlier_is_done() {
    let row = |place, number, turn, phase| Row { place, id: id(number), turn, phase };
    let rows = vec![
        row(3, 5, 9, Phase::Sent),
        row(1, 5, 2, Phase::Released),
        row(2, 6, 3, Phase::Released),
    ];
    let recovered = recover(rows);
    let places: Vec<_> = recovered.unanswered.iter().map(|row| row.place).collect();
    assert_eq!((places, recovered.done), (vec![2, 3], vec![1]));
}

#[test]
fn aliases_stand_for_names() {
    let mut incoming = InAliases::new(2);
    assert_eq!(incoming.resolve(&text("a"), 1).unwrap(), text("a"));
    assert_eq!(incoming.resolve(&text(""), 1).unwrap(), text("a"));
    assert_eq!(incoming.resolve(&text("b"), 1).unwrap(), text("b"));
    assert_eq!(incoming.resolve(&text(""), 1).unwrap(), text("b"));
    // MQTT-3.3.2-9
    assert_eq!(incoming.resolve(&text("a"), 3).unwrap_err().reason, Reason::TopicAliasInvalid);
    assert_eq!(incoming.resolve(&text(""), 2).unwrap_err().reason, Reason::ProtocolError);

    let mut outgoing = OutAliases::new(1);
    assert_eq!(outgoing.assign(&text("a")), Some((1, true)));
    assert_eq!(outgoing.assign(&text("a")), Some((1, false)));
    assert_eq!(outgoing.assign(&text("b")), None);
    outgoing.forget(&text("a"));
    assert_eq!(outgoing.assign(&text("b")), Some((1, true)));
    assert_eq!(OutAliases::new(0).assign(&text("a")), None);
}

#[test]
fn lifetimes_are_those_of_the_standard() {
    let mut buffer = bytes::BytesMut::from(
        &b"\x10\x13\x00\x04MQTT\x05\x02\x00\x3c\x05\x11\x00\x00\x00\x0a\x00\x01a"[..],
    );
    let packet = crate::Decoder::server(100).decode(&mut buffer).unwrap().unwrap();
    let crate::Packet::Connect(connect) = packet else { panic!() };
    let lifetime = Lifetime::of(&connect, 1000);
    assert_eq!(lifetime.ends_ms(500), Some(10_500));
    assert_eq!(Lifetime::of(&connect, 3).seconds(), 3);
    // MQTT-3.1.3-9: not after the session
    let will = |seconds| Properties::default().with(&WILL_DELAY, seconds);
    assert_eq!(lifetime.will_due_ms(&will(4), 0), 4000);
    assert_eq!(lifetime.will_due_ms(&will(40), 0), 10_000);
    let disconnect = |seconds| Disconnect {
        reason: Reason::Success,
        properties: Properties::default().with(&SESSION_EXPIRY, seconds),
    };
    let none = lifetime.amended(&disconnect(0), 1000).unwrap();
    assert!(!none.is_durable());
    none.amended(&disconnect(5), 1000).unwrap_err();
    assert_eq!(lifetime.amended(&disconnect(u32::MAX), u32::MAX).unwrap().ends_ms(0), None);

    assert_eq!(silence_max(0), None);
    assert_eq!(silence_max(10), Some(Duration::from_secs(15)));
    let properties = Properties::default().with(&MESSAGE_EXPIRY, 2);
    let expires = expires_ms(&properties, 1000);
    assert_eq!(expiry_left_s(expires, 1000), Some(Some(2)));
    assert_eq!(expiry_left_s(expires, 2100), Some(Some(1)));
    assert_eq!(expiry_left_s(expires, 3000), None);
    assert_eq!(expiry_left_s(0, 3000), Some(None));
}

#[test]
fn subscriptions_that_overlap_give_one_message() {
    let filter = |text_: &str| Filter::new(text(text_)).unwrap();
    let mut all = Subscriptions::default();
    assert!(!all.insert(Subscription::new(filter("a/+"), Qos::AtMostOnce), Some(1)));
    let own = Subscription {
        no_local: true,
        retain_as_published: true,
        ..Subscription::new(filter("a/#"), Qos::ExactlyOnce)
    };
    assert!(!all.insert(own, Some(2)));
    assert!(!all.insert(Subscription::new(filter("$share/g/a/b"), Qos::AtLeastOnce), Some(3)));
    let both = all.matching("a/b", false).unwrap();
    assert_eq!(
        (both.qos, both.retain_as_published, both.ids),
        (Qos::ExactlyOnce, true, vec![1, 2])
    );
    // MQTT-3.8.3-3
    let local = all.matching("a/b", true).unwrap();
    assert_eq!((local.qos, local.ids), (Qos::AtMostOnce, vec![1]));
    assert_eq!(all.matching("b", false), None);
    // MQTT-3.8.4-3
    assert!(all.insert(Subscription::new(filter("a/+"), Qos::AtLeastOnce), None));
    assert_eq!(all.len(), 3);
    assert!(all.remove(&filter("a/+")) && !all.remove(&filter("a/+")));
}

#[test]
fn a_share_is_divided_evenly_and_moves_little() {
    let members = [11_u64, 22, 33, 44];
    let mut counts = [0_u32; 4];
    for message in 0..4000 {
        let all = choose(members.into_iter(), message).unwrap();
        counts[members.iter().position(|member| *member == all).unwrap()] += 1;
        let fewer = choose(members[..3].iter().copied(), message).unwrap();
        assert!(all == 44 || all == fewer);
    }
    assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    assert_eq!(choose([].into_iter(), 1), None);
}
