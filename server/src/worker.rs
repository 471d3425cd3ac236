//! A worker: one thread with its own runtime, its own listening sockets, its own counters and caches. Nothing on
//! its request path is shared with another worker, but for the moment in which LMDB hands out a snapshot.

mod accept;

use crate::auth::authority::Authority;
use crate::auth::cache::Credentials;
use crate::auth::users::User;
use crate::conn::{self, ConnState, Shared, Stream};
use crate::exchange::Interface;
use crate::headers::AnswerHeaders;
use crate::health::Health;
use crate::hub::{End, Hub, Local};
use crate::lag::Lag;
use crate::listen::Listener;
use crate::metrics::{Metrics, Rejected, WorkerMetrics};
use crate::mqtt::{self, Broker, OverWebSocket};
use crate::pool::Pool;
use crate::route::{OwnRoutes, Routes};
use crate::services::Services;
use accept::Accepting;
use harper_config::Config;
use http::StatusCode;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinSet, LocalSet, spawn_local};

/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_millis(250);
/// How late the sweep may be without a second look.
const LATE: Duration = Duration::from_millis(20);
/// How often connections are told to end that were too new before.
const DRAIN_AGAIN: Duration = Duration::from_millis(100);
/// How long accepting pauses when the process has no more file descriptors.
const OUT_OF_FILES_PAUSE: Duration = Duration::from_millis(100);
/// What a client beyond `http.connectionsMax` is told.
const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
    Retry-After: 1\r\nContent-Length: 0\r\n\r\n";

/// What a user of this machine is told who may not use the Unix socket.
const NOT_THE_OWNER: &[u8] = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\
    Content-Type: text/plain\r\nContent-Length: 57\r\n\r\n\
    Only the user of the server and root may use this socket\n";

/// What a worker is to do.
#[derive(Clone)]
pub(crate) enum Duty {
    /// Serve, and accept connections on these sockets.
    Serve(Arc<[Listener]>),
    /// Accept no more, let connections end with their next answer, and end without any: the worker is one too many.
    Retire,
    /// Accept what is queued, finish requests under way, and end: the process stops.
    Drain,
    /// End now.
    End,
}

/// What all workers have in common.
#[derive(Clone)]
pub(crate) struct Common {
    /// The configuration, replaced when its live keys change.
    pub config: watch::Receiver<Arc<Config>>,
    /// Threads for blocking work.
    pub pool: Pool,
    /// Threads that verify passwords.
    pub logins: Pool,
    /// The counters of all workers.
    pub metrics: Metrics,
    /// What credentials are checked against.
    pub authority: Arc<Authority>,
    /// Key of the fingerprints of credentials.
    pub credentials_key: [u8; 32],
    /// The routes, replaced by a reload.
    pub routes: watch::Receiver<Arc<Routes>>,
    /// Open connections of the process.
    pub connections: Arc<AtomicUsize>,
    /// Bytes of larger request bodies that the process holds.
    pub bodies_bytes: Arc<AtomicUsize>,
    /// Where a worker says that it lives.
    pub health: Arc<Health>,
    /// What all workers' subscriptions hear from.
    pub hub: Arc<Hub>,
    /// MQTT.
    pub broker: Arc<Broker>,
}

/// What one worker has for itself.
pub(crate) struct Seed {
    /// Its number, from 0.
    pub id: usize,
    /// Its own counters.
    pub metrics: Arc<WorkerMetrics>,
    /// What it is to do.
    pub duty: watch::Receiver<Duty>,
}

/// Starts the worker's thread.
///
/// # Errors
/// The system's refusal of a thread.
pub(crate) fn start(common: Common, seed: Seed) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("http/{}", seed.id)).spawn(move || {
        if let Err(error) = run(common, seed) {
            tracing::error!(%error, "a worker could not start");
        }
    })
}

