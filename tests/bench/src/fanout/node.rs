//! Node as a peer: `http` for what is written and for event streams, `ws` for WebSockets.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;

use crate::{
    peers::{Running, installed},
    process::{Process, free_address},
    server::ASK_TIMEOUT,
};

const READY_TIMEOUT: Duration = Duration::from_secs(15);
const READY_INTERVAL: Duration = Duration::from_millis(20);

/// Starts it on `core`; `None` where Node or `ws` is not installed.
pub(super) fn start(directory: &Path, core: Option<usize>) -> Result<Option<Running>> {
    let (Some(node), Some(modules)) = (installed("node"), modules()) else { return Ok(None) };
    let directory = directory.join("node");
    fs::create_dir_all(&directory)?;
    let script = directory.join("fanout.js");
    fs::write(&script, include_str!("../peers/fanout/server.js"))?;
    let addr = free_address()?;
    let mut command = Command::new(node);
    command.arg(script).args([addr.ip().to_string(), addr.port().to_string()]);
    command.env("NODE_PATH", modules);
    let mut process = Process::start(command, core, &directory.join("log"))?;
    let listens = || TcpStream::connect_timeout(&addr, ASK_TIMEOUT).is_ok();
    process.wait_until(READY_TIMEOUT, READY_INTERVAL, listens)?;
    Ok(Some(Running { process, addr }))
}

/// Where `npm ci` put the modules.
fn modules() -> Option<PathBuf> {
    let cache = std::env::var_os("HARPER_TEST_CACHE").map(PathBuf::from);
    let home = || Some(Path::new(&std::env::var_os("HOME")?).join(".cache/harper-tests"));
    let modules = cache.or_else(home)?.join("fanout/node_modules");
    modules.join("ws").is_dir().then_some(modules)
}
