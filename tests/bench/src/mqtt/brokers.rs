//! The brokers that take part: mosquitto, and our server with one worker and with two.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::Result;

use super::client::Endpoint;
use crate::{
    Common,
    peers::installed,
    process::{Process, cores, free_address},
    report::note,
    server::{self, ASK_TIMEOUT, Application, PASSWORD, Server, Settings, USERNAME},
};

pub(crate) const MOSQUITTO: &str = "mosquitto";
pub(crate) const OURS: &str = "ours, 1 worker";
pub(crate) const OURS_TWICE: &str = "ours, 2 workers";

const READY_TIMEOUT: Duration = Duration::from_secs(15);
const READY_INTERVAL: Duration = Duration::from_millis(20);

/// A broker that takes part, and ends when it is dropped.
pub(crate) struct Broker {
    pub(crate) name: &'static str,
    pub(crate) endpoint: Endpoint,
    /// The number of its process.
    pub(crate) process: u32,
    /// Threads among which the kernel spreads its connections.
    pub(crate) workers: usize,
    _running: Running,
}

/// What keeps a broker alive.
enum Running {
    Mosquitto { _process: Process },
    Ours { _server: Box<Server> },
}

/// Starts all that are installed; a line tells who is left out.
pub(crate) fn gather(common: &Common, directory: &Path) -> Result<Vec<Broker>> {
    let core = cores().map(|cores| cores.server);
    let mut brokers = Vec::new();
    match mosquitto(&directory.join("mosquitto"), core)? {
        Some(broker) => brokers.push(broker),
        None => note("mqtt: mosquitto is not installed and is left out"),
    }
    for (name, workers, core) in [(OURS, 1, core), (OURS_TWICE, 2, None)] {
        let directory = directory.join(format!("ours-{workers}"));
        match ours(common, name, workers, core, &directory)? {
            Some(broker) => brokers.push(broker),
            None => note(&format!("mqtt: {name} speaks no MQTT and is left out")),
        }
    }
    Ok(brokers)
}

/// mosquitto as it is configured by default, which keeps nothing on disk, on a port of its own.
fn mosquitto(directory: &Path, core: Option<usize>) -> Result<Option<Broker>> {
    let Some(program) = installed("mosquitto") else { return Ok(None) };
    fs::create_dir_all(directory)?;
    let addr = free_address()?;
    let (ip, port) = (addr.ip(), addr.port());
    let configuration = directory.join("mosquitto.conf");
    fs::write(&configuration, format!("listener {port} {ip}\nallow_anonymous true\n"))?;
    note(&format!("mqtt: {}", version(&program)?));
    let mut command = Command::new(program);
    command.arg("-c").arg(configuration);
    let mut process = Process::start(command, core, &directory.join("log"))?;
    process.wait_until(READY_TIMEOUT, READY_INTERVAL, || listens(addr))?;
    let endpoint = Endpoint { addr, login: None };
    let id = process.id();
    let _running = Running::Mosquitto { _process: process };
    Ok(Some(Broker { name: MOSQUITTO, endpoint, process: id, workers: 1, _running }))
}

/// The first line of its help, which names its version.
fn version(program: &Path) -> Result<String> {
    let help = Command::new(program).arg("-h").output()?;
    let help = String::from_utf8_lossy(&help.stdout);
    Ok(help.lines().next().unwrap_or("mosquitto of an unknown version").to_owned())
}

fn ours(
    common: &Common,
    name: &'static str,
    workers: usize,
    core: Option<usize>,
    directory: &Path,
) -> Result<Option<Broker>> {
    fs::create_dir_all(directory)?;
    let server = Server::start(&Settings {
        binary: &server::binary(common.server.as_deref())?,
        directory,
        application: &Application::one_table(directory)?,
        workers,
        sync_delay_ms: 0,
        core,
        identity: None,
    })?;
    if !listens(server.mqtt) {
        return Ok(None);
    }
    let endpoint = Endpoint { addr: server.mqtt, login: Some((USERNAME, PASSWORD)) };
    let process = server.process.id();
    let _running = Running::Ours { _server: Box::new(server) };
    Ok(Some(Broker { name, endpoint, process, workers, _running }))
}

fn listens(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, ASK_TIMEOUT).is_ok()
}