fn run(common: Common, seed: Seed) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let Common {
            config,
            pool,
            logins,
            metrics: _,
            authority,
            credentials_key,
            routes,
            connections,
            bodies_bytes,
            health,
            hub,
            broker,
        } = common;
        let Seed { id: _, metrics, duty } = seed;
        let limits = config.borrow().realtime;
        let subscriptions =
            Local::new(hub, pool.clone(), Arc::clone(&metrics), Arc::clone(&authority), limits);
        let credentials =
            Credentials::new(authority, logins, Arc::clone(&metrics), credentials_key);
        let shared = Rc::new_cyclic(|shared: &Weak<Shared>| {
            let over_web_socket =
                OverWebSocket { host: shared.clone(), broker: Arc::clone(&broker) };
            let services = Services {
                config: Arc::clone(&config.borrow()),
                pool,
                metrics: Arc::clone(&metrics),
                credentials: Rc::new(credentials),
                local_user: Rc::new(User::local()),
                headers: AnswerHeaders::new(&config.borrow()),
                bodies_bytes,
                subscriptions: Rc::clone(&subscriptions),
                lag: Rc::new(Lag::new(Instant::now())),
                sockets: Rc::new([Rc::new(over_web_socket)]),
                is_ending: Rc::default(),
            };
            Shared {
                services: RefCell::new(Rc::new(services)),
                metrics,
                routes: RefCell::new(Rc::new(OwnRoutes(Arc::clone(&routes.borrow())))),
                coarse_now: Cell::new(Instant::now()),
                broker: Arc::clone(&broker),
            }
        });
        let worker = Rc::new(Worker {
            shared,
            open: RefCell::default(),
            number: Cell::new(0),
            connections,
            last_closed: Notify::new(),
            health,
        });
        spawn_local(Rc::clone(&worker).keep_time());
        spawn_local(subscriptions.run());
        spawn_local(mqtt::keep(Rc::<Shared>::clone(&worker.shared), broker));
        spawn_local(Rc::clone(&worker).follow_routes(routes));
        spawn_local(Rc::clone(&worker).follow_config(config));
        worker.serve(duty).await;
        worker.health.ended(&worker.shared.metrics);
    });
    Ok(())
}

struct Worker {
    shared: Rc<Shared>,
    open: RefCell<HashMap<u64, Rc<ConnState>>>,
    number: Cell<u64>,
    connections: Arc<AtomicUsize>,
    /// Told when the last open connection has closed.
    last_closed: Notify,
    health: Arc<Health>,
}

impl Worker {
    /// Ends connections that are past their deadline, and shows that this worker lives.
    async fn keep_time(self: Rc<Self>) {
        let mut tick = tokio::time::interval(SWEEP);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let lag = Rc::clone(&self.shared.services().lag);
        loop {
            tick.tick().await;
            let mut now = Instant::now();
            let mut late = lag.tick(now, SWEEP);
            if late > LATE {
                // whether it is still, what waits tells: this comes after all that is ready now
                tokio::task::yield_now().await;
                late = now.elapsed();
                lag.round(late);
                now += late;
            }
            self.shared.metrics.lag_nanos.store(nanos(late), Ordering::Relaxed);
            self.shared.coarse_now.set(now);
            self.health.beat(&self.shared.metrics);
            self.shared.services().subscriptions.check_rights();
            let is_ending = self.shared.services.borrow().is_ending.get();
            for state in self.open.borrow().values() {
                state.sweep(now);
                if is_ending {
                    state.retire(now);
                }
            }
        }
    }

    async fn follow_routes(self: Rc<Self>, mut routes: watch::Receiver<Arc<Routes>>) {
        while routes.changed().await.is_ok() {
            let current = Arc::clone(&routes.borrow_and_update());
            self.shared.routes.replace(Rc::new(OwnRoutes(current)));
        }
    }

    async fn follow_config(self: Rc<Self>, mut config: watch::Receiver<Arc<Config>>) {
        while config.changed().await.is_ok() {
            let services = self.shared.services().with_config(config.borrow_and_update().clone());
            services.subscriptions.configure(services.config.realtime);
            self.shared.services.replace(Rc::new(services));
        }
    }

    /// Does its duty until that is to end.
    async fn serve(self: &Rc<Self>, mut duty: watch::Receiver<Duty>) {
        let mut serving: Arc<[Listener]> = Arc::default();
        loop {
            let now = duty.borrow_and_update().clone();
            // the accept loops of the last duty end when these are dropped
            let mut accepting = JoinSet::new();
            let is_retiring = matches!(now, Duty::Retire);
            self.set_ending(!matches!(now, Duty::Serve(_)));
            match now {
                Duty::Serve(listeners) => {
                    for listener in listeners.iter() {
                        accepting.spawn_local(Rc::clone(self).accept(listener.clone()));
                    }
                    serving = listeners;
                }
                Duty::Retire => serving = Arc::default(),
                Duty::Drain => {
                    drop(accepting);
                    self.accept_queued(&serving).await;
                    drop(serving);
                    return self.drain(duty).await;
                }
                Duty::End => return,
            }
            tokio::select! {
                changed = duty.changed() => if changed.is_err() { return },
                () = self.finished(), if is_retiring => return,
            }
        }
    }

