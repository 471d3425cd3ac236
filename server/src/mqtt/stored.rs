//! What is kept of sessions that outlive their connection, beside the tables: no subscriber hears of it.
//!
//! In the database `system`, under a hash of the client identifier: the session, and a row for each message that goes and is
//! not done (of QoS 2 before it is sent, of QoS 1 when the connection ends). In the database of the table that a message of
//! QoS 2 went to: its packet identifier, until it is released.

use super::message::{Outgoing, Place};
use bytes::{Bytes, BytesMut};
use harper_mqtt::packet::{RetainHandling, Subscription};
use harper_mqtt::session::{Lifetime, Phase, Row};
use harper_mqtt::topic::Filter;
use harper_mqtt::{PacketId, Qos, Text};
use harper_store::{Database, SideOp, SideTree, Store, Transaction};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// The database of what is the server's own.
pub(super) const SYSTEM: &str = "system";
/// Sessions.
const SESSIONS: SideTree = SideTree("mqtt-sessions");
/// Messages that go and are not done.
const GOING: SideTree = SideTree("mqtt-going");
/// Packet identifiers of messages of QoS 2 that came and are not released.
const HELD: SideTree = SideTree("mqtt-held");
/// Sessions that are closed in one commit.
const CLOSED_AT_ONCE: usize = 256;
/// Bytes of the hash of a client identifier.
const HASH_BYTES: usize = 16;

/// What a session is stored under.
pub(super) type Hash = [u8; HASH_BYTES];

/// Why what is stored cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoredError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] harper_store::Error),
    /// A session is not as it was written.
    #[error("a stored session of MQTT is damaged: {0}")]
    Damaged(String),
}

/// A session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Session {
    /// The client identifier.
    pub client: String,
    /// Whose it is; nobody's is empty.
    pub user: String,
    /// For how many seconds it outlives its connection.
    pub expiry_s: u32,
    /// When its connection ended, milliseconds since 1970; none while it is connected.
    pub closed_ms: Option<u64>,
    /// What it subscribes to.
    pub subscriptions: Vec<StoredSubscription>,
    /// What is to be published unless the client comes back.
    pub will: Option<StoredWill>,
}

/// A subscription.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredSubscription {
    /// Its number in the session.
    pub feed: u64,
    /// The filter, with a share if it has one.
    pub filter: String,
    /// Quality of service.
    pub qos: u8,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Its identifier.
    pub id: Option<u32>,
    /// The table's database.
    pub database: String,
    /// The table.
    pub table: String,
    /// Life of the database in which the cursor means something.
    pub epoch: u64,
    /// Sequence number up to which all is delivered.
    pub cursor: u64,
}

/// A will.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredWill {
    /// Where to.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// Quality of service.
    pub qos: u8,
    /// Whether it is retained.
    pub retain: bool,
    /// Its properties, without a length.
    pub properties: Vec<u8>,
    /// For how many seconds it is worth delivering, once it is published.
    pub expiry_s: Option<u32>,
    /// For how many seconds it waits.
    pub delay_s: u32,
}

impl Session {
    /// When it ends that has no connection; none for never. A process that ended without a word has ended the connection
    /// now.
    pub(super) fn ends_ms(&self, now_ms: u64) -> Option<u64> {
        Lifetime::from_seconds(self.expiry_s).ends_ms(self.closed_ms.unwrap_or(now_ms))
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        self.ends_ms(now_ms).is_some_and(|end| end <= now_ms)
    }

    /// Whether its will is to be published.
    pub(super) fn is_will_due(&self, now_ms: u64) -> bool {
        self.will_due_ms(now_ms).is_some_and(|due| due <= now_ms)
    }

    /// When its will is to be published, not after its end (MQTT-3.1.3-9).
    pub(super) fn will_due_ms(&self, now_ms: u64) -> Option<u64> {
        let will = self.will.as_ref()?;
        let delay_s = will.delay_s.min(self.expiry_s);
        Some(self.closed_ms.unwrap_or(now_ms) + u64::from(delay_s) * 1000)
    }

    /// The client's number, with each of its subscriptions that are shared.
    pub(super) fn shares(&self) -> impl Iterator<Item = (u64, &StoredSubscription)> {
        let number = number(&hash(&self.client));
        self.subscriptions.iter().filter(|one| one.is_shared()).map(move |one| (number, one))
    }

    /// The tables that it subscribes to, with their databases, once for each subscription.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.subscriptions.iter().map(|one| (&one.database[..], &one.table[..]))
    }
}

impl StoredSubscription {
    /// Whether it is a share's.
    pub(super) fn is_shared(&self) -> bool {
        self.filter.starts_with("$share/")
    }

