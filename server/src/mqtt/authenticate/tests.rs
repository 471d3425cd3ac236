//! Enhanced authentication by a method made for the tests: a client knocks, and says who it is.

use super::*;
use crate::auth::authority::Authority;
use crate::auth::users::User;
use crate::hub::Hub;
use crate::metrics::{Closed, Metrics};
use crate::mqtt::{Context, Host, serve};
use crate::route::OwnRoutes;
use bytes::BytesMut;
use harper_mqtt::packet::{Connack, Connect};
use harper_mqtt::{Decoder, Version, encode};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

const METHOD: &str = "knock";

/// Knows who knocks.
struct Porter;

impl Authenticator for Porter {
    fn method(&self) -> &str {
        METHOD
    }

    fn begin(&self, _: &str) -> Box<dyn Exchange> {
        Box::new(Knocking)
    }
}

struct Knocking;

impl Exchange for Knocking {
    fn step<'a>(&'a mut self, services: &'a Services, data: Option<&'a [u8]>) -> Stepping<'a> {
        let users = &services.credentials.authority.users;
        let named = data.and_then(|data| users.get(std::str::from_utf8(data).ok()?));
        Box::pin(std::future::ready(match (data, named) {
            (None | Some(b"knock"), _) => Step::Continue(Some("who is there?".into())),
            (_, Some(user)) => {
                let user = Identity::User(Rc::new(User::clone(&user)));
                Step::Accepted(user, Some("welcome".into()))
            }
            _ => Step::Refused(Reason::Banned),
        }))
    }
}

/// A worker that has nothing but what MQTT needs.
struct Alone {
    services: Rc<Services>,
    routes: Rc<OwnRoutes>,
}

impl Host for Alone {
    fn services(&self) -> Rc<Services> {
        Rc::clone(&self.services)
    }

    fn routes(&self) -> Rc<OwnRoutes> {
        Rc::clone(&self.routes)
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// A broker with the porter, and users `ann` and `bob`.
struct House {
    _root: tempfile::TempDir,
    host: Rc<Alone>,
    broker: Arc<Broker>,
}

impl House {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let options = harper_store::Options { free_bytes_min: 0, ..Default::default() };
        let path = root.path().join("database");
        let store = harper_store::Store::open(root.path(), &path, options).unwrap();
        let yaml = "mqtt: {timeout: 300, requireAuthentication: false}";
        let config = harper_config::from_text(yaml).0.unwrap();
        let system = store.database("system").unwrap();
        let keys = root.path().join("keys");
        let authority = Authority::open(&system, &keys, &config.authentication).unwrap();
        for name in ["ann", "bob"] {
            authority.users.ensure_super_user(name, "pw").unwrap();
        }
        let (hub, metrics) = (Arc::new(Hub::default()), Metrics::default());
        let broker = Broker::open(&store, Arc::clone(&hub), metrics.clone()).unwrap();
        let porter: Arc<dyn Authenticator> = Arc::new(Porter);
        broker.attach(&porter);
        let services = Services::alone(config, &Arc::new(authority), hub, metrics.worker());
        let routes = Rc::new(OwnRoutes(Arc::default()));
        Self { _root: root, host: Rc::new(Alone { services: Rc::new(services), routes }), broker }
    }

    fn guest(&self) -> Guest {
        let (io, server) = tokio::io::duplex(64 * 1024);
        let context = Context {
            host: Rc::<Alone>::clone(&self.host),
            broker: Arc::clone(&self.broker),
            address: [127, 0, 0, 1].into(),
            is_local: false,
            certificate: None,
            identity: None,
        };
        let served = spawn_local(serve(server, context, std::future::pending()));
        let decoder = Decoder::client(Version::V5, u32::MAX);
        Guest { io, decoder, buffer: BytesMut::new(), served }
    }
}

/// A client.
struct Guest {
    io: DuplexStream,
    decoder: Decoder,
    buffer: BytesMut,
    served: JoinHandle<Closed>,
}

impl Guest {
    async fn send(&mut self, packet: Packet) {
        let mut out = BytesMut::new();
        encode(&packet, Version::V5, u32::MAX, &mut out).unwrap();
        self.io.write_all(&out).await.unwrap();
    }

