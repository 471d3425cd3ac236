//! A connection that may break at any time.

use bytes::BytesMut;
use harper_mqtt::packet::{Connack, Connect};
use harper_mqtt::property::SESSION_EXPIRY;
use harper_mqtt::{Decoder, Packet, Properties, Reason, Text, Version, encode};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const VERSION: Version = Version::V5;
const READ_BYTES: usize = 16 * 1024;
/// After which who reads looks at what else there is to do.
const READ_TIMEOUT: Duration = Duration::from_millis(250);
/// Before the next attempt to connect.
const PAUSE: Duration = Duration::from_millis(100);
const SESSION_EXPIRY_S: u32 = 3600;
const ANSWER_TIMEOUTS_MAX: usize = 80;

pub(super) struct Link {
    stream: TcpStream,
    decoder: Decoder,
    input: BytesMut,
    output: BytesMut,
}

impl Link {
    /// Goes on with the session of this name; whether there was one.
    pub(super) fn resume(broker: SocketAddr, client_id: &str) -> Result<(Self, Connack)> {
        let stream = TcpStream::connect(broker)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        let decoder = Decoder::client(VERSION, u32::MAX);
        let (input, output) = (BytesMut::new(), BytesMut::new());
        let mut link = Self { stream, decoder, input, output };
        let mut properties = Properties::default();
        properties.push(&SESSION_EXPIRY, SESSION_EXPIRY_S);
        link.put(&Packet::Connect(Box::new(Connect {
            version: VERSION,
            clean_start: false,
            keep_alive_s: 0,
            properties,
            client_id: Text::try_from(client_id).unwrap(),
            will: None,
            user_name: None,
            password: None,
        })));
        link.flush()?;
        match link.answer()? {
            Packet::Connack(connack) if connack.reason == Reason::Success => Ok((link, connack)),
            Packet::Connack(connack) => Err(Error::other(format!("{:?}", connack.reason))),
            other => panic!("CONNECT was answered with {other:?}"),
        }
    }

    /// Waits before another attempt.
    pub(super) fn pause() {
        std::thread::sleep(PAUSE);
    }

    /// Adds a packet to what leaves with the next flush.
    pub(super) fn put(&mut self, packet: &Packet) {
        encode(packet, VERSION, u32::MAX, &mut self.output).unwrap();
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// The next packet that has come.
    pub(super) fn take(&mut self) -> Result<Option<Packet>> {
        match self.decoder.decode(&mut self.input).unwrap() {
            Some(Packet::Disconnect(end)) => Err(Error::other(format!("{:?}", end.reason))),
            packet => Ok(packet),
        }
    }

    /// Waits for bytes, for a while.
    pub(super) fn fill(&mut self) -> Result<()> {
        let mut bytes = [0; READ_BYTES];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.input.extend_from_slice(&bytes[..count]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits for an answer, not for ever.
    pub(super) fn answer(&mut self) -> Result<Packet> {
        for _ in 0..ANSWER_TIMEOUTS_MAX {
            if let Some(packet) = self.take()? {
                return Ok(packet);
            }
            self.fill()?;
        }
        Err(ErrorKind::TimedOut.into())
    }
}
