//! A connected client: its session as far as this connection knows it.

use super::answer::Waiting;
use super::authenticate::Dialogue;
use super::broker::Claim;
use super::drive::Context;
use super::message::{Place, Staged, Unanswered};
use super::stored::{self, Outcome, Shelf, StoredWill};
use super::subscribe::Feed;
use super::sys::Sys;
use crate::auth::Identity;
use crate::hub::{End, Outbox};
use crate::metrics::{Closed, WorkerMetrics};
use bytes::BytesMut;
use harper_mqtt::packet::{Disconnect, Packet};
use harper_mqtt::property::REASON_STRING;
use harper_mqtt::session::{
    InAliases, Inbound, Lifetime, OutAliases, Outbound, Phase, Row, Subscriptions, silence_max,
};
use harper_mqtt::{Error, PacketId, Properties, Qos, Reason, Text, Version, encode};
use harper_store::{Database, SideOp};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

/// Bytes that wait to be taken, beyond which they are written before more is said.
const OUTPUT_BYTES_COLLECTED: usize = 16 * 1024;
/// Bytes that wait to be taken, beyond which no further message is written.
const OUTPUT_BYTES_FULL: usize = 64 * 1024;
/// Bytes that wait to be taken, beyond which nothing more is read.
const OUTPUT_BYTES_MAX: usize = 4 * OUTPUT_BYTES_FULL;
/// Answers that wait, beyond which nothing more is read.
const ANSWERS_MAX: usize = 1024;
/// Rows of messages, beyond which no further message is begun: those that are done wait for the first that is not.
const ROWS_MAX: usize = 4096;
/// How often a session that has come further is stored.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// A client that has been let in.
pub(super) struct Client {
    pub(super) context: Context,
    pub(super) version: Version,
    pub(super) client_id: Text,
    pub(super) claim: Claim,
    pub(super) shelf: Shelf,
    /// A number for the client, the same in every process.
    pub(super) number: u64,
    pub(super) identity: Identity,
    pub(super) lifetime: Lifetime,
    pub(super) will: Option<StoredWill>,
    /// Seconds within which the client sends a whole packet; 0 for any time.
    pub(super) keep_alive_s: u16,
    /// The greatest packet that the client takes.
    pub(super) bytes_max: u32,
    /// Whether the client wants to know what went wrong (MQTT-3.1.2-29).
    pub(super) wants_problems: bool,
    pub(super) in_aliases: InAliases,
    pub(super) out_aliases: OutAliases,
    pub(super) inbound: Inbound,
    /// In which database the identifier of a message of QoS 2 is held.
    pub(super) held: HashMap<PacketId, Arc<Database>>,
    pub(super) outbound: Outbound<Unanswered>,
    pub(super) subscriptions: Subscriptions,
    pub(super) feeds: HashMap<u64, Feed>,
    pub(super) last_feed: u64,
    /// The authentication method of its CONNECT.
    pub(super) method: Option<Text>,
    /// An authentication that is going on.
    pub(super) dialogue: Option<Box<Dialogue>>,
    /// What it is told of the broker itself.
    pub(super) sys: Option<Box<Sys>>,
    pub(super) metrics: Arc<WorkerMetrics>,
    /// Of users, when it was last looked at who the client is.
    pub(super) generation: u64,
    pub(super) outbox: Rc<Outbox>,
    pub(super) answers: VecDeque<Waiting>,
    /// Rows of messages that go as they are stored, and whether they are done.
    pub(super) rows: BTreeMap<Place, (Row<Place>, bool)>,
    /// Rows that hold their message, and how far they were when it was stored.
    pub(super) kept: HashMap<Place, Phase>,
    pub(super) staging: Staging,
    /// What waits to be taken.
    pub(super) output: BytesMut,
    /// Whether what was handed over may still be on its way through TLS.
    pub(super) is_kept_back: bool,
    /// Since when the client is silent.
    pub(super) heard: Instant,
    /// When something was last taken, or began to wait.
    pub(super) taken: Instant,
    pub(super) stored: Instant,
    /// Whether the session is stored, for itself or for its will.
    pub(super) is_stored: bool,
    /// Whether logs are kept for its subscriptions.
    pub(super) keeps: bool,
    /// Tells this client's messages of one millisecond apart.
    pub(super) salt: Cell<u16>,
    /// Whether a cursor has moved since the session was stored.
    pub(super) is_dirty: bool,
}

