//! What the process knows of its clients: who is connected under which name, and which sessions wait for theirs.
//!
//! Only the beginning and the end of a connection come here; no packet does.

use super::authenticate::Authenticator;
use super::due::Due;
use super::pace::Pace;
use super::shares::{Member, Now, Seen, Shares};
use super::stored::{self, Hash, Session, Shelf, StoredError, StoredSubscription};
use super::sys;
use crate::hub::{Hub, Keeper};
use crate::metrics::{self, Metrics};
use arc_swap::ArcSwap;
use harper_mqtt::Text;
use harper_store::{Database, Store, TableId};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The broker of the process.
pub(crate) struct Broker {
    /// Where sessions are kept.
    pub(super) system: Arc<Database>,
    pub(super) store: Store,
    /// What is counted of it.
    pub(super) metrics: Metrics,
    hub: Arc<Hub>,
    /// What it tells of itself.
    pub(super) told: sys::Told,
    clients: Mutex<HashMap<Text, Arc<Seat>>>,
    /// Most clients that there ever were at once.
    clients_peak: AtomicUsize,
    kept: Mutex<HashMap<TableId, Kept>>,
    /// Sessions that outlive their connection.
    sessions: AtomicUsize,
    /// Shared subscriptions.
    pub(super) shares: Shares,
    /// Bytes of packets that clients send before they are let in.
    pub(super) entering: Arc<AtomicUsize>,
    /// What knows an authentication method.
    pub(super) authenticators: ArcSwap<Vec<Arc<dyn Authenticator>>>,
    /// When a session is gone on with.
    pub(super) pace: Pace,
    due: Mutex<Due>,
}

/// After which time what could not be done is tried again, in milliseconds.
const AGAIN_MS: u64 = 5000;

/// A table that sessions subscribe to, how often, and what has its log keep every value.
struct Kept {
    count: usize,
    _keeper: Keeper,
}

/// A client identifier that is somebody's until this is dropped.
pub(super) struct Claim {
    broker: Arc<Broker>,
    client: Text,
    seat: Arc<Seat>,
}

/// A connection's hold on its client identifier.
struct Seat {
    /// Whose it is; none while the broker looks after the session.
    user: Option<String>,
    /// Becomes true when another connection takes the session over, or somebody ends it.
    taken: watch::Sender<bool>,
}

/// Why a client identifier cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Another user has it.
    OtherUser,
}

