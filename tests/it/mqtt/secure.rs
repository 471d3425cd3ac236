//! MQTT over TLS, and clients with certificates.

use super::client::{Mqtt, connect, with_login};
use super::{SCHEMA, VERSIONS};
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Home, Server, client::basic, eventually};
use crate::tls::certificates::{Authority, Pair};
use crate::tls::client::{Tls, der};
use harper_mqtt::packet::Connect;
use harper_mqtt::{Qos, Reason, Version};
use serde_json::{Value, json};
use std::time::Duration;

/// A server, who answers for its certificate, and who for those of its clients.
struct World {
    server: Server,
    authority: Authority,
    clients: Authority,
}

impl World {
    fn start(mtls: &Value) -> Self {
        let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        let pair = authority.server(&["localhost"]);
        let config = json!({
            "tls": {
                "certificate": pair.certificate, "privateKey": pair.key,
                "certificateAuthority": clients.pem, "uses": ["mqtts"],
            },
            "mqtt": {"network": {"securePort": "127.0.0.1:0", "mtls": mtls}},
            "authentication": {"authorizeLocal": false},
        });
        let launch = Home::with_schema(SCHEMA).launch_as("run").set("threads.count=2");
        Self { server: launch.configured(&config).start(), authority, clients }
    }

    fn client(&self, own: Option<&Pair>, version: Version) -> Option<Mqtt> {
        let client = Tls::with(&self.authority.pem, rustls::ALL_VERSIONS, own);
        let secure = client.connect(self.server.mqtts(), "localhost").ok()?;
        Some(Mqtt::over(secure.stream, version))
    }

    fn put(&self, key: &str, name: &str) {
        let client = self.server.client();
        let login = basic(&format!("{USERNAME}:{PASSWORD}"));
        let put = client.request("PUT", &format!("/Dog/{key}")).header("authorization", &login);
        put.json(&json!({ "name": name }).to_string()).send().expect(204);
    }

    /// How CONNECT is answered; none when the handshake fails.
    fn reason(&self, own: Option<&Pair>, connect: Connect) -> Option<Reason> {
        self.client(own, connect.version)?.try_open(connect).map(|connack| connack.reason)
    }
}

#[test]
fn every_version_is_spoken_over_tls() {
    let world = World::start(&json!(false));
    for version in VERSIONS {
        let mut client = world.client(None, version).unwrap();
        let connack = client.open(with_login(connect(version, "a"), USERNAME, PASSWORD));
        assert_eq!(connack.reason, Reason::Success);
        let key = format!("{version:?}");
        client.listen(&format!("Dog/{key}"), Qos::AtMostOnce);
        world.put(&key, "Rex");
        assert!(client.told().1.contains("Rex"));
        client.disconnect();
        let refused = world.reason(None, connect(version, "a"));
        assert_eq!(refused, Some(Reason::NotAuthorized));
    }
}

#[test]
fn a_certificate_stands_for_the_user_of_its_common_name() {
    let world = World::start(&json!(true));
    let (admin, nobody) = (world.clients.client(USERNAME), world.clients.client("nobody"));
    for version in VERSIONS {
        let reason = |own, connect| world.reason(own, connect).unwrap();
        let asked = || connect(version, "a");
        assert_eq!(reason(Some(&admin), asked()), Reason::Success);
        assert_eq!(reason(Some(&nobody), asked()), Reason::NotAuthorized);
        assert_eq!(reason(None, asked()), Reason::NotAuthorized);
        let login = |password| with_login(asked(), USERNAME, password);
        assert_eq!(reason(Some(&nobody), login(PASSWORD)), Reason::Success);
        // a user name is a login, and has to be a good one
        assert_eq!(reason(Some(&admin), login("wrong")), Reason::BadUserNameOrPassword);
    }
    let stranger = Authority::new("strangers").client(USERNAME);
    assert_eq!(world.reason(Some(&stranger), connect(Version::V5, "a")), None);
}

#[test]
fn a_required_certificate_is_required_and_a_fixed_user_stands_for_all() {
    let world = World::start(&json!({"required": true, "user": USERNAME}));
    let login = with_login(connect(Version::V5, "a"), USERNAME, PASSWORD);
    assert_eq!(world.reason(None, login), None);
    let anybody = world.clients.client("anybody");
    assert_eq!(world.reason(Some(&anybody), connect(Version::V5, "a")), Some(Reason::Success));
}

#[test]
fn a_client_that_takes_its_time_gets_all() {
    let world = World::start(&json!(false));
    let mut client = world.client(None, Version::V5).unwrap();
    client.open(with_login(connect(Version::V5, "a"), USERNAME, PASSWORD));
    client.listen("Dog/#", Qos::AtMostOnce);
    let name = "x".repeat(900_000);
    for key in 0..12 {
        world.put(&key.to_string(), &name);
    }
    // what TLS holds for a full socket comes though nothing follows it
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..12 {
        assert!(client.told().1.len() > name.len());
    }
}

#[test]
fn the_port_speaks_mqtt_alone() {
    let world = World::start(&json!(false));
    let client = Tls::trusting(&world.authority.pem);
    let offering = |protocol: &[u8]| {
        let client = client.changed(|config| config.alpn_protocols = vec![protocol.to_vec()]);
        client.connect(world.server.mqtts(), "localhost")
    };
    let secure = offering(b"mqtt").unwrap();
    assert_eq!(secure.stream.conn.alpn_protocol(), Some(&b"mqtt"[..]));
    assert!(offering(b"http/1.1").is_err());
}

#[test]
fn an_exchanged_certificate_is_used_and_connections_go_on() {
    let (home, authority) = (Home::with_schema(SCHEMA), Authority::new("servers"));
    let [first, second] = [(); 2].map(|()| authority.server(&["localhost"]));
    let write = |pair: &Pair| {
        let certificate = home.write("m.crt", &pair.certificate).display().to_string();
        json!({"certificate": certificate, "privateKey": home.write("m.key", &pair.key)})
    };
    let mqtt = json!({"network": {"securePort": "127.0.0.1:0"}});
    let server = home.launch().configured(&json!({"tls": write(&first), "mqtt": mqtt})).start();
    let client = Tls::trusting(&authority.pem);
    let secure = client.connect(server.mqtts(), "localhost").unwrap();
    let mut before = Mqtt::over(secure.stream, Version::V5).clean("before");
    let used = || client.certificate_for(server.mqtts(), "localhost");
    assert!(used() == der(&first.certificate));
    write(&second);
    eventually("the new certificate", || (used() == der(&second.certificate)).then_some(()));
    before.listen("Dog/#", Qos::AtMostOnce);
    let stopping = std::thread::spawn(move || server.stop());
    assert_eq!(before.ended().unwrap().reason, Reason::ServerShuttingDown);
    stopping.join().unwrap();
}