/// What is to be sent once it is durable that it is: one commit at a time, so that they gather.
#[derive(Default)]
pub(super) struct Staging {
    ops: Vec<SideOp>,
    next: Vec<Staged>,
    running: Option<(Outcome, Vec<Staged>)>,
}

impl Staging {
    /// Whether nothing is to be stored, nor being stored.
    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.running.is_none()
    }
}

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum Stop {
    /// The client is gone, or the network is.
    Gone,
    /// DISCONNECT; whether the will is to be published all the same.
    Done { with_will: bool },
    /// The client has done what it may not, or is too slow.
    Refused { reason: Reason, sentence: String },
    /// Another connection goes on with the session.
    Taken,
    /// The process stops, or the worker does.
    Ending,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::refuse(error.reason, error.what)
    }
}

impl Stop {
    /// With a reason and a sentence.
    pub(super) fn refuse(reason: Reason, sentence: impl Into<String>) -> Self {
        Self::Refused { reason, sentence: sentence.into() }
    }

    /// How the connection is counted.
    pub(super) fn closed(&self) -> Closed {
        match self {
            Self::Done { .. } | Self::Taken => Closed::Normal,
            Self::Gone => Closed::Error,
            Self::Refused { reason: Reason::KeepAliveTimeout, .. } => Closed::Timeout,
            Self::Refused { .. } => Closed::Error,
            Self::Ending => Closed::Drain,
        }
    }

    /// What the client is told, and its word for people.
    fn reason(&self) -> Option<(Reason, &str)> {
        match self {
            Self::Gone | Self::Done { .. } => None,
            Self::Refused { reason, sentence } => Some((*reason, sentence)),
            Self::Taken => Some((Reason::SessionTakenOver, "another connection has the session")),
            Self::Ending => Some((Reason::ServerShuttingDown, "the server is stopping")),
        }
    }
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        match end {
            End::Rights => Self::refuse(Reason::NotAuthorized, "a right to read was taken away"),
            End::Stopping => Self::Ending,
            End::Failed => Self::refuse(Reason::UnspecifiedError, "a table cannot be read"),
            End::TooSlow => Self::refuse(Reason::QuotaExceeded, "messages came faster than taken"),
        }
    }
}

impl Client {
    /// Handles one packet.
    pub(super) async fn handle(&mut self, packet: Packet) -> Result<(), Stop> {
        self.metrics.mqtt.received.packets.add(1);
        self.look_at_user()?;
        match packet {
            Packet::Publish(publish) => self.publish(publish).await,
            Packet::Puback(ack) => self.puback(&ack),
            Packet::Pubrec(ack) => self.pubrec(&ack),
            Packet::Pubrel(ack) => self.pubrel(&ack),
            Packet::Pubcomp(ack) => self.pubcomp(&ack),
            Packet::Subscribe(subscribe) => self.subscribe(subscribe).await,
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe).await,
            Packet::Pingreq => {
                self.send(&Packet::Pingresp);
                Ok(())
            }
            Packet::Disconnect(disconnect) => Err(self.disconnect(&disconnect)),
            Packet::Auth(auth) => self.auth(&auth).await,
            Packet::Connect(_)
            | Packet::Connack(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::Pingresp => {
                Err(Stop::refuse(Reason::ProtocolError, "a packet that does not belong here"))
            }
        }
    }