    async fn connect(&mut self, method: Option<&str>, data: Option<&str>) {
        self.send(Packet::Connect(Box::new(Connect {
            version: Version::V5,
            clean_start: true,
            keep_alive_s: 0,
            properties: properties(method, data),
            client_id: text("a"),
            will: None,
            user_name: None,
            password: None,
        })))
        .await;
    }

    async fn auth(&mut self, reason: Reason, method: &str, data: Option<&str>) {
        let properties = properties(Some(method), data);
        self.send(Packet::Auth(Auth { reason, properties })).await;
    }

    /// What comes next; none when the connection has ended.
    async fn next(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.buffer).unwrap() {
                return Some(packet);
            }
            if self.io.read_buf(&mut self.buffer).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn connack(&mut self) -> Connack {
        match self.next().await {
            Some(Packet::Connack(connack)) => connack,
            other => panic!("{other:?}"),
        }
    }

    async fn is_asked(&mut self) {
        let properties = properties(Some(METHOD), Some("who is there?"));
        let auth = Auth { reason: Reason::ContinueAuthentication, properties };
        assert_eq!(self.next().await, Some(Packet::Auth(auth)));
    }

    async fn is_let_in(&mut self) {
        self.connect(Some(METHOD), Some("knock")).await;
        self.is_asked().await;
        self.auth(Reason::ContinueAuthentication, METHOD, Some("ann")).await;
        let connack = self.connack().await;
        assert_eq!(connack.reason, Reason::Success);
        // MQTT-4.12.0-5
        assert_eq!(connack.properties.get(&AUTHENTICATION_METHOD), Some(&text(METHOD)));
        let data = connack.properties.get(&AUTHENTICATION_DATA).unwrap();
        assert_eq!(data.as_bytes(), &b"welcome"[..]);
    }

    async fn is_refused(&mut self, reason: Reason) {
        assert_eq!(self.connack().await.reason, reason);
        assert_eq!(self.next().await, None);
    }

