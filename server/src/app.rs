//! The only place where all layers meet: it opens the store, loads the applications, binds the sockets, starts
//! the workers, and drains them.

mod listeners;
mod routes;

use crate::auth::authority::{Authority, AuthorityError};
use crate::auth::password;
use crate::auth::users::{Users, UsersError};
use crate::components::{self, Application};
use crate::computed::Expressions;
use crate::health::Health;
use crate::hub::Hub;
use crate::listen::Reach;
use crate::metrics::Metrics;
use crate::mqtt::{Broker, Sessions};
use crate::pool::Pool;
use crate::reload::Reloads;
use crate::route::Routes;
use crate::telemetry::{self, NOTIFY};
use crate::tls;
use crate::worker::Common;
use crate::workers::Workers;
use crate::{admin, cpu};
use harper_config::Config;
use harper_store::{Durability, Hooks, Observer, Observing, Store};
pub(crate) use listeners::Addresses;
use listeners::Listeners;
use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The administrator's name when none is given.
const ADMIN: &str = "admin";

/// Time for a worker to end when it has been told to give up; one that waits for a dead disk does not.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// Time for handshakes under way to complete before the sockets close.
const HANDSHAKES_END: Duration = Duration::from_millis(100);

/// Who may administrate, as given from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    /// `HDB_ADMIN_USERNAME`.
    pub username: Option<String>,
    /// `HDB_ADMIN_PASSWORD`.
    pub password: Option<String>,
}