    /// Has the client go on with the rights that its user has now; one whose user is gone, or has another password, goes
    /// too.
    fn look_at_user(&mut self) -> Result<(), Stop> {
        let services = self.context.host.services();
        let users = &services.credentials.authority.users;
        let generation = users.generation();
        if std::mem::replace(&mut self.generation, generation) == generation {
            return Ok(());
        }
        let now = self.identity_now();
        self.identity =
            now.ok_or_else(|| Stop::refuse(Reason::NotAuthorized, "the login has ended"))?;
        Ok(())
    }

    /// Who the client is with the rights of now; none once its login has ended.
    pub(super) fn identity_now(&self) -> Option<Identity> {
        let Identity::User(then) = &self.identity else { return Some(Identity::Anonymous) };
        let services = self.context.host.services();
        let now = services.credentials.authority.users.now(then)?;
        Some(Identity::User(Rc::new(now)))
    }

    fn disconnect(&mut self, disconnect: &Disconnect) -> Stop {
        let max = self.context.host.services().config.mqtt.session_expiry_max_s;
        match self.lifetime.amended(disconnect, max) {
            Ok(lifetime) => self.lifetime = lifetime,
            Err(error) => return error.into(),
        }
        Stop::Done { with_will: disconnect.reason != Reason::Success }
    }

    /// Writes a packet; one that the client does not take is left out.
    pub(super) fn send(&mut self, packet: &Packet) {
        self.begin_output();
        match encode(packet, self.version, self.bytes_max, &mut self.output) {
            Ok(()) => self.metrics.mqtt.sent.packets.add(1),
            Err(_) => {
                tracing::debug!(client = ?self.client_id, "a packet is larger than the client takes");
            }
        }
    }

    /// Notes that something waits to be taken from now on.
    pub(super) fn begin_output(&mut self) {
        if self.output.is_empty() {
            self.taken = self.context.host.now();
        }
    }

    /// From now on it is the client that is silent: a packet is handled, or there is room for one.
    pub(super) fn heard(&mut self) {
        self.heard = self.context.host.now();
    }

    /// Something came.
    pub(super) fn read(&mut self, count: usize) -> Result<(), Stop> {
        self.metrics.mqtt.received.bytes.add(count as u64);
        Ok(())
    }

    /// Something was taken.
    pub(super) fn written(&mut self, count: usize) -> Result<(), Stop> {
        self.taken = self.context.host.now();
        self.metrics.mqtt.sent.bytes.add(count as u64);
        Ok(())
    }

    /// Whether there is room for what a client may send.
    pub(super) fn takes_input(&self) -> bool {
        self.output.len() < OUTPUT_BYTES_MAX && self.answers.len() < ANSWERS_MAX
    }

    /// Whether what is said is still collected, to go out with one write.
    pub(super) fn collects(&self) -> bool {
        self.output.len() < OUTPUT_BYTES_COLLECTED
    }

    /// Whether there is room for another message to the client.
    pub(super) fn takes_messages(&self) -> bool {
        self.output.len() < OUTPUT_BYTES_FULL
            && self.outbound.has_room()
            && self.rows.len() < ROWS_MAX
    }

    /// Whether something waits to be taken.
    fn is_waiting(&self) -> bool {
        self.is_kept_back || !self.output.is_empty()
    }

