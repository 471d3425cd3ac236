//! One writer and 5,000 listeners over WebSocket and over Server-Sent Events: our server against Node with `ws`.

mod client;
mod node;

use std::{path::Path, rc::Rc};

use anyhow::Result;
use tokio::task::JoinSet;

use self::client::{Protocol, listen, write};
use crate::{
    Common,
    deliveries::{Contest, Figure, Target},
    flow::{self, Delivered, Flow, Pace},
    get,
    idle::{self, Resting},
    load::on_the_client,
    peers::Running,
    process::{ThreadTimes, cores},
    report::{Limit, Section, note},
    server::Server,
};

const OURS: &str = "ours, 1 worker";
const NODE: &str = "node";
/// Deliveries for each CPU second over those of Node.
const OVER_NODE_MIN: f64 = 5.0;
const IDLE_BYTES_MAX: f64 = 10_000.0;
const LISTENERS: usize = 5000;
/// Records that may be on their way, and connections that write, each one record after the other. With few of them a server waits
/// for its writers; with many it is as fast as it can be.
const WINDOWS: [usize; 2] = [4, 16];

const COLUMNS: &[&str] = &[
    "server",
    "deliveries/s",
    "/CPU s",
    "× node",
    "/busiest s",
    "× node",
    "p50 µs",
    "p99 µs",
    "missing",
];

/// Those that take part; they end with it.
struct Field {
    ours: Server,
    node: Option<Running>,
}

/// Runs both protocols, as far as our server speaks them: idle connections, then the contest.
pub(crate) fn run(common: &Common) -> Result<Vec<Section>> {
    idle::raise_files_max()?;
    let mut sections = Vec::new();
    for protocol in [Protocol::WebSocket, Protocol::EventStream] {
        // servers of its own: what others have left in an allocator would hide what connections take
        let directory = tempfile::tempdir_in(&common.directory)?;
        let field = Field::gather(common, directory.path())?;
        if on_the_client(client::open(field.ours.http, protocol)).is_err() {
            note(&format!("fanout: our server speaks no {} and is left out", protocol.name()));
            continue;
        }
        sections.push(field.idle_section(protocol)?);
        for records in WINDOWS {
            sections.push(field.contest(common, protocol, records)?);
        }
    }
    Ok(sections)
}

impl Field {
    fn gather(common: &Common, directory: &Path) -> Result<Self> {
        let core = cores().map(|cores| cores.server);
        let ours = get::start_ours(common, directory, core, None)?;
        let node = node::start(directory, core)?;
        if node.is_none() {
            note("fanout: Node or its `ws` is not installed and is left out; see README.md");
        }
        Ok(Self { ours, node })
    }

    /// Name, address and process of each.
    fn members(&self) -> Vec<(&'static str, std::net::SocketAddr, u32)> {
        let ours = (OURS, self.ours.http, self.ours.process.id());
        let node = self.node.as_ref().map(|node| (NODE, node.addr, node.process.id()));
        std::iter::once(ours).chain(node).collect()
    }

    fn contest(&self, common: &Common, protocol: Protocol, records: usize) -> Result<Section> {
        let (rounds, window) = (common.rounds, common.window());
        let members = self.members();
        let names: Vec<_> = members.iter().map(|(name, ..)| *name).collect();
        let contest = Contest {
            label: format!("fanout {} {records}", protocol.name()),
            title: format!(
                "{}, 1 to {LISTENERS}, {records} records under way, medians of {rounds} rounds of {window:?}",
                protocol.name()
            ),
            baseline: NODE,
            columns: COLUMNS,
            targets: targets(protocol, records),
        };
        contest.run(common, &names, |place| {
            let (_, addr, process) = members[place];
            on_the_client(async move {
                let flow = Flow::new(LISTENERS, Pace::Window(records));
                load(addr, protocol, records, &flow, common, || ThreadTimes::of(process)).await
            })
        })
    }

    fn idle_section(&self, protocol: Protocol) -> Result<Section> {
        let members = self.members();
        let resting: Vec<_> =
            members.iter().map(|&(name, _, process)| Resting { name, process }).collect();
        let target =
            idle::Target { name: protocol.idle_goal(), server: OURS, bytes_max: IDLE_BYTES_MAX };
        let title = format!("Idle {} connections", protocol.name());
        idle::run(&title, &resting, &[target], async |place, _| {
            client::open(members[place].1, protocol).await
        })
    }
}

/// The goal is for a server that is as fast as it can be.
fn targets(protocol: Protocol, records: usize) -> Vec<Target> {
    let goal = Target {
        name: protocol.goal(),
        contender: OURS,
        figure: Figure::PerCpu,
        limit: Limit::AtLeast(OVER_NODE_MIN),
    };
    if Some(&records) == WINDOWS.last() { vec![goal] } else { Vec::new() }
}

/// One turn of one server.
async fn load(
    addr: std::net::SocketAddr,
    protocol: Protocol,
    writers: usize,
    flow: &Rc<Flow>,
    common: &Common,
    probe: impl Fn() -> Result<ThreadTimes>,
) -> Result<Delivered<ThreadTimes>> {
    let mut connections = JoinSet::new();
    for _ in 0..LISTENERS {
        let stream = client::open(addr, protocol).await?;
        connections.spawn_local(listen(stream, protocol, Rc::clone(flow)));
    }
    for writer in 0..writers {
        connections.spawn_local(write(addr, writer, Rc::clone(flow)));
    }
    flow::measure(flow, connections, common.window(), probe).await
}
