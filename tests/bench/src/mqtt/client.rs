//! A client of MQTT 3.1.1, the same for every broker: subscribers that count and answer, publishers that stamp.

use std::{net::SocketAddr, rc::Rc};

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use harper_mqtt::{
    Binary, Decoder, Packet, PacketId, Properties, Qos, Reason, Text, Version, encode,
    packet::{Ack, Connect, Delivery, Publish, Subscribe, Subscription},
    topic::Filter,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::flow::Flow;

const VERSION: Version = Version::V311;
const PACKET_BYTES_MAX: u32 = 1 << 20;
const READ_BYTES: usize = 16 * 1024;
/// What a publisher leaves unanswered above QoS 0.
const UNANSWERED_MAX: usize = 100;
/// What a payload begins with; the stamp follows, in sixteen hexadecimal digits.
const STAMP_BEGINS: &[u8] = br#"{"at":""#;
const STAMP_DIGITS: usize = 16;
const PAYLOAD_BYTES: usize = 100;

/// Where a broker is, and how to log in, where it asks for that.
#[derive(Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) addr: SocketAddr,
    pub(crate) login: Option<(&'static str, &'static str)>,
}

/// A connection.
pub(crate) struct Link {
    stream: TcpStream,
    decoder: Decoder,
    input: BytesMut,
    output: BytesMut,
}

impl Link {
    /// Connects with a session that ends with the connection.
    pub(crate) async fn open(endpoint: &Endpoint, client_id: &str) -> Result<Self> {
        let stream = TcpStream::connect(endpoint.addr).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let decoder = Decoder::client(VERSION, PACKET_BYTES_MAX);
        let (input, output) = (BytesMut::new(), BytesMut::new());
        let mut link = Self { stream, decoder, input, output };
        link.put(&Packet::Connect(Box::new(login(endpoint, client_id)?)))?;
        link.flush().await?;
        match link.next().await? {
            Packet::Connack(connack) if connack.reason == Reason::Success => Ok(link),
            other => bail!("CONNECT was answered with {other:?}"),
        }
    }

    /// Subscribes, and waits until the broker has agreed.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: Qos) -> Result<()> {
        let subscription = Subscription::new(Filter::new(Text::try_from(filter)?)?, qos);
        self.put(&Packet::Subscribe(Subscribe {
            id: PacketId::MIN,
            properties: Properties::default(),
            subscriptions: vec![subscription],
        }))?;
        self.flush().await?;
        match self.next().await? {
            Packet::Suback(suback) if suback.reasons.iter().all(|reason| !reason.is_error()) => {
                Ok(())
            }
            other => bail!("SUBSCRIBE was answered with {other:?}"),
        }
    }

    /// Asks for a sign of life, and waits for it.
    pub(crate) async fn ping(&mut self) -> Result<()> {
        self.put(&Packet::Pingreq)?;
        self.flush().await?;
        match self.next().await? {
            Packet::Pingresp => Ok(()),
            other => bail!("PINGREQ was answered with {other:?}"),
        }
    }

    /// The socket alone, for a connection that has nothing more to do.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn put(&mut self, packet: &Packet) -> Result<()> {
        encode(packet, VERSION, PACKET_BYTES_MAX, &mut self.output).context("a packet is too large")
    }

    async fn flush(&mut self) -> Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.output.clear();
        }
        Ok(())
    }

    /// Waits for bytes. May be dropped at any time.
    async fn fill(&mut self) -> Result<()> {
        self.input.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.input).await? {
            0 => bail!("the broker closed a connection in use"),
            _ => Ok(()),
        }
    }

    fn take(&mut self) -> Result<Option<Packet>> {
        Ok(self.decoder.decode(&mut self.input)?)
    }

    async fn next(&mut self) -> Result<Packet> {
        loop {
            if let Some(packet) = self.take()? {
                return Ok(packet);
            }
            self.fill().await?;
        }
    }
}

fn login(endpoint: &Endpoint, client_id: &str) -> Result<Connect> {
    let user_name = endpoint.login.map(|(name, _)| Text::try_from(name)).transpose()?;
    let password = endpoint.login.map(|(_, password)| Bytes::from_static(password.as_bytes()));
    Ok(Connect {
        version: VERSION,
        clean_start: true,
        keep_alive_s: 0,
        properties: Properties::default(),
        client_id: Text::try_from(client_id)?,
        will: None,
        user_name,
        password: password.map(Binary::new).transpose()?,
    })
}