    /// When something is to be looked at that nothing else tells of.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let silence = silence_max(self.keep_alive_s).map(|max| self.heard + max);
        let limit = self.context.host.services().config.mqtt.timeout;
        let slow = self.is_waiting().then(|| self.taken + limit);
        let store = self.is_dirty.then(|| self.stored + STORE_EVERY);
        let sys = self.sys.as_ref().map(|sys| sys.next);
        [silence, slow, store, sys, self.dialogue_deadline()].into_iter().flatten().min()
    }

    /// Looks at the time.
    pub(super) fn timed(&mut self) -> Result<(), Stop> {
        let now = Instant::now();
        if silence_max(self.keep_alive_s).is_some_and(|max| now >= self.heard + max) {
            let sentence = "no packet came for one and a half times Keep Alive";
            return Err(Stop::refuse(Reason::KeepAliveTimeout, sentence));
        }
        let limit = self.context.host.services().config.mqtt.timeout;
        if self.is_waiting() && now >= self.taken + limit {
            return Err(Stop::refuse(Reason::QuotaExceeded, "nothing was taken in time"));
        }
        if self.is_dirty && now >= self.stored + STORE_EVERY {
            self.stored = now;
            if self.lifetime.is_durable() {
                let ops = self.settled();
                self.stage(ops, None)?;
            } else {
                self.is_dirty = false;
                self.tell_shares();
            }
        }
        self.look_at_user()?;
        self.check_dialogue(now)?;
        self.tell_sys(now)
    }

    /// Has something stored, and a packet sent once it is.
    pub(super) fn stage(&mut self, ops: Vec<SideOp>, then: Option<Staged>) -> Result<(), Stop> {
        self.staging.ops.extend(ops);
        self.staging.next.extend(then);
        self.run_staging()
    }

    fn run_staging(&mut self) -> Result<(), Stop> {
        let Staging { ops, next, running } = &mut self.staging;
        if running.is_some() || ops.is_empty() {
            return Ok(());
        }
        let outcome = stored::submit(&self.context.broker.system, std::mem::take(ops));
        let outcome = outcome.map_err(|error| not_stored(&error))?;
        *running = Some((outcome, std::mem::take(next)));
        Ok(())
    }

    /// Waits for what is being stored.
    pub(super) fn poll_stored(
        &mut self,
        cx: &mut task::Context<'_>,
    ) -> Poll<Result<Vec<Staged>, Stop>> {
        let Some((outcome, _)) = &mut self.staging.running else { return Poll::Pending };
        let Poll::Ready(result) = Pin::new(outcome).poll(cx) else { return Poll::Pending };
        let staged = self.staging.running.take().map(|(_, staged)| staged).unwrap_or_default();
        let result = result.unwrap_or(Err(harper_store::Error::Stopped));
        Poll::Ready(result.map(|()| staged).map_err(|error| not_stored(&error)))
    }

    /// Sends what waited for being stored.
    pub(super) fn stored(&mut self, staged: Result<Vec<Staged>, Stop>) -> Result<(), Stop> {
        for staged in staged? {
            match staged {
                Staged::Publish(id) => self.send_unanswered(id, false),
                Staged::Release(id) => self.release(id),
            }
        }
        self.run_staging()
    }

    /// Waits until all that is to be stored is, and nothing that comes later can be overtaken by it.
    pub(super) async fn settle_staging(&mut self) {
        while self.staging.running.is_some() {
            let stored = poll_fn(|cx| self.poll_stored(cx)).await;
            if let Err(stop) = self.stored(stored) {
                tracing::debug!(client = ?self.client_id, ?stop, "something of a session is not stored");
                self.staging = Staging::default();
            }
        }
    }

    /// Writes the last packet that the client gets.
    pub(super) fn say_goodbye(&mut self, stop: &Stop) {
        let Some((reason, sentence)) = stop.reason() else { return };
        tracing::debug!(client = ?self.client_id, %reason, "disconnected: {sentence}");
        self.metrics.mqtt.disconnected.add(1);
        if !self.version.is_v5() {
            return;
        }
        let mut properties = Properties::default();
        if let (true, Ok(text)) = (self.wants_problems, Text::try_from(sentence)) {
            properties.push(&REASON_STRING, text);
        }
        self.send(&Packet::Disconnect(Disconnect { reason, properties }));
    }

    /// The user's name; nobody's is empty.
    pub(super) fn user(&self) -> &str {
        match &self.identity {
            Identity::User(user) => &user.username,
            Identity::Anonymous => "",
        }
    }

    /// Whether a message of this quality of service outlives the process.
    pub(super) fn is_durable(&self, qos: Qos) -> bool {
        self.lifetime.is_durable() && qos == Qos::ExactlyOnce
    }
}

pub(super) fn not_stored(error: &dyn std::fmt::Display) -> Stop {
    tracing::error!(%error, "a session of MQTT cannot be stored");
    Stop::refuse(Reason::QuotaExceeded, "the session cannot be stored")
}
