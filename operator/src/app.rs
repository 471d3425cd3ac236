//! The only place where all parts meet: `run` wires them, and this module decides the exit code.

use crate::admin::{Admin, Readiness, serve};
use crate::cli::{Cli, Command, RunOptions};
use crate::controller::{
    Controllers, CrdState, Settings, Shared, Stop, WATCH_SECONDS, wait_until_served,
};
use crate::{crd, rbac, smoke, telemetry};
use futures_util::FutureExt as _;
use kube::{Client, Config};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Exit code of a command line or environment that cannot be used.
pub const EXIT_USAGE: u8 = 64;
/// Longest time to finish the reconciles under way when told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest silence of the API server; a watch without events is silent until its end.
const READ_TIMEOUT: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// Why the program ends early.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The environment cannot be used.
    #[error(transparent)]
    Usage(#[from] crate::cli::EnvError),
    /// No way to the API server.
    #[error("connect to the API server: {0}")]
    Connect(#[source] kube::Error),
    /// The admin listener.
    #[error("listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Signals.
    #[error("wait for signals: {0}")]
    Signals(#[source] std::io::Error),
    /// Metrics.
    #[error("register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The installed operator is not as it should be.
    #[error(transparent)]
    Smoke(#[from] smoke::SmokeError),
    /// Printing.
    #[error("print: {0}")]
    Print(#[source] std::io::Error),
    /// Writing YAML.
    #[error("write YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
}

impl AppError {
    /// The exit code that tells it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => EXIT_USAGE,
            _ => 1,
        }
    }
}

/// Does what the command line says.
///
/// # Errors
/// What keeps it from that.
pub async fn main(cli: Cli) -> Result<(), AppError> {
    match cli.command {
        Command::Run(args) => run(args.resolve(|name| std::env::var(name).ok())?).await,
        Command::Crd => print(&serde_yaml::to_string(&crd::definition())?),
        Command::Rbac => print(&serde_yaml::to_string(&rbac::rules())?),
        Command::SmokeTest(args) => {
            smoke::run(&args).await?;
            print("ok\n")
        }
    }
}

fn print(text: &str) -> Result<(), AppError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(AppError::Print)
}

async fn run(options: RunOptions) -> Result<(), AppError> {
    let RunOptions { namespaces, admin_address: address, server_image, log_format } = options;
    telemetry::start(log_format);
    let listen = |source| AppError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let client = connect().await.map_err(AppError::Connect)?;
    let stop = stop_signal()?;
    let settings = Settings { server_image, namespaces };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), admin = %address, ?settings, "starting");
    let shared = Arc::new(Shared::new(client.clone(), settings)?);
    let controllers = Controllers::new(&client, &shared, &stop);
    let readiness = Arc::new(Readiness::default());
    let admin = Admin { readiness: Arc::clone(&readiness), shared };
    tokio::select! {
        () = serve(listener, &admin) => {}
        () = work(&client, controllers, &readiness) => {}
        () = drain(stop) => {}
    }
    tracing::info!("stopped");
    Ok(())
}

/// A client that gives up a connection on which nothing comes: a list without an answer would hold its watch for ever.
async fn connect() -> Result<Client, kube::Error> {
    let mut config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    Client::try_from(config)
}

/// Waits for the kind to be served, then reconciles until told to stop.
async fn work(client: &Client, controllers: Controllers, readiness: &Readiness) {
    match wait_until_served(client).await {
        CrdState::Same | CrdState::Different | CrdState::Unknown => readiness.crd_is_served(),
    }
    let scopes = controllers.scopes();
    let synced = async {
        for scope in &scopes {
            scope.synced.wait().await;
        }
        readiness.is_synced();
        tracing::info!("ready");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = controllers.run() => {}
        () = synced => {}
    }
}

/// Ends a while after the signal, in case a reconcile does not.
async fn drain(stop: Stop) {
    stop.await;
    tracing::info!("told to stop");
    tokio::time::sleep(DRAIN_TIMEOUT).await;
}

fn stop_signal() -> Result<Stop, AppError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Signals)?;
    let wait = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(wait.boxed().shared())
}