    async fn is_shown_out(&mut self, reason: Reason) {
        match self.next().await {
            Some(Packet::Disconnect(disconnect)) => assert_eq!(disconnect.reason, reason),
            other => panic!("{other:?}"),
        }
        assert_eq!(self.next().await, None);
    }
}

fn text(value: &str) -> Text {
    Text::try_from(value).unwrap()
}

fn properties(method: Option<&str>, data: Option<&str>) -> Properties {
    let mut properties = Properties::default();
    if let Some(method) = method {
        properties.push(&AUTHENTICATION_METHOD, text(method));
    }
    if let Some(data) = data {
        let data = Binary::new(Bytes::copy_from_slice(data.as_bytes())).unwrap();
        properties.push(&AUTHENTICATION_DATA, data);
    }
    properties
}

fn run(work: impl AsyncFnOnce(House)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limited = async { timeout(Duration::from_secs(20), work(House::new())).await.unwrap() };
    LocalSet::new().block_on(&runtime, limited);
}

#[test]
fn a_client_proves_who_it_is_before_connack() {
    run(async |house| house.guest().is_let_in().await);
}

#[test]
fn mqtt_4_12_0_1_a_method_that_nobody_knows_is_refused() {
    run(async |house| {
        let mut guest = house.guest();
        guest.connect(Some("ring"), None).await;
        guest.is_refused(Reason::BadAuthenticationMethod).await;
        assert!(matches!(guest.served.await.unwrap(), Closed::Normal));
    });
}

#[test]
fn mqtt_4_12_0_4_a_client_is_refused_at_any_step() {
    run(async |house| {
        let mut guest = house.guest();
        guest.connect(Some(METHOD), None).await;
        guest.is_asked().await;
        guest.auth(Reason::ContinueAuthentication, METHOD, Some("a stranger")).await;
        guest.is_refused(Reason::Banned).await;
    });
}

#[test]
fn mqtt_3_1_2_30_nothing_but_auth_may_come_before_connack() {
    run(async |house| {
        let others = [
            Packet::Pingreq,
            Packet::Auth(Auth {
                reason: Reason::ContinueAuthentication,
                properties: properties(Some("ring"), None),
            }),
            Packet::Auth(Auth {
                reason: Reason::ReAuthenticate,
                properties: properties(Some(METHOD), None),
            }),
        ];
        for other in others {
            let mut guest = house.guest();
            guest.connect(Some(METHOD), None).await;
            guest.is_asked().await;
            guest.send(other).await;
            guest.is_refused(Reason::ProtocolError).await;
        }
    });
}

#[test]
fn rounds_and_time_are_bounded() {
    run(async |house| {
        let mut guest = house.guest();
        guest.connect(Some(METHOD), None).await;
        for _ in 0..ROUNDS_MAX - 1 {
            guest.is_asked().await;
            guest.auth(Reason::ContinueAuthentication, METHOD, Some("knock")).await;
        }
        guest.is_asked().await;
        guest.auth(Reason::ContinueAuthentication, METHOD, Some("knock")).await;
        guest.is_refused(Reason::NotAuthorized).await;
        let mut silent = house.guest();
        silent.connect(Some(METHOD), None).await;
        silent.is_asked().await;
        assert_eq!(silent.next().await, None);
        assert!(matches!(silent.served.await.unwrap(), Closed::Timeout));
    });
}

#[test]
fn mqtt_4_12_0_6_without_a_method_there_is_no_auth() {
    run(async |house| {
        let mut guest = house.guest();
        guest.connect(None, None).await;
        let connack = guest.connack().await;
        assert_eq!(connack.properties.get(&AUTHENTICATION_METHOD), None);
        // MQTT-4.12.0-7
        guest.auth(Reason::ReAuthenticate, METHOD, None).await;
        guest.is_shown_out(Reason::ProtocolError).await;
    });
}

#[test]
fn a_client_authenticates_anew_while_all_else_goes_on() {
    run(async |house| {
        let mut guest = house.guest();
        guest.is_let_in().await;
        for _ in 0..2 {
            guest.auth(Reason::ReAuthenticate, METHOD, Some("knock")).await;
            guest.is_asked().await;
            guest.send(Packet::Pingreq).await;
            assert_eq!(guest.next().await, Some(Packet::Pingresp));
            guest.auth(Reason::ContinueAuthentication, METHOD, Some("ann")).await;
            let properties = properties(Some(METHOD), Some("welcome"));
            let done = Packet::Auth(Auth { reason: Reason::Success, properties });
            assert_eq!(guest.next().await, Some(done));
        }
    });
}

#[test]
fn mqtt_4_12_1_2_who_cannot_authenticate_anew_is_disconnected() {
    run(async |house| {
        let cases = [
            (METHOD, "a stranger", Reason::NotAuthorized),
            // the session is another's
            (METHOD, "bob", Reason::NotAuthorized),
            // MQTT-4.12.1-1
            ("ring", "ann", Reason::ProtocolError),
        ];
        for (method, name, reason) in cases {
            let mut guest = house.guest();
            guest.is_let_in().await;
            guest.auth(Reason::ReAuthenticate, method, Some(name)).await;
            guest.is_shown_out(reason).await;
        }
        for reason in [Reason::ContinueAuthentication, Reason::Success] {
            let mut guest = house.guest();
            guest.is_let_in().await;
            guest.auth(reason, METHOD, Some("ann")).await;
            guest.is_shown_out(Reason::ProtocolError).await;
        }
        let mut silent = house.guest();
        silent.is_let_in().await;
        silent.auth(Reason::ReAuthenticate, METHOD, Some("knock")).await;
        silent.is_asked().await;
        silent.is_shown_out(Reason::NotAuthorized).await;
    });
}
