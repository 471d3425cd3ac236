//! The servers that ours is compared with. Each answers one path with the bytes that our server answered when it was
//! asked first: the same status and body, and the same headers where the peer allows.

mod h2o;
pub(crate) mod hyper;
mod nginx;

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{Process, free_address},
    secure::Identity,
    server::ASK_TIMEOUT,
    wire::{self, Answer},
};

const READY_TIMEOUT: Duration = Duration::from_secs(15);
const READY_INTERVAL: Duration = Duration::from_millis(20);

/// A program to compare with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Peer {
    /// The server under test.
    Harper,
    /// hyper on one thread, without anything around it.
    Hyper,
    /// nginx with one worker, from a file.
    Nginx,
    /// h2o with one thread, from a file.
    H2o,
    /// Node's `http` module, which parses nothing but the request.
    Node,
}

impl Peer {
    /// The name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Harper => "harper-server",
            Self::Hyper => "bare hyper",
            Self::Nginx => "nginx, a file",
            Self::H2o => "h2o, a file",
            Self::Node => "node http",
        }
    }
}

/// What a peer has to answer, and at which path.
pub(crate) struct Sample {
    pub(crate) path: String,
    /// The response as our server wrote it.
    pub(crate) raw: Vec<u8>,
    pub(crate) answer: Answer,
}

/// A peer that answers.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
}

/// Starts a peer on `core` with its files under `directory`, with TLS where there is an `identity`; `None` when its
/// program is not installed.
pub(crate) fn start(
    peer: Peer,
    sample: &Sample,
    directory: &Path,
    core: Option<usize>,
    identity: Option<&Identity>,
) -> Result<Option<Running>> {
    let directory = directory.join(format!("{peer:?}").to_lowercase());
    fs::create_dir_all(&directory)?;
    let addr = free_address()?;
    let command = match peer {
        Peer::Harper => bail!("our server is not started as a peer"),
        Peer::Hyper => Some(hyper_command(sample, &directory, addr)?),
        Peer::Nginx => nginx::command(sample, &directory, addr, identity)?,
        Peer::H2o => h2o::command(sample, &directory, addr, identity)?,
        Peer::Node => node_command(sample, &directory, addr)?,
    };
    let Some(command) = command else { return Ok(None) };
    let log = directory.join("log");
    if identity.is_none() {
        return run(peer.name(), command, addr, sample, &log, core).map(Some);
    }
    let mut process = Process::start(command, core, &log)?;
    // the load checks the answers
    let is_ready = || TcpStream::connect_timeout(&addr, ASK_TIMEOUT).is_ok();
    let ready = process.wait_until(READY_TIMEOUT, READY_INTERVAL, is_ready);
    ready.with_context(|| format!("{} does not listen", peer.name()))?;
    Ok(Some(Running { process, addr }))
}

/// Starts a program and waits until it answers as the sample does.
pub(crate) fn run(
    name: &str,
    command: Command,
    addr: SocketAddr,
    sample: &Sample,
    log: &Path,
    core: Option<usize>,
) -> Result<Running> {
    let mut process = Process::start(command, core, log)?;
    let request = wire::request("GET", &sample.path, "", b"");
    process
        .wait_until(READY_TIMEOUT, READY_INTERVAL, || {
            wire::ask(addr, &request, ASK_TIMEOUT).is_ok_and(|answer| {
                answer.status == sample.answer.status && answer.body == sample.answer.body
            })
        })
        .with_context(|| format!("{name} does not answer as it should"))?;
    Ok(Running { process, addr })
}

fn hyper_command(sample: &Sample, directory: &Path, addr: SocketAddr) -> Result<Command> {
    let file = write_answer(sample, directory)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["peer-hyper", "--address", &addr.to_string(), "--answer"]).arg(file);
    Ok(command)
}

fn node_command(sample: &Sample, directory: &Path, addr: SocketAddr) -> Result<Option<Command>> {
    let Some(node) = installed("node") else { return Ok(None) };
    let script = directory.join("peer.js");
    fs::write(&script, include_str!("peers/node.js"))?;
    let file = write_answer(sample, directory)?;
    let mut command = Command::new(node);
    command.arg(script).args([addr.ip().to_string(), addr.port().to_string()]).arg(file);
    Ok(Some(command))
}

/// Writes the response for a peer that reads it at its start.
fn write_answer(sample: &Sample, directory: &Path) -> Result<PathBuf> {
    let file = directory.join("answer");
    fs::write(&file, &sample.raw)?;
    Ok(file)
}

/// The path of an installed program; administrators' programs need not be on a user's `PATH`.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}
