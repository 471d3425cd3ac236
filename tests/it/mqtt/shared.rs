use super::client::{Mqtt, message, subscription};
use super::{connected, start};
use harper_mqtt::Qos;
use harper_mqtt::packet::Packet;

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

#[test]
fn what_is_retained_is_not_sent_to_a_share() {
    let server = start();
    server.client().put("/Dog/1", &serde_json::json!({"name": "Rex"}).to_string()).expect(204);
    let mut client = connected(&server, "a");
    client.subscribe(vec![subscription("$share/g/Dog/#", Qos::AtMostOnce)]);
    client.silent();
}