    /// As it was asked for; none for what cannot have been.
    pub(super) fn subscription(&self) -> Option<Subscription> {
        let filter = Filter::new(Text::try_from(&self.filter[..]).ok()?).ok()?;
        Some(Subscription {
            filter,
            qos: Qos::from_bits(self.qos)?,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            retain_handling: RetainHandling::Never,
        })
    }
}

/// The stored state of one client.
#[derive(Clone)]
pub(super) struct Shelf {
    system: Arc<Database>,
    hash: Hash,
}

/// A message that goes.
pub(super) struct Going {
    /// Its place, and how far it is.
    pub row: Row<Place>,
    /// Its quality of service.
    pub qos: Qos,
    /// The message, where the log will not tell it again.
    pub message: Option<Outgoing>,
}

impl Shelf {
    /// That of this client.
    pub(super) fn new(system: &Arc<Database>, client: &str) -> Self {
        Self::of(system, hash(client))
    }

    /// That of the client whose identifier has this hash.
    pub(super) fn of(system: &Arc<Database>, hash: Hash) -> Self {
        Self { system: Arc::clone(system), hash }
    }

    /// The hash of the client's identifier.
    pub(super) fn hash(&self) -> Hash {
        self.hash
    }

    /// A number for the client that is the same in every process.
    pub(super) fn number(&self) -> u64 {
        number(&self.hash)
    }

    /// The session, if there is one.
    ///
    /// # Errors
    /// The store's, or a session that is damaged.
    pub(super) fn session(&self) -> Result<Option<Session>, StoredError> {
        let txn = self.system.read()?;
        txn.side(SESSIONS, &self.hash)?.map(read_session).transpose()
    }

    /// The messages that go.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn going(&self) -> Result<Vec<Going>, StoredError> {
        let txn = self.system.read()?;
        let mut rows = Vec::new();
        for item in txn.side_range(GOING, &self.hash, None)? {
            let (key, value) = item?;
            rows.extend(read_row(&key[HASH_BYTES..], value));
        }
        Ok(rows)
    }

    /// The packet identifiers that are held, and where.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn held(
        &self,
        store: &Store,
    ) -> Result<HashMap<PacketId, Arc<Database>>, StoredError> {
        let mut held = HashMap::new();
        for database in store.databases() {
            let txn = database.read()?;
            for item in txn.side_range(HELD, &self.hash, None)? {
                let (key, _) = item?;
                let id = key.last_chunk().copied().map(u16::from_be_bytes);
                if let Some(id) = id.and_then(PacketId::new) {
                    held.insert(id, Arc::clone(&database));
                }
            }
        }
        Ok(held)
    }

    /// Stores the session.
    ///
    /// # Errors
    /// One that cannot be written as JSON.
    pub(super) fn put_session(&self, session: &Session) -> Result<SideOp, StoredError> {
        let value = serde_json::to_vec(session);
        let value = value.map_err(|error| StoredError::Damaged(error.to_string()))?;
        Ok(SideOp::Put { tree: SESSIONS, key: self.key(&[]), value: value.into() })
    }

    /// Removes the session.
    pub(super) fn delete_session(&self) -> SideOp {
        SideOp::Delete { tree: SESSIONS, key: self.key(&[]) }
    }

    /// Stores a message that goes.
    pub(super) fn put_going(
        &self,
        row: &Row<Place>,
        qos: Qos,
        message: Option<&Outgoing>,
    ) -> SideOp {
        let Row { place, id, turn, phase } = row;
        let mut value = BytesMut::with_capacity(12);
        value.extend_from_slice(&id.get().to_be_bytes());
        value.extend_from_slice(&turn.to_be_bytes());
        value.extend_from_slice(&[u8::from(*phase == Phase::Released), qos.bits()]);
        if let Some(message) = message {
            message.encode(&mut value);
        }
        SideOp::Put { tree: GOING, key: self.place(place), value: value.freeze() }
    }

    /// Removes a message that goes.
    pub(super) fn delete_going(&self, place: &Place) -> SideOp {
        SideOp::Delete { tree: GOING, key: self.place(place) }
    }

    /// Holds a packet identifier, unless it is held: that fails the whole commit.
    pub(super) fn hold(&self, id: PacketId) -> SideOp {
        SideOp::Insert { tree: HELD, key: self.key(&id.get().to_be_bytes()), value: Bytes::new() }
    }

    /// Holds it, whether it is held or not.
    pub(super) fn hold_again(&self, id: PacketId) -> SideOp {
        SideOp::Put { tree: HELD, key: self.key(&id.get().to_be_bytes()), value: Bytes::new() }
    }

    /// Holds it no more.
    pub(super) fn let_go(&self, id: PacketId) -> SideOp {
        SideOp::Delete { tree: HELD, key: self.key(&id.get().to_be_bytes()) }
    }

    /// Removes all that is stored of the client, and waits until it is gone. The session goes last: as long as it is there,
    /// whatever else is left is found again.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn clear(&self, store: &Store) -> Result<(), StoredError> {
        for (id, database) in self.held(store)? {
            commit(&database, vec![self.let_go(id)]).await?;
        }
        let mut ops: Vec<_> =
            self.going()?.iter().map(|going| self.delete_going(&going.row.place)).collect();
        ops.push(self.delete_session());
        commit(&self.system, ops).await
    }

    fn key(&self, rest: &[u8]) -> Bytes {
        Bytes::from([&self.hash[..], rest].concat())
    }

    fn place(&self, place: &Place) -> Bytes {
        let (feed, sequence) = (place.feed.to_be_bytes(), place.sequence.to_be_bytes());
        self.key(&[&feed[..], &sequence, &[u8::from(place.is_record)]].concat())
    }
}