/// What to run.
pub(crate) struct Plan {
    /// The configuration.
    pub config: Config,
    /// The root directory.
    pub root: PathBuf,
    /// What the application folders declare.
    pub applications: Vec<Application>,
    /// Where a port without an address listens.
    pub reach: Reach,
    /// The administrator.
    pub credentials: Credentials,
    /// The certificates; there are some when a secure port is configured.
    pub certificates: Option<tls::Followed>,
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// A directory or file could not be made or read.
    #[error("{path}: {error}")]
    File {
        /// The path.
        path: String,
        /// The system's word.
        error: std::io::Error,
    },
    /// The databases could not be opened.
    #[error("the databases could not be opened: {0}")]
    Store(#[from] harper_store::Error),
    /// A table could not be defined.
    #[error("{origin}: table {table}: {error}")]
    Table {
        /// Where it is defined.
        origin: String,
        /// Its name.
        table: String,
        /// The store's refusal.
        error: harper_store::Error,
    },
    /// A role could not be made.
    #[error("{origin}: {error}")]
    Role {
        /// Where it is declared.
        origin: String,
        /// What is wrong.
        error: UsersError,
    },
    /// The users could not be made.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// Users, sessions or keys could not be opened.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A port could not be bound.
    #[error("port {port} ({key}) could not be bound: {error}")]
    Bind {
        /// The port as configured.
        port: String,
        /// The key that configures it.
        key: &'static str,
        /// The system's word.
        error: std::io::Error,
    },
    /// Records could not be loaded.
    #[error(transparent)]
    Data(#[from] components::LoadDataError),
    /// Threads, metrics or random numbers failed.
    #[error("{0}")]
    System(String),
}

impl StartError {
    fn system(error: impl std::fmt::Display) -> Self {
        Self::System(error.to_string())
    }
}

/// A running server.
pub(crate) struct App {
    config: watch::Sender<Arc<Config>>,
    store: Store,
    expressions: Expressions,
    authority: Arc<Authority>,
    workers: RefCell<Workers>,
    pools: Pools,
    routes: watch::Sender<Arc<Routes>>,
    health: Arc<Health>,
    /// What came of reading the configuration anew.
    pub reloads: Reloads,
    certificates: Option<tls::Followed>,
    /// Where it listens.
    pub addresses: Addresses,
}

impl App {
    /// Opens everything and starts serving.
    ///
    /// # Errors
    /// The first thing that could not be opened, bound or started.
    pub(crate) fn start(plan: Plan) -> Result<Self, StartError> {
        let Plan { config, root, applications, reach, credentials, certificates } = plan;
        let (store, expressions, hub) = open_store(&root, &config)?;
        let system = store.database("system")?;
        let authority = Authority::open(&system, &root.join("keys"), &config.authentication)?;
        let authority = Arc::new(authority);
        ensure_admin(&authority.users, &root, credentials)?;
        let routes = Arc::new(routes::routes(&store, &applications)?);
        ensure_roles(&authority.users, &applications)?;
        let names = applications.iter().map(|application| application.name.clone()).collect();
        let count = cpu::workers_wanted(&config.threads);
        let pools = Pools::start(&config, count).map_err(StartError::system)?;
        let metrics = Metrics::default();
        let listeners = Listeners::bind(&config, &root, reach, certificates.as_ref())?;
        let (addresses, admin) = (listeners.addresses(), listeners.admin());
        let endpoints = listeners.of_workers();
        let (config, followed) = watch::channel(Arc::new(config));
        let (routes, routes_followed) = watch::channel(routes);
        let reloads = Reloads::of_configuration();
        let health = Health::new(
            followed.clone(),
            remarks(&reloads, certificates.as_ref()),
            endpoints.len() * count,
            metrics.clone(),
            store.clone(),
            names,
        );
        let broker = Broker::open(&store, Arc::clone(&hub), metrics.clone());
        let broker = broker.map_err(StartError::system)?;
        let common = Common {
            config: followed,
            pool: pools.work.clone(),
            logins: pools.logins.clone(),
            metrics: metrics.clone(),
            authority: Arc::clone(&authority),
            credentials_key: random_key()?,
            routes: routes_followed,
            connections: Arc::default(),
            bodies_bytes: Arc::default(),
            health: Arc::clone(&health),
            hub,
            broker: Arc::clone(&broker),
        };
        let workers = Workers::start(common, endpoints, count).map_err(StartError::system)?;
        let cgroup_root = config.borrow().threads.cgroup_root.clone();
        let sources = admin::Sources::new(metrics, store.clone(), pools.work.clone())
            .with(reloads.clone())
            .with(expressions.clone())
            .with(Sessions(broker))
            .with(workers.counts())
            .with(cpu::Cpu { cgroup_root });
        let sources = certificates.iter().cloned().fold(sources, admin::Sources::with);
        if let Some(socket) = admin {
            let health = Arc::clone(&health);
            admin::start(admin::Admin { health, sources }, socket).map_err(StartError::system)?;
        }
        Ok(Self {
            config,
            store,
            expressions,
            authority,
            workers: RefCell::new(workers),
            pools,
            routes,
            health,
            reloads,
            certificates,
            addresses,
        })
    }

    /// Serves other applications from now on; requests under way finish with the old ones.
    ///
    /// # Errors
    /// A table or a data file that cannot be taken; the old applications then go on.
    pub(crate) fn replace(&self, applications: &[Application]) -> Result<(), StartError> {
        let routes = routes::routes(&self.store, applications)?;
        ensure_roles(&self.authority.users, applications)?;
        self.routes.send_replace(Arc::new(routes));
        Ok(())
    }

    /// Takes a changed configuration. All that reads it at the time of use follows at once; what has to be told is told
    /// here.
    ///
    /// # Errors
    /// What the new configuration names and cannot be used; all is then as before.
    pub(crate) fn reconfigure(&self, config: Config) -> Result<(), StartError> {
        self.authority.reconfigure(&config.authentication)?;
        telemetry::configure(&config.logging);
        self.store.set_limits(&store_options(&config));
        self.expressions.set_limits(&config.computed);
        self.config.send_replace(Arc::new(config));
        self.keep_workers();
        Ok(())
    }

    /// Uses changed certificates from now on; to be called now and then.
    pub(crate) fn keep_certificates(&self) {
        if let Some(certificates) = &self.certificates {
            certificates.look(&self.config.borrow());
        }
    }

    /// Has as many workers as the configuration and the CPUs of the pod ask for; to be called now and then.
    pub(crate) fn keep_workers(&self) {
        let config = Arc::clone(&self.config.borrow());
        let wanted = cpu::workers_wanted(&config.threads);
        if self.workers.borrow_mut().keep(wanted) {
            tracing::info!(target: NOTIFY, "{wanted} worker(s) from now on");
        }
        if let Err(error) = self.pools.resize(&config, wanted) {
            tracing::warn!(%error, "a thread for blocking work was refused");
        }
    }

    /// Stops: readiness fails, the configured delay passes, the listeners close, requests under way finish within
    /// the configured time, or until `cut` is ready. Returns whether all did.
    pub(crate) async fn stop(self, cut: impl Future<Output = ()>) -> bool {
        tracing::info!(target: NOTIFY, "stopping");
        self.health.stop();
        let harper_config::Shutdown { delay, timeout } = self.config.borrow().shutdown;
        let drained = async {
            tokio::time::sleep(delay).await;
            self.workers.borrow().turn_away();
            tokio::time::sleep(HANDSHAKES_END).await;
            self.workers.borrow_mut().drain();
            self.workers_end_within(timeout).await
        };
        let all_finished = tokio::select! {
            all_finished = drained => all_finished,
            () = cut => false,
        };
        self.workers.borrow().end();
        self.workers_end_within(LAST_GRACE).await;
        if !all_finished {
            tracing::warn!("some requests did not finish in time and were cut");
        }
        all_finished
    }

    /// Waits until every worker has ended, but not longer than `limit`; returns whether all have.
    async fn workers_end_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let all_ended = || self.workers.borrow().have_ended();
        while Instant::now() < deadline && !all_ended() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        all_ended()
    }
}

/// What can be changed while the process runs, by the names under which `/readyz` speaks of it.
fn remarks(
    reloads: &Reloads,
    certificates: Option<&tls::Followed>,
) -> Vec<(&'static str, Reloads)> {
    let certificates = certificates.map(|all| ("certificates", all.reloads()));
    [("configuration", reloads.clone())].into_iter().chain(certificates).collect()
}

/// A key that is as old as the process.
fn random_key() -> Result<[u8; 32], StartError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(StartError::system)?;
    Ok(key)
}

