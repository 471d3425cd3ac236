//! HTTPS: the GET by id of `get` over TLS 1.3, with HTTP/1.1 and with HTTP/2, against nginx and h2o, with one certificate
//! for all.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    Common,
    compare::{Comparison, CpuGoal, Field},
    get,
    load::{self, Expected, Get, Load},
    peers::{self, Peer},
    process::cores,
    report::Section,
    server::{PASSWORD, USERNAME},
    wire,
};

/// CPU per request of our server over that of nginx.
const OVER_NGINX_MAX: f64 = 1.0;
/// Requests in flight on a connection of HTTP/2.
const STREAMS: usize = 16;
/// Connections of HTTP/2.
const HTTP2_CONNECTIONS: usize = 4;
const PEERS: [Peer; 3] = [Peer::Harper, Peer::Nginx, Peer::H2o];

/// The files of a certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Identity {
    /// A new certificate for `localhost`, with an ECDSA P-256 key.
    fn generate(directory: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let identity =
            Self { certificate: directory.join("certificate.pem"), key: directory.join("key.pem") };
        fs::write(&identity.certificate, made.cert.pem())?;
        fs::write(&identity.key, made.signing_key.serialize_pem())?;
        Ok(identity)
    }
}

/// Runs both comparisons.
pub(crate) fn run(common: &Common) -> Result<Vec<Section>> {
    let directory = tempfile::tempdir_in(&common.directory)?;
    let core = cores().map(|cores| cores.server);
    let identity = Identity::generate(directory.path())?;
    let ours = get::start_ours(common, directory.path(), core, Some(&identity))?;
    let sample = get::sample_of(&ours)?;
    let start = |peer| peers::start(peer, &sample, directory.path(), core, Some(&identity));
    let all = Field::gather("secure", &PEERS, Some((ours.secure, ours.process.id())), start)?;
    let request = Get { path: get::PATH, authorization: wire::basic(USERNAME, PASSWORD) };
    let expected = Expected::like(&sample.answer);
    let protocols = [("https", common.connections, None), ("h2", HTTP2_CONNECTIONS, Some(STREAMS))];
    let sections = protocols.into_iter().map(|(label, connections, streams)| {
        comparison(common, label, connections, streams).run(
            common,
            &all.contenders,
            |contender, probe| {
                let load = Load { connections, ..Load::of(common, contender.addr, expected) };
                load::run_secure(load, &request, streams, probe)
            },
        )
    });
    sections.collect()
}

fn comparison(
    common: &Common,
    label: &'static str,
    connections: usize,
    streams: Option<usize>,
) -> Comparison {
    let (rounds, window) = (common.rounds, common.window());
    let protocol = match streams {
        None => format!("HTTP/1.1, {connections} connections"),
        Some(streams) => format!("HTTP/2, {connections} connections of {streams} streams"),
    };
    Comparison {
        label,
        title: format!(
            "GET by id over TLS 1.3, {protocol}, medians of {rounds} rounds of {window:?}"
        ),
        baseline: Peer::Nginx.name(),
        columns: &[
            "server",
            "requests/s",
            "× nginx",
            "CPU µs",
            "× nginx",
            "user µs",
            "× nginx",
            "p50 µs",
            "p99 µs",
        ],
        goals: vec![CpuGoal {
            name: "CPU per GET over nginx",
            contender: Peer::Harper.name(),
            over: Peer::Nginx.name(),
            at_most: OVER_NGINX_MAX,
        }],
    }
}
