//! Before a client is let in: its CONNECT, and what its authentication method asks for (§3.1, §4.12). Nothing is stored yet,
//! so that all of it can be given up at any time.

use super::authenticate::{Dialogue, Proof, Said};
use super::connect::{self, Admitted};
use super::drive::{Context, last_word, poll_read};
use crate::exchange::Held;
use crate::metrics::Closed;
use bytes::BytesMut;
use harper_mqtt::packet::{Auth, Connack, Connect};
use harper_mqtt::property::{AUTHENTICATION_DATA, AUTHENTICATION_METHOD};
use harper_mqtt::{Binary, Decoder, Error, Packet, Reason, Version, encode};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// Bytes of a packet that are not counted: the number of connections bounds them.
const UNCOUNTED_BYTES: usize = 16 * 1024;
/// Bytes that clients may send, all together, before they are let in.
const ENTERING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A connection whose client is not known yet.
pub(super) struct Entrance<'a, S> {
    pub(super) io: &'a mut S,
    pub(super) decoder: &'a mut Decoder,
    pub(super) input: &'a mut BytesMut,
    /// The share of `total` that has come of a packet.
    pub(super) held: Held,
    /// Bytes of all that are not let in yet.
    pub(super) total: Arc<AtomicUsize>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Entrance<'_, S> {
    /// Reads CONNECT, and finds out who it is.
    ///
    /// # Errors
    /// How the connection has ended; the client has been told.
    pub(super) async fn enter(
        mut self,
        context: &Context,
    ) -> Result<(Box<Connect>, Admitted), Closed> {
        let connect = match self.next().await {
            Ok(Some(Packet::Connect(connect))) => connect,
            // the decoder lets nothing else be first (MQTT-3.1.0-1)
            Ok(_) => return Err(Closed::Normal),
            Err(error) => {
                tracing::debug!(address = %context.address, %error, "no MQTT");
                self.answer_error(error).await;
                return Err(Closed::Error);
            }
        };
        let admitted = match self.prove(context, &connect).await {
            Ok(Proved::Gone) => return Err(Closed::Normal),
            Ok(Proved::NotNeeded) => connect::admit(context, &connect, None).await,
            Ok(Proved::By(proof)) => connect::admit(context, &connect, Some(proof)).await,
            Err(reason) => Err(reason),
        };
        match admitted {
            Ok(admitted) => Ok((connect, admitted)),
            Err(reason) => {
                refuse(self.io, context, connect.version, Connack::refuse(reason)).await;
                Err(Closed::Normal)
            }
        }
    }

    /// Answers a CONNECT that is wrong: before MQTT 5 only an unknown version is answered (3.1.1: MQTT-3.1.4-1).
    async fn answer_error(&mut self, error: Error) {
        let is_answered = |version: &Version| {
            version.is_v5() || error.reason == Reason::UnsupportedProtocolVersion
        };
        if let Some(version) = self.decoder.version().filter(is_answered) {
            say_last(self.io, version, Connack::refuse(error.reason)).await;
        }
    }

    /// Has the client prove who it is by the method that it names, if it names one.
    async fn prove(&mut self, context: &Context, connect: &Connect) -> Result<Proved, Reason> {
        let properties = &connect.properties;
        let Some(method) = properties.get(&AUTHENTICATION_METHOD) else {
            return Ok(Proved::NotNeeded);
        };
        let mut dialogue = Dialogue::begin(&context.broker, method, &connect.client_id)?;
        let services = context.host.services();
        let mut data = properties.get(&AUTHENTICATION_DATA).cloned();
        loop {
            let auth = match dialogue.step(&services, data.as_ref()).await? {
                Said::Proved(proof) => return Ok(Proved::By(proof)),
                Said::Continue(auth) => auth,
            };
            match self.ask(auth).await? {
                Heard::Gone => return Ok(Proved::Gone),
                Heard::Says(said) => data = said,
            }
        }
    }

    /// Asks the client for more; until CONNACK it may say nothing but AUTH and DISCONNECT (MQTT-3.1.2-30).
    async fn ask(&mut self, auth: Auth) -> Result<Heard, Reason> {
        let method = auth.properties.get(&AUTHENTICATION_METHOD).cloned();
        let mut output = BytesMut::new();
        let written = encode(&Packet::Auth(auth), Version::V5, u32::MAX, &mut output);
        written.map_err(|_| Reason::UnspecifiedError)?;
        if self.io.write_all(&output).await.is_err() || self.io.flush().await.is_err() {
            return Ok(Heard::Gone);
        }
        match self.next().await.map_err(|error| error.reason)? {
            None | Some(Packet::Disconnect(_)) => Ok(Heard::Gone),
            Some(Packet::Auth(said))
                if said.reason == Reason::ContinueAuthentication
                    && said.properties.get(&AUTHENTICATION_METHOD) == method.as_ref() =>
            {
                Ok(Heard::Says(said.properties.get(&AUTHENTICATION_DATA).cloned()))
            }
            Some(_) => Err(Reason::ProtocolError),
        }
    }

    /// The next packet; none when the connection ends before.
    async fn next(&mut self) -> Result<Option<Packet>, Error> {
        loop {
            if let Some(packet) = self.decoder.decode(self.input)? {
                return Ok(Some(packet));
            }
            let read = poll_fn(|cx| poll_read(self.io, self.input, cx)).await;
            if !read.is_ok_and(|count| count > 0) {
                return Ok(None);
            }
            let bytes = self.input.len();
            let is_small = bytes <= UNCOUNTED_BYTES;
            if !is_small && !self.held.raise_to(bytes, &self.total, ENTERING_BYTES_MAX) {
                let what = "clients that are not known yet send more than the server holds";
                return Err(Error { reason: Reason::ServerBusy, what });
            }
        }
    }
}

/// What has come of an authentication method.
enum Proved {
    /// None was named.
    NotNeeded,
    /// The client is who it says.
    By(Proof),
    /// The client is gone.
    Gone,
}

/// What a client says that is asked for more.
enum Heard {
    /// Its authentication data.
    Says(Option<Binary>),
    /// It is gone.
    Gone,
}

/// Refuses a client.
pub(super) async fn refuse<S: AsyncWrite + Unpin>(
    io: &mut S,
    context: &Context,
    version: Version,
    connack: Connack,
) {
    tracing::debug!(address = %context.address, reason = %connack.reason, "refused");
    context.host.services().metrics.mqtt.refused.add(1);
    say_last(io, version, connack).await;
}

async fn say_last<S: AsyncWrite + Unpin>(io: &mut S, version: Version, connack: Connack) {
    let mut output = BytesMut::new();
    if encode(&Packet::Connack(connack), version, u32::MAX, &mut output).is_ok() {
        last_word(io, &output).await;
    }
}
