//! Certificates that are exchanged under new connections: 100 swaps of the link in a mounted Secret while a client opens 200 new
//! connections a second, each with a full handshake and one request. Beside nginx, which is told to reload at each.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::{
    Common,
    load::tls,
    peers::{self, Peer, Sample},
    process::Process,
    report::{Goal, Limit, Section, cell, median, note},
    secure::Identity,
    server::{self, Application, Server, Settings},
    wire::{self, Answer},
};

const SWAPS: usize = 100;
/// New connections a second.
const RATE: u32 = 200;
const WORKERS: usize = 2;
/// Time for a connection from its beginning to its answer.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(10);
/// Time for a new certificate to be seen.
const SEEN_TIME_MAX: Duration = Duration::from_secs(15);

/// Runs ours, and nginx where it is installed.
pub(crate) fn run(common: &Common) -> Result<Section> {
    let directory = tempfile::tempdir_in(&common.directory)?;
    let mut all = vec![(Peer::Harper, ours(common, &directory.path().join("ours"))?)];
    match nginx(&directory.path().join("peer"))? {
        Some(outcome) => all.push((Peer::Nginx, outcome)),
        None => note("certs: nginx is not installed"),
    }
    Ok(section(&all))
}

fn ours(common: &Common, directory: &Path) -> Result<Outcome> {
    let binary = server::binary(common.server.as_deref())?;
    let mut mounted = Mounted::new(directory)?;
    let application = Application::empty(directory)?;
    let mut server = Server::start(&Settings {
        binary: &binary,
        directory,
        application: &application,
        workers: WORKERS,
        sync_delay_ms: 0,
        core: None,
        identity: Some(&mounted.identity),
    })?;
    // it sees the change by itself
    let outcome = swap_under_load(server.secure, &mut mounted, || Ok(()))?;
    still_runs(&mut server.process)?;
    Ok(outcome)
}

fn nginx(directory: &Path) -> Result<Option<Outcome>> {
    let mut mounted = Mounted::new(directory)?;
    let answer = Answer { status: 200, headers: Vec::new(), body: b"x".to_vec() };
    let sample = Sample { path: "/x".to_owned(), raw: Vec::new(), answer };
    let identity = Some(&mounted.identity);
    let Some(mut running) = peers::start(Peer::Nginx, &sample, directory, None, identity)? else {
        return Ok(None);
    };
    // what `nginx -s reload` does
    let id = i32::try_from(running.process.id()).ok().and_then(Pid::from_raw);
    let id = id.context("the process has no id")?;
    let reload = || Ok(kill_process(id, Signal::HUP)?);
    let outcome = swap_under_load(running.addr, &mut mounted, reload)?;
    still_runs(&mut running.process)?;
    Ok(Some(outcome))
}

fn still_runs(process: &mut Process) -> Result<()> {
    let ended = process.ended()?;
    ensure!(ended.is_none(), "the server has ended:\n{}", process.log_tail());
    Ok(())
}

/// A certificate as Kubernetes mounts a Secret: files are links into `..data`, a link that is exchanged.
struct Mounted {
    directory: PathBuf,
    identity: Identity,
    /// The number of each certificate.
    known: HashMap<Vec<u8>, usize>,
}

impl Mounted {
    fn new(directory: &Path) -> Result<Self> {
        let directory = directory.join("secret");
        fs::create_dir_all(&directory)?;
        let link = |name: &str| -> Result<PathBuf> {
            let path = directory.join(name);
            symlink(Path::new("..data").join(name), &path)?;
            Ok(path)
        };
        let identity = Identity { certificate: link("tls.crt")?, key: link("tls.key")? };
        let mut mounted = Self { directory, identity, known: HashMap::new() };
        mounted.exchange()?;
        Ok(mounted)
    }

    /// Puts a new certificate in the place of the one before; its number.
    fn exchange(&mut self) -> Result<usize> {
        let number = self.known.len();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let folder = self.directory.join(format!("..{number}"));
        fs::create_dir(&folder)?;
        fs::write(folder.join("tls.crt"), made.cert.pem())?;
        fs::write(folder.join("tls.key"), made.signing_key.serialize_pem())?;
        self.known.insert(made.cert.der().to_vec(), number);
        let fresh = self.directory.join("..data_tmp");
        symlink(format!("..{number}"), &fresh)?;
        fs::rename(&fresh, self.directory.join("..data"))?;
        if number > 0 {
            fs::remove_dir_all(self.directory.join(format!("..{}", number - 1)))?;
        }
        Ok(number)
    }
}

/// What came of it.
#[derive(Default)]
struct Outcome {
    /// Connections that were answered.
    answered: u64,
    /// Why others were not.
    failures: Vec<String>,
    /// Connections that got an older certificate than one before them.
    went_back: u64,
    /// From the exchange to the first connection with the new certificate, in milliseconds; none when there was none in time.
    seen_ms: Vec<Option<f64>>,
    seconds: f64,
}