/// Takes what a subscription brings, and answers it, until it is dropped.
pub(crate) async fn receive(mut link: Link, flow: Rc<Flow>) -> Result<()> {
    loop {
        link.fill().await?;
        while let Some(packet) = link.take()? {
            let Packet::Publish(publish) = packet else { bail!("a subscriber got {packet:?}") };
            flow.arrived(stamp_of(&publish.payload)?);
            if let Delivery::AtLeastOnce(id) = publish.delivery {
                link.put(&Packet::Puback(Ack::success(id)))?;
            }
        }
        link.flush().await?;
    }
}

/// What a publisher does.
#[derive(Clone)]
pub(crate) struct Publishing {
    /// Each message goes to the next.
    pub(crate) topics: Rc<[Text]>,
    pub(crate) qos: Qos,
    /// The most messages that leave with one write.
    pub(crate) batch: usize,
}

/// Publishes when the flow lets it, until it is dropped.
pub(crate) async fn publish(mut link: Link, publishing: Publishing, flow: Rc<Flow>) -> Result<()> {
    let (mut unanswered, mut count) = (0, 0);
    loop {
        let room = UNANSWERED_MAX - unanswered;
        tokio::select! {
            messages = flow.turn(publishing.batch.min(room)), if room > 0 => {
                for _ in 0..messages {
                    link.put(&Packet::Publish(publishing.message(count, flow.stamp())))?;
                    count += 1;
                }
                unanswered += if publishing.qos == Qos::AtMostOnce { 0 } else { messages };
                link.flush().await?;
            }
            filled = link.fill() => {
                filled?;
                while let Some(packet) = link.take()? {
                    match packet {
                        Packet::Puback(ack) if !ack.reason.is_error() => unanswered -= 1,
                        other => bail!("a publisher got {other:?}"),
                    }
                }
            }
        }
    }
}

impl Publishing {
    fn message(&self, count: usize, stamp: u64) -> Publish {
        // 1 to 65,535, and never one that is unanswered
        let id = PacketId::MIN.saturating_add((count % usize::from(u16::MAX)) as u16);
        Publish {
            dup: false,
            delivery: match self.qos {
                Qos::AtMostOnce => Delivery::AtMostOnce,
                Qos::AtLeastOnce => Delivery::AtLeastOnce(id),
                Qos::ExactlyOnce => Delivery::ExactlyOnce(id),
            },
            retain: false,
            topic: self.topics[count % self.topics.len()].clone(),
            properties: Properties::default(),
            payload: payload(stamp),
        }
    }
}

/// An object of JSON with a stamp at a known place.
fn payload(stamp: u64) -> Bytes {
    let mut text = String::with_capacity(PAYLOAD_BYTES);
    text.push_str(&format!(r#"{{"at":"{stamp:016x}","text":""#));
    while text.len() < PAYLOAD_BYTES - 2 {
        text.push('x');
    }
    text.push_str(r#""}"#);
    Bytes::from(text)
}

fn stamp_of(payload: &[u8]) -> Result<u64> {
    let digits = payload.strip_prefix(STAMP_BEGINS).and_then(|rest| rest.get(..STAMP_DIGITS));
    let digits = std::str::from_utf8(digits.context("a message without a stamp came")?)?;
    Ok(u64::from_str_radix(digits, 16)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_its_payload() {
        for stamp in [0, 1, 0xfedc_ba98_7654_3210, u64::MAX] {
            let payload = payload(stamp);
            assert_eq!(payload.len(), PAYLOAD_BYTES);
            assert_eq!(stamp_of(&payload).unwrap(), stamp);
            assert!(serde_json::from_slice::<serde_json::Value>(&payload).is_ok());
        }
        assert!(stamp_of(b"{}").is_err());
    }

    #[test]
    fn packet_identifiers_are_never_zero() {
        let topics = Rc::from([Text::try_from("a").unwrap()]);
        let publishing = Publishing { topics, qos: Qos::AtLeastOnce, batch: 1 };
        let id = |count| publishing.message(count, 0).delivery.id().unwrap().get();
        assert_eq!([id(0), id(65_534), id(65_535)], [1, 65_535, 1]);
    }
}
