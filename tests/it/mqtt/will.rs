use super::client::{Mqtt, connect, lasting, text, with_login};
use super::{SCHEMA, VERSIONS, connected, launch, start};
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Home, Server, eventually};
use harper_mqtt::packet::{Connect, Disconnect, Packet, Will};
use harper_mqtt::property::{SESSION_EXPIRY, WILL_DELAY};
use harper_mqtt::{Binary, Properties, Qos, Reason, Version};
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

fn will(retain: bool, delay_s: u32) -> Will {
    Will {
        qos: Qos::AtLeastOnce,
        retain,
        properties: Properties::default().with(&WILL_DELAY, delay_s),
        topic: text("Dog/will"),
        payload: Binary::new(bytes::Bytes::from_static(b"{\"name\":\"gone\"}")).unwrap(),
    }
}

fn mourner(server: &Server) -> Mqtt {
    let mut mourner = connected(server, "mourner");
    mourner.listen("Dog/will", Qos::AtMostOnce);
    mourner
}

fn open(server: &Server, connect: Connect) -> Mqtt {
    let mut client = Mqtt::version(server, connect.version);
    assert_eq!(client.open(connect).reason, Reason::Success);
    client
}

fn mortal(version: Version, retain: bool) -> Connect {
    Connect { will: Some(will(retain, 0)), ..connect(version, "mortal") }
}

#[test]
fn a_will_is_published_when_the_connection_breaks() {
    let server = start();
    let mut mourner = mourner(&server);
    for version in VERSIONS {
        // right after CONNACK, too
        drop(open(&server, mortal(version, false)));
        assert_eq!(mourner.told().1, "{\"name\":\"gone\"}");
        open(&server, mortal(version, false)).bytes(b"\0\0");
        assert_eq!(mourner.told().0, "Dog/will");
        drop(open(&server, mortal(version, true)));
        mourner.told();
        assert_eq!(server.client().get("/Dog/will").json()["name"], "gone");
        server.client().delete("/Dog/will").expect(200);
        assert_eq!(mourner.told().1, "");
    }
}

#[test]
fn disconnect_withdraws_the_will_unless_it_says_otherwise() {
    let server = start();
    let mut mourner = mourner(&server);
    for version in VERSIONS {
        open(&server, mortal(version, false)).disconnect();
        mourner.silent();
    }
    let mut client = open(&server, mortal(Version::V5, false));
    client.send(&Packet::Disconnect(Disconnect::new(Reason::DisconnectWithWill)));
    assert_eq!(mourner.told().0, "Dog/will");
}

#[test]
fn a_will_waits_for_its_delay_and_for_the_client_to_come_back() {
    let server = start();
    let mut mourner = mourner(&server);
    let connect = || Connect { will: Some(will(false, 2)), ..lasting(Version::V5, "mortal") };
    drop(open(&server, connect()));
    let begun = Instant::now();
    assert_eq!(mourner.told().0, "Dog/will");
    assert!(begun.elapsed() > Duration::from_millis(1500));
    // MQTT-3.1.3-9
    drop(open(&server, connect()));
    std::thread::sleep(Duration::from_millis(300));
    let client = open(&server, Connect { will: None, ..connect() });
    std::thread::sleep(Duration::from_secs(3));
    mourner.silent();
    drop(client);
}

#[test]
fn a_will_survives_a_crash() {
    let mut server = launch(&Home::with_schema(SCHEMA)).start();
    let _client = open(&server, mortal(Version::V5, true));
    server.signal(Signal::KILL);
    server.wait();
    let server = launch(&server.home).start();
    eventually("the will", || (server.client().get("/Dog/will").status == 200).then_some(()));
}

#[test]
fn a_delayed_will_and_its_session_end_after_a_crash_too() {
    let mut server = launch(&Home::with_schema(SCHEMA)).start();
    let properties = Properties::default().with(&SESSION_EXPIRY, 2);
    let connect = || Connect { will: Some(will(true, 1)), ..lasting(Version::V5, "mortal") };
    let _client = open(&server, Connect { properties, ..connect() });
    server.signal(Signal::KILL);
    server.wait();
    let server = launch(&server.home).start();
    eventually("the will", || (server.client().get("/Dog/will").status == 200).then_some(()));
    eventually("the end", || (server.metric("harper_mqtt_sessions") == 0.0).then_some(()));
}

#[test]
fn a_will_that_was_due_is_published_whoever_comes_back() {
    let mut server = launch(&Home::with_schema(SCHEMA)).start();
    let connect = || Connect { will: Some(will(true, 0)), ..lasting(Version::V5, "mortal") };
    let _client = open(&server, connect());
    server.signal(Signal::KILL);
    server.wait();
    let server = launch(&server.home).start();
    let _client = open(&server, Connect { will: None, ..connect() });
    eventually("the will", || (server.client().get("/Dog/will").status == 200).then_some(()));
}

#[test]
fn a_will_has_the_rights_of_when_it_is_published() {
    let server =
        launch(&Home::with_schema(SCHEMA)).set("operationsApi.network.port=127.0.0.1:0").start();
    let operations = server.operations().login(USERNAME, PASSWORD);
    let call = |body: serde_json::Value| operations.post("/", &body.to_string()).expect(200);
    let rights = |may: bool| {
        let rights = json!({"read": true, "insert": may, "update": may, "delete": may, "attribute_permissions": []});
        json!({"data": {"tables": {"Dog": rights}}})
    };
    call(json!({"operation": "add_role", "role": "writer", "permission": rights(true)}));
    for (change, status) in [
        (json!({"operation": "list_users"}), 200),
        (json!({"operation": "drop_user", "username": "w"}), 404),
        (
            json!({"operation": "alter_role", "id": "writer", "role": "writer", "permission": rights(false)}),
            404,
        ),
    ] {
        let add = json!({"operation": "add_user", "role": "writer", "username": "w", "password": "pw of w", "active": true});
        operations.post("/", &add.to_string());
        let client = open(&server, with_login(mortal(Version::V5, true), "w", "pw of w"));
        call(change.clone());
        drop(client);
        eventually("the end", || (server.metric("harper_mqtt_clients") == 0.0).then_some(()));
        server.client().get("/Dog/will").expect(status);
        server.client().delete("/Dog/will");
    }
}

#[test]
fn a_will_without_a_right_or_a_table_is_refused() {
    let server = start();
    let mut lost = will(false, 0);
    lost.topic = text("Nothing/x");
    let connect = Connect { will: Some(lost), ..connect(Version::V5, "a") };
    let connack = Mqtt::version(&server, Version::V5).open(connect);
    assert_eq!(connack.reason, Reason::TopicNameInvalid);
}
