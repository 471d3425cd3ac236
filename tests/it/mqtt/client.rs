//! A client that does what it is told, packet by packet.

use crate::harness::{PATIENCE, Server};
use bytes::{Bytes, BytesMut};
use harper_mqtt::packet::{
    Ack, Connack, Connect, Delivery, Disconnect, Publish, RetainHandling, Suback, Subscribe,
    Subscription, Unsubscribe,
};
use harper_mqtt::property::{SESSION_EXPIRY, SUBSCRIPTION_ID, Varint};
use harper_mqtt::topic::Filter;
use harper_mqtt::{
    Binary, Decoder, Packet, PacketId, Properties, Qos, Reason, Text, Version, encode,
};
use rustls::StreamOwned;
use rustls::client::ClientConnection;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// For how long nothing must come where nothing is to come.
const SILENCE: Duration = Duration::from_millis(300);

/// What packets go over.
pub(crate) trait Stream: Read + Write + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

pub(crate) struct Mqtt {
    pub(crate) version: Version,
    stream: Box<dyn Stream>,
    decoder: Decoder,
    buffer: BytesMut,
    /// What came while something else was waited for.
    early: VecDeque<Packet>,
}

pub(crate) fn text(value: &str) -> Text {
    Text::try_from(value).unwrap()
}

pub(crate) fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

/// A CONNECT with nothing special.
pub(crate) fn connect(version: Version, client_id: &str) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive_s: 60,
        properties: Properties::default(),
        client_id: text(client_id),
        will: None,
        user_name: None,
        password: None,
    }
}

/// The same for a session that lasts.
pub(crate) fn lasting(version: Version, client_id: &str) -> Connect {
    let mut connect = Connect { clean_start: false, ..connect(version, client_id) };
    if version.is_v5() {
        connect.properties.push(&SESSION_EXPIRY, 3600);
    }
    connect
}

pub(crate) fn with_login(connect: Connect, name: &str, password: &str) -> Connect {
    let password = Binary::new(Bytes::copy_from_slice(password.as_bytes())).unwrap();
    Connect { user_name: Some(text(name)), password: Some(password), ..connect }
}

