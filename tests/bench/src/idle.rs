//! Memory that a server needs for connections on which nothing happens.

use std::time::Duration;

use anyhow::Result;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::sleep};

use crate::{
    load::on_the_client,
    process::anonymous_bytes,
    report::{Goal, Limit, Section, cell, note},
};

/// How many connections are opened, where the limit of open files allows it.
const CONNECTIONS: [usize; 2] = [1000, 20_000];
/// Connections that come before the first look, so that what is made once is made.
const WARM_UP_CONNECTIONS: usize = 100;
/// Files of a server or of this process that are no such connections.
const OTHER_FILES: usize = 300;
/// After which a server has settled.
const REST: Duration = Duration::from_secs(2);

/// A server whose memory is looked at.
pub(crate) struct Resting<'a> {
    pub(crate) name: &'a str,
    /// The number of its process.
    pub(crate) process: u32,
}

/// A bound for the bytes of one server's connection, where most are open.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) server: &'static str,
    pub(crate) bytes_max: f64,
}

/// Allows as many open files as the system lets this process have, and its children with it; returns how many.
pub(crate) fn raise_files_max() -> Result<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(maximum.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX))
}

/// Opens connections to each server in turn and looks at what they take. `open` makes the one of this number to the
/// server at this place.
pub(crate) fn run(
    title: &str,
    servers: &[Resting<'_>],
    targets: &[Target],
    open: impl AsyncFn(usize, usize) -> Result<TcpStream>,
) -> Result<Section> {
    let files_max = raise_files_max()?;
    let most = files_max.saturating_sub(OTHER_FILES);
    let counts = CONNECTIONS.map(|count| count.min(most));
    if counts != CONNECTIONS {
        note(&format!("{title}: {files_max} open files are allowed, so {counts:?} connections"));
    }
    let (mut rows, mut figures, mut goals) = (Vec::new(), Vec::new(), Vec::new());
    for (place, server) in servers.iter().enumerate() {
        let bytes = on_the_client(bytes_each(server.process, counts, async |number| {
            open(place, number).await
        }))?;
        note(&format!("{title}: {} {bytes:.0?} bytes at {counts:?} connections", server.name));
        rows.push(vec![server.name.to_owned(), cell(bytes[0], 0), cell(bytes[1], 0)]);
        figures.push(json!({ "server": server.name, "connections": counts, "bytes": bytes }));
        let bound = targets.iter().filter(|target| target.server == server.name);
        goals.extend(bound.map(|target| Goal {
            name: target.name,
            got: bytes[1],
            limit: Limit::AtMost(target.bytes_max),
        }));
    }
    Ok(Section {
        title: format!("{title}, RssAnon bytes for each of {} and of {}", counts[0], counts[1]),
        columns: &["server", "bytes, fewer", "bytes, most"],
        rows,
        goals,
        figures: Value::Array(figures),
    })
}

/// Bytes for each connection, at each of two numbers of them.
async fn bytes_each(
    process: u32,
    counts: [usize; 2],
    open: impl AsyncFn(usize) -> Result<TcpStream>,
) -> Result<[f64; 2]> {
    let mut connections = Vec::new();
    let mut grow = async |count: usize| {
        while connections.len() < count {
            connections.push(open(connections.len()).await?);
        }
        sleep(REST).await;
        Ok::<_, anyhow::Error>(anonymous_bytes(process)? as f64)
    };
    let before = grow(WARM_UP_CONNECTIONS).await?;
    let mut each = [f64::NAN; 2];
    for (bytes, count) in each.iter_mut().zip(counts) {
        *bytes = (grow(count).await? - before) / (count - WARM_UP_CONNECTIONS) as f64;
    }
    Ok(each)
}
