use super::client::{Mqtt, message, subscription};
use super::{SCHEMA, connected, launch, start};
use crate::harness::Home;
use harper_mqtt::packet::Packet;
use harper_mqtt::{Qos, Version};
use rustix::process::Signal;

#[test]
fn a_shared_subscription_is_divided_among_its_clients() {
    let server = start();
    let mut members: Vec<Mqtt> =
        (0..3).map(|number| connected(&server, &format!("m{number}"))).collect();
    for member in &mut members {
        member.listen("$share/g/Dog/#", Qos::AtLeastOnce);
    }
    let mut alone = connected(&server, "alone");
    alone.listen("Dog/#", Qos::AtMostOnce);
    let mut publisher = connected(&server, "p");
    for number in 0..60 {
        publisher.publish_1(message("Dog/x", &number.to_string()));
    }
    let mut all: Vec<u32> = (0..60).map(|_| alone.told().1.parse().unwrap()).collect();
    assert!(all.is_sorted());
    all.clear();
    for member in &mut members {
        let mut own: Vec<u32> = Vec::new();
        // each has had all that is its own by now, or has it soon
        member.send(&Packet::Pingreq);
        loop {
            match member.next() {
                Packet::Publish(publish) => {
                    member.answer(&publish);
                    own.push(std::str::from_utf8(&publish.payload).unwrap().parse().unwrap());
                }
                Packet::Pingresp if own.is_empty() => member.send(&Packet::Pingreq),
                Packet::Pingresp => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(own.is_sorted());
        all.extend(own);
    }
    all.sort_unstable();
    assert_eq!(all, (0..60).collect::<Vec<u32>>());
}

/// What a member of a share has been sent by now; it acknowledges all of it.
fn taken(member: &mut Mqtt) -> Vec<u32> {
    let mut taken = Vec::new();
    while let Some(publish) = member.publication_soon() {
        member.answer(&publish);
        taken.push(std::str::from_utf8(&publish.payload).unwrap().parse().unwrap());
    }
    taken
}

#[test]
fn a_session_that_is_away_has_what_nobody_else_was_there_for() {
    for crashes in [false, true] {
        let mut server = launch(&Home::with_schema(SCHEMA)).start();
        let (mut member, _) = Mqtt::version(&server, Version::V5).lasting("m");
        member.listen("$share/g/Dog/#", Qos::AtLeastOnce);
        member.disconnect();
        let mut publisher = connected(&server, "p");
        for number in 0..10 {
            publisher.publish_1(message("Dog/x", &number.to_string()));
        }
        if crashes {
            server.signal(Signal::KILL);
            server.wait();
            server = launch(&server.home).start();
        }
        let (mut member, was_there) = Mqtt::version(&server, Version::V5).lasting("m");
        assert!(was_there);
        assert_eq!(taken(&mut member), (0..10).collect::<Vec<u32>>());
    }
}

#[test]
fn no_message_of_a_share_is_lost_or_doubled_while_its_members_come_and_go() {
    let server = start();
    let mut all = Vec::new();
    let (mut first, _) = Mqtt::version(&server, Version::V5).lasting("m1");
    first.listen("$share/g/Dog/#", Qos::ExactlyOnce);
    let mut publisher = connected(&server, "p");
    let mut next = 0;
    for round in 0..6 {
        for _ in 0..20 {
            publisher.publish_1(message("Dog/x", &next.to_string()));
            next += 1;
        }
        let (mut second, _) = Mqtt::version(&server, Version::V5).lasting("m2");
        if round == 0 {
            second.listen("$share/g/Dog/#", Qos::ExactlyOnce);
        }
        // it leaves with messages on their way
        publisher.publish_1(message("Dog/x", &next.to_string()));
        next += 1;
        if round % 2 == 0 {
            all.extend(taken(&mut second));
        }
        drop(second);
    }
    let (mut second, _) = Mqtt::version(&server, Version::V5).lasting("m2");
    all.extend(taken(&mut first));
    all.extend(taken(&mut second));
    all.sort_unstable();
    assert_eq!(all, (0..next).collect::<Vec<u32>>());
}

#[test]
fn what_is_retained_is_not_sent_to_a_share() {
    let server = start();
    server.client().put("/Dog/1", &serde_json::json!({"name": "Rex"}).to_string()).expect(204);
    let mut client = connected(&server, "a");
    client.subscribe(vec![subscription("$share/g/Dog/#", Qos::AtMostOnce)]);
    client.silent();
}
