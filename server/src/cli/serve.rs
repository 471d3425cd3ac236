//! `run` and `dev`: log → configuration → applications → start → announce → wait for the signal → drain.

use super::reload::Followed;
use super::sources::{self, Command, Keys};
use super::{Failed, Options, say};
use crate::app::{Addresses, App, Plan};
use crate::components;
use crate::listen::Reach;
use crate::otlp;
use crate::telemetry::{self, NOTIFY};
use crate::tls;
use notify::Watcher;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Changes of files that come within this time are one change.
const SETTLE: Duration = Duration::from_millis(150);

/// Serves until the process is told to stop.
pub(super) fn run(options: &Options, command: Command, keys: Keys) -> Result<(), Failed> {
    let settings = sources::read(options, command, keys.clone())?;
    let (report, _) = sources::report(&settings.loaded.problems);
    let folders = sources::folders(&settings.loaded, settings.app.as_ref())?;
    let Some(mut config) = settings.loaded.config.clone() else {
        return Err(Failed::Usage(report));
    };
    config.root_path = sources::at_home(&config.root_path);
    let socket = &mut config.operations_api.domain_socket;
    *socket = socket.take().map(|path| sources::at_home(&path));
    let guard =
        telemetry::start(&config.logging).map_err(|error| Failed::Error(error.to_string()))?;
    for problem in &settings.loaded.problems {
        tracing::warn!("{problem}");
    }
    let (applications, problems) = components::load_all(&folders);
    let (report, failed) = sources::report(&problems);
    if failed {
        return Err(Failed::Usage(report));
    }
    for problem in &problems {
        tracing::warn!("{problem}");
    }
    let traces =
        otlp::start(&config.telemetry).map_err(|error| Failed::Error(error.to_string()))?;
    let credentials = sources::credentials()?;
    let reach = if command == Command::Dev { Reach::Loopback } else { Reach::Everyone };
    let root = config.root_path.clone();
    let certificates = config.is_secure().then(|| tls::Followed::open(&config, &root));
    let certificates =
        certificates.transpose().map_err(|error| Failed::Usage(error.to_string()))?;
    let app = App::start(Plan { config, root, applications, reach, credentials, certificates });
    let app = app.map_err(|error| Failed::Error(format!("error: {error}")))?;
    // before anybody hears that it serves: whoever then has it stop is heard
    let signals = Signals::listen().map_err(|error| Failed::Error(error.to_string()))?;
    announce(&app.addresses, command)?;
    let watched = settings.app.clone().filter(|_| command == Command::Dev);
    let followed = Followed::new(options, command, keys, settings);
    // closing the terminal ends what a person runs in it
    let is_attended = command == Command::Dev || std::io::stdout().is_terminal();
    let all_finished = until_stopped(signals, app, watched, followed, is_attended);
    drop(traces);
    drop(guard);
    if all_finished { Ok(()) } else { Err(Failed::Error(String::new())) }
}

fn announce(at: &Addresses, command: Command) -> Result<(), Failed> {
    let url = |scheme: &str, address: std::net::SocketAddr| match address.ip().is_unspecified() {
        true => format!("{scheme}://localhost:{}/", address.port()),
        false => format!("{scheme}://{address}/"),
    };
    if let Some(address) = at.http {
        tracing::info!(target: NOTIFY, "serving on {address}");
        let is_reachable = !address.ip().to_canonical().is_loopback();
        if is_reachable && command == Command::Run && at.https.is_none() {
            tracing::warn!(target: NOTIFY, "passwords cross the network unencrypted: no TLS listener exists");
        }
    }
    if let Some(address) = at.https {
        tracing::info!(target: NOTIFY, "serving with TLS on {address}");
    }
    for address in &at.operations {
        tracing::info!(target: NOTIFY, "operations on {address}");
    }
    if let Some(address) = at.mqtt {
        tracing::info!(target: NOTIFY, "MQTT on {address}");
    }
    if let Some(address) = at.mqtts {
        tracing::info!(target: NOTIFY, "MQTT with TLS on {address}");
    }
    if let Some(path) = &at.operations_socket {
        tracing::info!(target: NOTIFY, "operations of this machine at {}", path.display());
    }
    if let Some(address) = at.admin {
        tracing::info!(target: NOTIFY, "metrics and probes on {address}");
    }
    if command == Command::Dev && std::io::stdout().is_terminal() {
        let plain = at.http.map(|address| url("http", address));
        let http = plain.or_else(|| at.https.map(|address| url("https", address)));
        let http = http.unwrap_or_default();
        let admin = at.admin.map(|address| url("http", address)).unwrap_or_default();
        say(&format!("\n  application  {http}\n  metrics      {admin}metrics\n\n"))?;
    }
    Ok(())
}

/// What the process is told by signals, with the runtime that hears them.
struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    left_alone: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let guard = runtime.enter();
        let [terminate, interrupt] = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        let [hangup, left_alone] = [SignalKind::hangup(); 2].map(signal);
        drop(guard);
        let (terminate, interrupt) = (terminate?, interrupt?);
        Ok(Self { runtime, terminate, interrupt, hangup: hangup?, left_alone: left_alone? })
    }
}

/// Follows what changes until the process is told to stop, then stops; told again, it gives up on what is under way.
/// SIGHUP is one more reason to read the configuration, or to stop where a person attends to the process. Returns
/// whether all requests finished.
fn until_stopped(
    signals: Signals,
    app: App,
    watched: Option<PathBuf>,
    mut followed: Followed<'_>,
    is_attended: bool,
) -> bool {
    let Signals { runtime, mut terminate, mut interrupt, mut hangup, mut left_alone } = signals;
    runtime.block_on(async {
        let mut told_to_stop = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = left_alone.recv(), if is_attended => {}
            }
        };
        tokio::select! {
            () = told_to_stop() => {}
            () = follow(&app, watched) => {}
            () = followed.follow(&app, &mut hangup) => {}
        }
        app.stop(told_to_stop()).await
    })
}

/// Reloads the application whenever one of its files changes; never returns.
async fn follow(app: &App, watched: Option<PathBuf>) {
    let Some(folder) = watched else { return std::future::pending().await };
    let (changed, mut changes) = mpsc::channel(1);
    let inside = folder.clone();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| concerns(&inside, &event)) {
            // one waiting note is enough
            let _ = changed.try_send(());
        }
    });
    let started = watcher.and_then(|mut watcher| {
        watcher.watch(&folder, notify::RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    let _watcher = match started {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "changes of the application cannot be followed");
            return std::future::pending().await;
        }
    };
    while changes.recv().await.is_some() {
        tokio::time::sleep(SETTLE).await;
        while changes.try_recv().is_ok() {}
        reload(app, &folder);
    }
}

fn concerns(folder: &Path, event: &notify::Event) -> bool {
    let is_change = !event.kind.is_access();
    let is_ours = |path: &PathBuf| {
        let relative = path.strip_prefix(folder).unwrap_or(path);
        !relative.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'))
    };
    is_change && event.paths.iter().any(is_ours)
}

fn reload(app: &App, folder: &Path) {
    let (applications, problems) = components::load_all(&[folder.to_owned()]);
    for problem in &problems {
        tracing::warn!("{problem}");
    }
    if sources::report(&problems).1 {
        return tracing::warn!("the application has errors; the one before goes on");
    }
    match app.replace(&applications) {
        Ok(()) => tracing::info!(target: NOTIFY, "reloaded {}", folder.display()),
        Err(error) => {
            tracing::warn!(%error, "the application cannot be taken; the one before goes on")
        }
    }
}
