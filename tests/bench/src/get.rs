//! GET by id of a 500-byte record: our server against bare hyper, nginx and Node, in turns on one core.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;

use crate::{
    Common,
    compare::{Comparison, CpuGoal, Field},
    load::{self, Expected, Load},
    peers::{self, Peer, Sample},
    process::cores,
    report::Section,
    secure::Identity,
    server::{self, ASK_TIMEOUT, Application, PASSWORD, Server, Settings, USERNAME},
    wire,
};

/// CPU per request of our server over that of bare hyper.
const OVER_HYPER_MAX: f64 = 1.3;
/// CPU per request of our server over that of Node's `http`.
const OVER_NODE_MAX: f64 = 0.34;
const RECORD_BYTES: usize = 500;
pub(crate) const PATH: &str = "/Item/record-1";

/// What stands in for our server's answer when it takes no part.
const STAND_IN: &str = "HTTP/1.1 200 OK\r\nETag: \"0123456789abcdef\"\r\n\
    Vary: Accept, Accept-Encoding\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\
    Server-Timing: hdb;dur=0.02\r\n\r\n";

/// Runs the comparison.
pub(crate) fn run(common: &Common, peers: &[Peer]) -> Result<Section> {
    let directory = tempfile::tempdir_in(&common.directory)?;
    let core = cores().map(|cores| cores.server);
    let ours = if peers.contains(&Peer::Harper) {
        Some(start_ours(common, directory.path(), core, None)?)
    } else {
        None
    };
    let sample = match &ours {
        Some(server) => sample_of(server)?,
        None => stand_in()?,
    };
    let authorization = wire::basic(USERNAME, PASSWORD);
    let request = wire::request("GET", PATH, &authorization, b"");

    let start = |peer| peers::start(peer, &sample, directory.path(), core, None);
    let ours_at = ours.as_ref().map(|server| (server.http, server.process.id()));
    let all = Field::gather("get", peers, ours_at, start)?;

    let expected = Expected::like(&sample.answer);
    comparison(common).run(common, &all.contenders, |contender, probe| {
        let load = Load::of(common, contender.addr, expected);
        let source = |_| {
            let request = request.clone();
            move |out: &mut Vec<u8>| out.extend_from_slice(&request)
        };
        load::run(load, source, probe)
    })
}

fn comparison(common: &Common) -> Comparison {
    let (connections, rounds, window) = (common.connections, common.rounds, common.window());
    let goal = |name, over: Peer, at_most| CpuGoal {
        name,
        contender: Peer::Harper.name(),
        over: over.name(),
        at_most,
    };
    Comparison {
        label: "get",
        title: format!(
            "GET by id, {RECORD_BYTES} bytes, {connections} connections, medians of {rounds} rounds of {window:?}"
        ),
        baseline: Peer::Hyper.name(),
        columns: &[
            "server",
            "requests/s",
            "× hyper",
            "CPU µs",
            "× hyper",
            "user µs",
            "× hyper",
            "p50 µs",
            "p99 µs",
        ],
        goals: vec![
            goal("CPU per GET over bare hyper", Peer::Hyper, OVER_HYPER_MAX),
            goal("CPU per GET over Node http", Peer::Node, OVER_NODE_MAX),
        ],
    }
}

/// Our server with one worker and an empty table, with a TLS listener where there is an `identity`.
pub(crate) fn start_ours(
    common: &Common,
    directory: &Path,
    core: Option<usize>,
    identity: Option<&Identity>,
) -> Result<Server> {
    let application = Application::one_table(directory)?;
    Server::start(&Settings {
        binary: &server::binary(common.server.as_deref())?,
        directory,
        application: &application,
        workers: 1,
        sync_delay_ms: 0,
        core,
        identity,
    })
}

/// Stores a record that reads back as `RECORD_BYTES` bytes, and keeps the answer for the peers.
pub(crate) fn sample_of(server: &Server) -> Result<Sample> {
    let authorization = wire::basic(USERNAME, PASSWORD);
    let get = wire::request("GET", PATH, &authorization, b"");
    let mut padding = RECORD_BYTES / 2;
    // The first answer tells how many bytes the server adds, such as the key.
    for _ in 0..2 {
        let body = json!({ "group": "a", "text": "x".repeat(padding) }).to_string();
        let put = wire::request("PUT", PATH, &authorization, body.as_bytes());
        let put = wire::ask(server.http, &put, ASK_TIMEOUT)?;
        if put.status != 204 {
            bail!("PUT answered {}: {}", put.status, String::from_utf8_lossy(&put.body));
        }
        let raw = wire::ask_raw(server.http, &get, ASK_TIMEOUT)?;
        let answer = wire::parse(&raw)?;
        if answer.status != 200 {
            bail!("GET answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        if answer.body.len() == RECORD_BYTES {
            return Ok(Sample { path: PATH.to_owned(), raw, answer });
        }
        padding = (padding + RECORD_BYTES).saturating_sub(answer.body.len());
    }
    bail!("the record could not be made {RECORD_BYTES} bytes long")
}

fn stand_in() -> Result<Sample> {
    let mut raw = STAND_IN.as_bytes().to_vec();
    raw.extend(std::iter::repeat_n(b'x', RECORD_BYTES));
    let answer = wire::parse(&raw)?;
    Ok(Sample { path: PATH.to_owned(), raw, answer })
}