    /// Whether connections end with their next answer. Subscriptions end now: they would never be answered.
    fn set_ending(&self, is_ending: bool) {
        let services = self.shared.services();
        services.is_ending.set(is_ending);
        match is_ending {
            true => services.subscriptions.end_all(End::Stopping),
            false => services.subscriptions.reopen(),
        }
    }

    /// Accepts connections; never returns.
    async fn accept(self: Rc<Self>, listener: Listener) {
        let socket = loop {
            match Accepting::on(&listener.socket) {
                Ok(socket) => break socket,
                Err(error) => tracing::error!(%error, "a listener cannot be used; trying again"),
            }
            tokio::time::sleep(OUT_OF_FILES_PAUSE).await;
        };
        self.health.listening();
        loop {
            let accepted = socket.accept().await;
            self.accepted(accepted, &listener).await;
        }
    }

    /// Accepts what the kernel has queued.
    async fn accept_queued(self: &Rc<Self>, listeners: &[Listener]) {
        for listener in listeners {
            while let Ok(stream) = accept::queued(&listener.socket) {
                self.accepted(stream, listener).await;
            }
        }
    }

    async fn accepted(self: &Rc<Self>, accepted: io::Result<Stream>, listener: &Listener) {
        match accepted {
            Ok(stream) => self.open(stream, listener),
            Err(error) if is_connection_error(&error) => {}
            Err(error) => {
                tracing::error!(%error, "connections cannot be accepted; trying again");
                tokio::time::sleep(OUT_OF_FILES_PAUSE).await;
            }
        }
    }

    fn open(self: &Rc<Self>, stream: Stream, listener: &Listener) {
        let services = self.shared.services();
        services.metrics.accepted.add(1);
        if !stream.may_enter().unwrap_or(false) {
            services.metrics.rejected(Rejected::SocketUser);
            spawn_local(stream.turn_away(NOT_THE_OWNER));
            return;
        }
        if self.connections.fetch_add(1, Ordering::Relaxed) >= services.config.http.connections_max
        {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            services.metrics.rejected(Rejected::Connections);
            // whatever was to be asked
            services.metrics.request("", StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO);
            let is_plain_http = listener.tls.is_none() && listener.interface != Interface::Mqtt;
            let word = if is_plain_http { TOO_MANY_CONNECTIONS } else { b"" };
            spawn_local(stream.turn_away(word));
            return;
        }
        stream.hurry();
        let number = self.number.replace(self.number.get() + 1);
        let state = ConnState::new(Rc::clone(&self.shared), listener.interface);
        self.open.borrow_mut().insert(number, Rc::clone(&state));
        services.metrics.connections.add(1);
        let guard = Open { worker: Rc::clone(self), number };
        let tls = listener.tls.clone();
        spawn_local(async move {
            if let Some(rest) = conn::serve(state, stream, tls).await {
                spawn_local(async move {
                    let _guard = guard;
                    rest.await;
                });
            }
        });
    }

    /// Lets every connection finish its request; returns when all have, or when the process gives up on them.
    async fn drain(&self, mut duty: watch::Receiver<Duty>) {
        let tell_all = async {
            loop {
                let now = Instant::now();
                self.open.borrow().values().for_each(|state| state.drain(now));
                tokio::time::sleep(DRAIN_AGAIN).await;
            }
        };
        tokio::select! {
            () = self.finished() => {}
            () = tell_all => {}
            _ = duty.wait_for(|duty| matches!(duty, Duty::End)) => {}
        }
    }

    /// Returns when no connection is open.
    async fn finished(&self) {
        while !self.open.borrow().is_empty() {
            self.last_closed.notified().await;
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Errors of one connection that ended before it was accepted; the listener is fine.
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// An open connection in the worker's books.
struct Open {
    worker: Rc<Worker>,
    number: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.worker.open.borrow_mut();
        open.remove(&self.number);
        if open.is_empty() {
            self.worker.last_closed.notify_one();
        }
        self.worker.connections.fetch_sub(1, Ordering::Relaxed);
        self.worker.shared.metrics.connections.add(-1);
    }
}