/// What the connections share.
struct Client {
    addr: SocketAddr,
    known: RefCell<HashMap<Vec<u8>, usize>>,
    newest: Cell<usize>,
    outcome: RefCell<Outcome>,
}

fn swap_under_load(
    addr: SocketAddr,
    mounted: &mut Mounted,
    tell: impl Fn() -> Result<()>,
) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Rc::new(Client {
        addr,
        known: RefCell::new(mounted.known.clone()),
        newest: Cell::default(),
        outcome: RefCell::default(),
    });
    LocalSet::new().block_on(&runtime, async {
        let begun = Instant::now();
        let load = spawn_local(load(Rc::clone(&client)));
        for _ in 0..SWAPS {
            let number = mounted.exchange()?;
            client.known.borrow_mut().clone_from(&mounted.known);
            tell()?;
            let seen = client.sees(number).await;
            client.outcome.borrow_mut().seen_ms.push(seen);
        }
        client.outcome.borrow_mut().seconds = begun.elapsed().as_secs_f64();
        load.abort();
        Ok(client.outcome.take())
    })
}

/// Opens connections; never returns.
async fn load(client: Rc<Client>) {
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    // a late one is made up for
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        ticks.tick().await;
        let client = Rc::clone(&client);
        spawn_local(async move {
            let newest = client.newest.get();
            let attempt = timeout(ATTEMPT_TIME_MAX, client.attempt()).await;
            let got = attempt.unwrap_or_else(|late| Err(late.into()));
            let mut outcome = client.outcome.borrow_mut();
            match got {
                Ok(number) => {
                    outcome.answered += 1;
                    outcome.went_back += u64::from(number < newest);
                    client.newest.set(client.newest.get().max(number));
                }
                Err(error) => outcome.failures.push(format!("{error:#}")),
            }
        });
    }
}

impl Client {
    /// One connection and one request; the number of the certificate.
    async fn attempt(&self) -> Result<usize> {
        let mut stream = tls::connect(self.addr, b"http/1.1").await?;
        let chain = stream.get_ref().1.peer_certificates();
        let own = chain.and_then(|chain| chain.first()).context("there is no certificate")?;
        let number = self.known.borrow().get(own.as_ref()).copied();
        stream.write_all(&wire::request("GET", "/x", "", b"")).await?;
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).await?;
        ensure!(buffer[..count].starts_with(b"HTTP/1.1 "), "there is no answer");
        number.context("nobody knows the certificate")
    }

    /// Waits until a connection has got this certificate; the milliseconds that it took.
    async fn sees(&self, number: usize) -> Option<f64> {
        let begun = Instant::now();
        while self.newest.get() < number {
            if begun.elapsed() > SEEN_TIME_MAX {
                return None;
            }
            sleep(Duration::from_millis(2)).await;
        }
        Some(begun.elapsed().as_secs_f64() * 1e3)
    }
}

fn section(all: &[(Peer, Outcome)]) -> Section {
    let row = |(peer, outcome): &(Peer, Outcome)| {
        let seen: Vec<f64> = outcome.seen_ms.iter().copied().flatten().collect();
        vec![
            peer.name().to_owned(),
            outcome.answered.to_string(),
            outcome.failures.len().to_string(),
            cell(outcome.answered as f64 / outcome.seconds, 0),
            seen.len().to_string(),
            outcome.went_back.to_string(),
            cell(median(seen.iter().copied()), 0),
            cell(seen.iter().copied().fold(f64::NAN, f64::max), 0),
        ]
    };
    let figures = all.iter().map(|(peer, outcome)| {
        json!({
            "server": peer.name(), "answered": outcome.answered, "failures": outcome.failures,
            "wentBack": outcome.went_back, "seenMs": outcome.seen_ms, "seconds": outcome.seconds,
        })
    });
    let ours = &all[0].1;
    let seen = ours.seen_ms.iter().flatten().count();
    let goal = |name, got, limit| Goal { name, got, limit };
    let rate = f64::from(RATE);
    Section {
        title: format!("{SWAPS} swaps of the certificate under {RATE} new connections a second"),
        columns: &[
            "server",
            "connections",
            "failed",
            "a second",
            "swaps seen",
            "went back",
            "seen ms",
            "slowest",
        ],
        rows: all.iter().map(row).collect(),
        goals: vec![
            goal("connections that failed", ours.failures.len() as f64, Limit::AtMost(0.0)),
            goal("swaps that were seen", seen as f64, Limit::AtLeast(SWAPS as f64)),
            goal("connections that went back", ours.went_back as f64, Limit::AtMost(0.0)),
            goal(
                "connections a second",
                ours.answered as f64 / ours.seconds,
                Limit::AtLeast(0.95 * rate),
            ),
        ],
        figures: figures.collect(),
    }
}