impl Broker {
    /// The broker over what is stored: its sessions are waiting again.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn open(
        store: &Store,
        hub: Arc<Hub>,
        metrics: Metrics,
    ) -> Result<Arc<Self>, StoredError> {
        let broker = Self {
            system: store.database(stored::SYSTEM)?,
            store: store.clone(),
            metrics,
            hub,
            told: sys::Told::new(),
            clients: Mutex::default(),
            clients_peak: AtomicUsize::new(0),
            kept: Mutex::default(),
            sessions: AtomicUsize::new(0),
            shares: Shares::default(),
            entering: Arc::default(),
            authenticators: ArcSwap::default(),
            pace: Pace::new(),
            due: Mutex::default(),
        };
        let now_ms = stored::now_ms();
        let mut sessions = stored::all(&broker.system)?;
        if let Err(error) = stored::close(&broker.system, &mut sessions, now_ms) {
            // it is tried again when they are due; a full disk keeps nobody from reading
            tracing::error!(%error, "it cannot be stored that sessions of MQTT are not connected");
        }
        broker.share_again(&sessions)?;
        for session in sessions {
            broker.wait_for(&session, now_ms);
            if session.expiry_s > 0 {
                session.tables().for_each(|table| broker.keep(table));
            }
            broker.sessions.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Arc::new(broker))
    }

    /// Takes a client identifier, and waits until the connection that has it has ended (MQTT-3.1.4-3).
    pub(super) async fn take(
        self: &Arc<Self>,
        client: &Text,
        user: &str,
    ) -> Result<Claim, Refused> {
        loop {
            let mut ended = {
                let mut clients = lock(&self.clients);
                let Some(other) = clients.get(client) else {
                    let claim = self.claim(&mut clients, client, Seat::new(Some(user)));
                    self.clients_peak.fetch_max(clients.len(), Ordering::Relaxed);
                    return Ok(claim);
                };
                // the broker itself has it for a moment
                let is_own = other.user.as_deref().is_none_or(|other| other == user);
                if !is_own {
                    return Err(Refused::OtherUser);
                }
                other.taken.send_replace(true);
                other.taken.subscribe()
            };
            // it ends with the seat, which its connection gives back last
            while ended.changed().await.is_ok() {}
        }
    }

    /// Whether a client identifier is somebody's.
    pub(super) fn is_connected(&self, client: &Text) -> bool {
        lock(&self.clients).contains_key(client)
    }

    /// Takes a client identifier that no connection has.
    pub(super) fn take_if_free(self: &Arc<Self>, client: &Text) -> Option<Claim> {
        let mut clients = lock(&self.clients);
        let is_free = !clients.contains_key(client);
        is_free.then(|| self.claim(&mut clients, client, Seat::new(None)))
    }

    fn claim(
        self: &Arc<Self>,
        clients: &mut HashMap<Text, Arc<Seat>>,
        client: &Text,
        seat: Arc<Seat>,
    ) -> Claim {
        clients.insert(client.detached(), Arc::clone(&seat));
        Claim { broker: Arc::clone(self), client: client.detached(), seat }
    }

    /// Takes the place of one session; false when there are `max`.
    pub(super) fn begin_session(&self, max: usize) -> bool {
        let is_free = |sessions| (sessions < max).then_some(sessions + 1);
        self.sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_free).is_ok()
    }

    /// A session is gone; `keeps` says whether logs were kept for it.
    pub(super) fn forget(&self, session: &Session, keeps: bool) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
        session.shares().for_each(|(number, one)| self.part(number, one));
        if keeps {
            session.tables().for_each(|table| self.release(table));
        }
    }

    /// How many sessions are stored.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Most clients that there ever were at once.
    pub(super) fn clients_peak(&self) -> u64 {
        self.clients_peak.load(Ordering::Relaxed) as u64
    }

    /// A client takes part in a shared subscription of a table from now on, or is away; one without a member takes part no
    /// more.
    pub(super) fn share(
        &self,
        filter: &Text,
        client: u64,
        member: Option<Member>,
        table: (&str, &str),
    ) {
        let store = |ops| stored::submit(&self.system, ops);
        if let Err(error) = self.shares.set(filter, client, member, || self.now(table), store) {
            tracing::error!(%error, "who takes part in a shared subscription cannot be changed");
        }
    }

    /// A subscription of a session is gone: whoever shared it takes part no more.
    pub(super) fn part(&self, client: u64, subscription: &StoredSubscription) {
        let StoredSubscription { filter, database, table, .. } = subscription;
        if let Ok(filter) = Text::try_from(&filter[..])
            && subscription.is_shared()
        {
            self.share(&filter, client, None, (database, table));
        }
    }

    /// Where a change holds from. A table that is gone has no messages.
    fn now(&self, (database, table): (&str, &str)) -> Result<Now, harper_store::Error> {
        let version = (stored::now_ms() + 1) << 16;
        let last = match self.database(database).map(|found| (found.table(table), found)) {
            Some((Some(table), database)) => table.last_sequence(&database.read()?)?,
            Some((None, _)) | None => 0,
        };
        Ok(Now { last, version })
    }

    /// Puts sessions that are away back in the shares that they are in.
    fn share_again(&self, sessions: &[Session]) -> Result<(), StoredError> {
        let mut shares: HashMap<Text, (&StoredSubscription, Vec<Seen>)> = HashMap::new();
        for (number, one) in sessions.iter().flat_map(Session::shares) {
            let Ok(filter) = Text::try_from(&one.filter[..]) else { continue };
            shares.entry(filter).or_insert((one, Vec::new())).1.push((number, one.cursor));
        }
        for (filter, (one, members)) in shares {
            let now = self.now((&one.database, &one.table))?;
            let store = |ops| stored::submit(&self.system, ops);
            self.shares.restore(&filter, &members, &self.system, now, store)?;
        }
        Ok(())
    }

    /// Has a table's log keep every value, for a session. The table may be gone.
    pub(super) fn keep(&self, (database, table): (&str, &str)) {
        let Some(table) = self.table(database, table) else { return };
        let mut kept = lock(&self.kept);
        let hub = &self.hub;
        let entry =
            kept.entry(table).or_insert_with(|| Kept { count: 0, _keeper: hub.keep(table) });
        entry.count += 1;
    }

    /// Has it no more.
    pub(super) fn release(&self, (database, table): (&str, &str)) {
        let Some(table) = self.table(database, table) else { return };
        let mut kept = lock(&self.kept);
        if let Some(entry) = kept.get_mut(&table) {
            entry.count -= 1;
            if entry.count == 0 {
                kept.remove(&table);
            }
        }
    }

    /// Whether messages to a table have to go through its log.
    pub(super) fn keeps(&self, table: TableId) -> bool {
        use harper_store::{Interest, Observer};
        self.hub.interest(table) == Interest::Durable
    }

    fn table(&self, database: &str, table: &str) -> Option<TableId> {
        Some(self.database(database)?.table(table)?.identity())
    }

    fn database(&self, name: &str) -> Option<Arc<Database>> {
        self.store.databases().into_iter().find(|known| known.name() == name)
    }

    /// Has the session of a client that is not connected looked at when its will is due, and when it ends.
    pub(super) fn wait_for(&self, session: &Session, now_ms: u64) {
        let times = [session.will_due_ms(now_ms), session.ends_ms(now_ms)];
        let hash = Shelf::new(&self.system, &session.client).hash();
        lock(&self.due).set(hash, times.into_iter().flatten().min());
    }

    /// Has a session looked at in a while, since what was due could not be done.
    pub(super) fn look_again(&self, session: Hash) {
        lock(&self.due).set(session, Some(stored::now_ms() + AGAIN_MS));
    }

    /// A session has a connection: nothing of it is due.
    pub(super) fn wait_no_more(&self, session: Hash) {
        lock(&self.due).set(session, None);
    }

    /// The next session that is to be looked at.
    pub(super) fn next_due(&self, now_ms: u64) -> Option<Hash> {
        lock(&self.due).take(now_ms)
    }
}

/// What a scrape is told of the sessions.
pub(crate) struct Sessions(pub(crate) Arc<Broker>);

impl Collector for Sessions {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        vec![metrics::gauge(
            "harper_mqtt_sessions",
            "Stored MQTT sessions: those that outlive their connection, or have a will.",
            self.0.sessions() as f64,
        )]
    }
}

impl Seat {
    fn new(user: Option<&str>) -> Arc<Self> {
        let (taken, _) = watch::channel(false);
        Arc::new(Self { user: user.map(str::to_owned), taken })
    }
}

impl Claim {
    /// Ready when another connection has taken the session over.
    pub(super) fn taken(&self) -> impl Future<Output = ()> + use<> {
        let mut taken = self.seat.taken.subscribe();
        async move {
            // an error says that the place is given up
            let _ = taken.wait_for(|taken| *taken).await;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.broker.clients).remove(&self.client);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