fn open_store(root: &Path, config: &Config) -> Result<(Store, Expressions, Arc<Hub>), StartError> {
    std::fs::create_dir_all(root)
        .map_err(|error| StartError::File { path: root.display().to_string(), error })?;
    let path = config.storage.path.clone().unwrap_or_else(|| root.join("database"));
    let (expressions, hub) = (Expressions::new(&config.computed), Arc::new(Hub::default()));
    let observer: Arc<dyn Observer> = Arc::<Hub>::clone(&hub);
    let observing = Observing::by(observer);
    let hooks = Hooks { evaluator: expressions.evaluator(), observing };
    let store = Store::open_with(root, &path, store_options(config), hooks)?;
    Ok((store, expressions, hub))
}

fn store_options(config: &Config) -> harper_store::Options {
    let storage = &config.storage;
    let durability =
        if storage.write_async { Durability::LastCommitsMayBeLost } else { Durability::Full };
    harper_store::Options {
        map_bytes: storage.map_bytes,
        durability,
        tables_max: storage.trees_max,
        queue_max: storage.queue_max,
        queue_bytes_max: storage.queue_bytes_max,
        batch_bytes_max: storage.batch_bytes_max,
        batch_max: storage.batch_max,
        free_bytes_min: storage.free_bytes_min,
        log_age_ms_max: u64::try_from(storage.change_log_age_max.as_millis()).unwrap_or(u64::MAX),
        log_bytes_max: storage.change_log_bytes_max,
        sweep_interval: storage.sweep_interval,
        sync_delay: storage.sync_delay,
        ..harper_store::Options::default()
    }
}

/// Makes the administrator as given, or, on a root without users, one with a generated password.
fn ensure_admin(users: &Users, root: &Path, credentials: Credentials) -> Result<(), StartError> {
    let name = credentials.username.unwrap_or_else(|| ADMIN.to_owned());
    if let Some(password) = credentials.password {
        return Ok(users.ensure_super_user(&name, &password)?);
    }
    if !users.is_empty() {
        return Ok(());
    }
    let password = password::generate().map_err(UsersError::from)?;
    let path = root.join("admin-password");
    write_secret(&path, &password)
        .map_err(|error| StartError::File { path: path.display().to_string(), error })?;
    users.ensure_super_user(&name, &password)?;
    tracing::info!(target: NOTIFY, "made the user {name}; the password is in {}", path.display());
    if std::io::stdout().is_terminal() {
        // a person at a keyboard; a log collector never sees this
        let _ = writeln!(std::io::stdout(), "user {name}, password {password}");
    }
    Ok(())
}

/// Makes the roles that the applications declare, or brings them up to date.
fn ensure_roles(users: &Users, applications: &[Application]) -> Result<(), StartError> {
    for role in applications.iter().flat_map(|application| &application.roles) {
        users
            .ensure_role(&role.name, &role.node)
            .map_err(|error| StartError::Role { origin: role.origin(), error })?;
    }
    Ok(())
}

fn write_secret(path: &Path, secret: &str) -> std::io::Result<()> {
    // made anew, for the mode of a file that is there would stay as it is
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{secret}")?;
    file.sync_all()
}

/// The threads for work that a worker must not do.
struct Pools {
    /// Everything that may block, but for logins.
    work: Pool,
    /// Verification of passwords.
    logins: Pool,
}

impl Pools {
    fn start(config: &Config, workers: usize) -> std::io::Result<Self> {
        let (work, logins) = Self::sizes(config, workers);
        Ok(Self {
            work: Pool::start("pool", work, config.pool_queue_max)?,
            logins: Pool::start("login", logins, config.authentication.verifications_max)?,
        })
    }

    fn resize(&self, config: &Config, workers: usize) -> std::io::Result<()> {
        let (work, logins) = Self::sizes(config, workers);
        self.work.resize(work)?;
        self.logins.resize(logins)
    }

    fn sizes(config: &Config, workers: usize) -> (usize, usize) {
        (config.pool_threads.unwrap_or_else(|| workers.max(2)), workers.div_ceil(2))
    }
}