/// A message without an identifier.
pub(crate) fn message(topic: &str, payload: &str) -> Publish {
    Publish {
        dup: false,
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: text(topic),
        properties: Properties::default(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

pub(crate) fn subscription(filter: &str, qos: Qos) -> Subscription {
    Subscription::new(Filter::new(text(filter)).unwrap(), qos)
}

impl Mqtt {
    pub(crate) fn version(server: &Server, version: Version) -> Self {
        let stream = TcpStream::connect(server.mqtt()).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream, version)
    }

    pub(crate) fn over(stream: impl Stream + 'static, version: Version) -> Self {
        let stream = Box::new(stream);
        let decoder = Decoder::client(version, u32::MAX);
        Self { version, stream, decoder, buffer: BytesMut::new(), early: VecDeque::new() }
    }

    /// Connects with a clean session.
    #[track_caller]
    pub(crate) fn clean(mut self, client_id: &str) -> Self {
        let connack = self.open(connect(self.version, client_id));
        assert_eq!(connack.reason, Reason::Success);
        self
    }

    /// Connects with a session that lasts; whether there was one.
    #[track_caller]
    pub(crate) fn lasting(mut self, client_id: &str) -> (Self, bool) {
        let connack = self.open(lasting(self.version, client_id));
        assert_eq!(connack.reason, Reason::Success);
        (self, connack.session_present)
    }

    #[track_caller]
    pub(crate) fn open(&mut self, connect: Connect) -> Connack {
        self.send(&Packet::Connect(Box::new(connect)));
        match self.next() {
            Packet::Connack(connack) => connack,
            other => panic!("{other:?}"),
        }
    }

    /// The same where there may be no connection.
    pub(crate) fn try_open(&mut self, connect: Connect) -> Option<Connack> {
        self.send(&Packet::Connect(Box::new(connect)));
        match self.within(PATIENCE).ok()?? {
            Packet::Connack(connack) => Some(connack),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        // the server may have closed already
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn send(&mut self, packet: &Packet) {
        let mut out = BytesMut::new();
        encode(packet, self.version, u32::MAX, &mut out).unwrap();
        self.bytes(&out);
    }

    /// What comes within a time; none when nothing does, or the connection ends.
    fn within(&mut self, time: Duration) -> Result<Option<Packet>, ()> {
        match self.early.pop_front() {
            Some(packet) => Ok(Some(packet)),
            None => self.fresh(time),
        }
    }

    fn fresh(&mut self, time: Duration) -> Result<Option<Packet>, ()> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.buffer).unwrap() {
                return Ok(Some(packet));
            }
            if !self.read(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Whether something came until then.
    fn read(&mut self, deadline: Instant) -> Result<bool, ()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        self.stream.tcp().set_read_timeout(Some(left)).unwrap();
        let mut bytes = [0; 65536];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(()),
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(_) => Err(()),
        }
    }

    /// The next packet as it came, if it is a small one: its first byte, and what follows its length.
    #[track_caller]
    pub(crate) fn next_bytes(&mut self) -> (u8, Vec<u8>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let [first, len, rest @ ..] = &self.buffer[..]
                && rest.len() >= usize::from(*len)
            {
                assert!(*len < 128, "a packet is not small");
                let (first, len) = (*first, usize::from(*len));
                let packet = self.buffer.split_to(2 + len);
                return (first, packet[2..].to_vec());
            }
            assert!(self.read(deadline).expect("the connection ended"), "nothing came");
        }
    }

    #[track_caller]
    pub(crate) fn next(&mut self) -> Packet {
        self.within(PATIENCE).expect("the connection ended").expect("nothing came")
    }

    #[track_caller]
    pub(crate) fn publication(&mut self) -> Publish {
        match self.next() {
            Packet::Publish(publish) => publish,
            other => panic!("{other:?}"),
        }
    }

    /// A message, if one comes soon.
    #[track_caller]
    pub(crate) fn publication_soon(&mut self) -> Option<Publish> {
        match self.within(SILENCE) {
            Ok(None) => None,
            Ok(Some(Packet::Publish(publish))) => Some(publish),
            other => panic!("{other:?}"),
        }
    }

    /// Takes a message whose payload has this in it, and answers it.
    #[track_caller]
    pub(crate) fn answer_next(&mut self, payload: &str) {
        let publish = self.publication();
        assert!(String::from_utf8_lossy(&publish.payload).contains(payload), "{publish:?}");
        self.answer(&publish);
    }

    /// Topic and payload of the next message.
    #[track_caller]
    pub(crate) fn told(&mut self) -> (String, String) {
        let publish = self.publication();
        let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
        (publish.topic.to_string(), payload)
    }

    #[track_caller]
    pub(crate) fn silent(&mut self) {
        self.silent_for(SILENCE);
    }

    #[track_caller]
    pub(crate) fn silent_for(&mut self, time: Duration) {
        match self.within(time) {
            Ok(None) => {}
            other => panic!("{other:?}"),
        }
    }

    /// That the server ends the connection, with what it says last.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Option<Disconnect> {
        let mut last = None;
        loop {
            match self.within(PATIENCE) {
                Ok(Some(Packet::Disconnect(disconnect))) => last = Some(disconnect),
                Ok(Some(_)) => {}
                Ok(None) => panic!("the connection is still open"),
                Err(()) => return last,
            }
        }
    }

    /// That the server ends the connection, and says nothing before.
    #[track_caller]
    pub(crate) fn ends_unanswered(&mut self) {
        let said = self.within(PATIENCE);
        assert!(said.is_err(), "{said:?}");
    }

    /// What the server has said last, if it has ended the connection.
    #[track_caller]
    pub(crate) fn last_word(&mut self) -> Option<Disconnect> {
        match self.within(SILENCE) {
            Ok(None) => None,
            Ok(Some(Packet::Disconnect(disconnect))) => Some(disconnect),
            other => panic!("{other:?}"),
        }
    }

    /// Whether the server ends the connection in this time.
    pub(crate) fn ends_within(&mut self, time: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < time {
            if self.within(SILENCE).is_err() {
                return true;
            }
        }
        false
    }

    /// How many packets come, one soon after the other.
    pub(crate) fn count_soon(&mut self) -> usize {
        std::iter::from_fn(|| self.within(SILENCE).ok().flatten()).count()
    }

    /// That the server ends the connection, with what it says last and no CONNACK before.
    #[track_caller]
    pub(crate) fn ended_without_connack(&mut self) -> Option<Disconnect> {
        let mut last = None;
        while let Ok(packet) = self.within(PATIENCE) {
            match packet.expect("the connection is still open") {
                Packet::Disconnect(disconnect) => last = Some(disconnect),
                Packet::Connack(connack) => panic!("{connack:?}"),
                _ => {}
            }
        }
        last
    }

    #[track_caller]
    pub(crate) fn subscribe(&mut self, subscriptions: Vec<Subscription>) -> Vec<Reason> {
        self.subscribe_as(subscriptions, None)
    }

    #[track_caller]
    pub(crate) fn subscribe_as(
        &mut self,
        subscriptions: Vec<Subscription>,
        number: Option<u32>,
    ) -> Vec<Reason> {
        let mut properties = Properties::default();
        if let Some(number) = number {
            properties.push(&SUBSCRIPTION_ID, Varint(number));
        }
        self.send(&Packet::Subscribe(Subscribe { id: id(9), properties, subscriptions }));
        match self.next() {
            Packet::Suback(Suback { reasons, .. }) => reasons,
            other => panic!("{other:?}"),
        }
    }

    /// Subscribes to what happens from now on.
    #[track_caller]
    pub(crate) fn listen(&mut self, filter: &str, qos: Qos) {
        let mut subscription = subscription(filter, qos);
        if self.version.is_v5() {
            subscription.retain_handling = RetainHandling::Never;
        }
        let reasons = self.subscribe(vec![subscription]);
        assert!(!reasons[0].is_error(), "{reasons:?}");
    }

    #[track_caller]
    pub(crate) fn unsubscribe(&mut self, filter: &str) -> Vec<Reason> {
        let filters = vec![Filter::new(text(filter)).unwrap()];
        let properties = Properties::default();
        self.send(&Packet::Unsubscribe(Unsubscribe { id: id(8), properties, filters }));
        match self.next() {
            Packet::Unsuback(Suback { reasons, .. }) => reasons,
            other => panic!("{other:?}"),
        }
    }

    /// Unsubscribes while messages may still come, which are let go.
    #[track_caller]
    pub(crate) fn unsubscribe_soon(&mut self, filter: &str) {
        let filters = vec![Filter::new(text(filter)).unwrap()];
        let properties = Properties::default();
        self.send(&Packet::Unsubscribe(Unsubscribe { id: id(8), properties, filters }));
        while !matches!(self.next(), Packet::Unsuback(_)) {}
    }

    pub(crate) fn publish(&mut self, publish: Publish) {
        self.send(&Packet::Publish(publish));
    }

    /// Publishes with QoS 1 and waits for the answer.
    #[track_caller]
    pub(crate) fn publish_1(&mut self, publish: Publish) -> Reason {
        self.puback(publish).reason
    }

    /// The same, with all that the answer says.
    #[track_caller]
    pub(crate) fn puback(&mut self, publish: Publish) -> Ack {
        self.publish(Publish { delivery: Delivery::AtLeastOnce(id(5)), ..publish });
        match self.next() {
            Packet::Puback(ack) => ack,
            other => panic!("{other:?}"),
        }
    }

    /// Publishes with QoS 2 to the end.
    #[track_caller]
    pub(crate) fn publish_2(&mut self, publish: Publish) -> Reason {
        self.publish(Publish { delivery: Delivery::ExactlyOnce(id(6)), ..publish });
        let Packet::Pubrec(ack) = self.next() else { panic!() };
        if !ack.reason.is_error() {
            self.send(&Packet::Pubrel(Ack::success(id(6))));
            assert_eq!(self.next(), Packet::Pubcomp(Ack::success(id(6))));
        }
        ack.reason
    }

    /// Answers a message as its quality of service asks for, to the end.
    #[track_caller]
    pub(crate) fn answer(&mut self, publish: &Publish) {
        match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce(id) => self.send(&Packet::Puback(Ack::success(id))),
            Delivery::ExactlyOnce(id) => {
                self.send(&Packet::Pubrec(Ack::success(id)));
                loop {
                    match self.fresh(PATIENCE).expect("the connection ended").expect("nothing came")
                    {
                        Packet::Pubrel(ack) if ack.id == id => break,
                        other => self.early.push_back(other),
                    }
                }
                self.send(&Packet::Pubcomp(Ack::success(id)));
            }
        }
    }

    pub(crate) fn disconnect(mut self) {
        self.send(&Packet::Disconnect(Disconnect::new(Reason::Success)));
        assert_eq!(self.ended(), None);
    }
}