/// What a client, or a share, is stored under.
pub(super) fn hash(name: &str) -> Hash {
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..HASH_BYTES]);
    hash
}

fn number(hash: &Hash) -> u64 {
    hash.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// Every session.
///
/// # Errors
/// The store's; a damaged session is logged and left out.
pub(super) fn all(system: &Database) -> Result<Vec<Session>, StoredError> {
    let txn = system.read()?;
    let mut sessions = Vec::new();
    for item in txn.side_range(SESSIONS, &[], None)? {
        match read_session(item?.1) {
            Ok(session) => sessions.push(session),
            Err(error) => tracing::error!(%error, "left out"),
        }
    }
    Ok(sessions)
}

/// Notes that the connections of these sessions have ended with the process that had them, and waits until that is durable: their
/// wills, and their ends, are counted from now.
///
/// # Errors
/// The store's.
pub(super) fn close(
    system: &Arc<Database>,
    sessions: &mut [Session],
    now_ms: u64,
) -> Result<(), StoredError> {
    let mut open: Vec<_> = sessions.iter_mut().filter(|one| one.closed_ms.is_none()).collect();
    open.iter_mut().for_each(|session| session.closed_ms = Some(now_ms));
    for some in open.chunks(CLOSED_AT_ONCE) {
        let put = |session: &&mut Session| Shelf::new(system, &session.client).put_session(session);
        let ops = some.iter().map(put).collect::<Result<_, _>>()?;
        let result = submit(system, ops)?.blocking_recv();
        result.map_err(|_| harper_store::Error::Stopped)??;
    }
    Ok(())
}

/// Hands changes to the database's writer and waits until they are durable.
///
/// # Errors
/// The store's.
pub(super) async fn commit(database: &Database, side: Vec<SideOp>) -> Result<(), StoredError> {
    let result = submit(database, side)?.await;
    Ok(result.map_err(|_| harper_store::Error::Stopped)??)
}

/// What becomes of changes that were handed to a writer.
pub(super) type Outcome = oneshot::Receiver<Result<(), harper_store::Error>>;

/// Hands changes to the database's writer.
///
/// # Errors
/// The store's refusal.
pub(super) fn submit(database: &Database, side: Vec<SideOp>) -> Result<Outcome, StoredError> {
    let (done, outcome) = oneshot::channel();
    let transaction = Transaction { ops: Vec::new(), side };
    let answer = Box::new(move |result: Result<Vec<_>, _>| {
        // whoever asked may have gone away
        let _ = done.send(result.map(drop));
    });
    database.submit_transaction(transaction, answer)?;
    Ok(outcome)
}

fn read_session(value: &[u8]) -> Result<Session, StoredError> {
    serde_json::from_slice(value).map_err(|error| StoredError::Damaged(error.to_string()))
}

fn read_row(key: &[u8], value: &[u8]) -> Option<Going> {
    let (feed, rest) = key.split_first_chunk()?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let place = Place {
        feed: u64::from_be_bytes(*feed),
        sequence: u64::from_be_bytes(*sequence),
        is_record: rest == [1],
    };
    let (id, rest) = value.split_first_chunk()?;
    let (turn, rest) = rest.split_first_chunk()?;
    let ([released, qos], message) = rest.split_first_chunk()?;
    let phase = if *released == 1 { Phase::Released } else { Phase::Sent };
    let id = PacketId::new(u16::from_be_bytes(*id))?;
    let row = Row { place, id, turn: u64::from_be_bytes(*turn), phase };
    let message = if message.is_empty() { None } else { Some(Outgoing::decode(message)?) };
    Some(Going { row, qos: Qos::from_bits(*qos)?, message })
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
