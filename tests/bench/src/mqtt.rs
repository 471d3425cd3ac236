//! MQTT: our broker against mosquitto, with one client for both.

mod brokers;
mod client;

use std::rc::Rc;

use anyhow::{Result, bail};
use harper_mqtt::{Qos, Text};
use tokio::task::JoinSet;

use self::{
    brokers::{Broker, MOSQUITTO, OURS, OURS_TWICE},
    client::{Link, Publishing, publish, receive},
};
use crate::{
    Common,
    deliveries::{Contest, Figure, Target},
    flow::{self, Delivered, Flow, Pace},
    idle::{self, Resting},
    load::on_the_client,
    process::ThreadTimes,
    report::{Limit, Section},
};

/// Deliveries for each CPU second over those of mosquitto.
const OVER_MOSQUITTO_MIN: f64 = 1.0;
/// Deliveries for each second of the busiest of two workers over those of mosquitto.
const TWO_WORKERS_OVER_MOSQUITTO_MIN: f64 = 1.7;
const P99_MILLIS_MAX: f64 = 5.0;
const IDLE_BYTES_MAX: f64 = 10_000.0;
/// Events a second where the time on the way is measured.
const EVENTS_PER_SECOND: f64 = 10_000.0;
const LISTENERS: usize = 100;
const MANY: usize = 1000;
/// Connections that are opened at most until one is where it is wanted.
const PLACES_MAX: usize = 64;
/// Signs of life by which the thread of a connection is found.
const PINGS: usize = 50;

const COLUMNS: &[&str] = &[
    "broker",
    "deliveries/s",
    "/CPU s",
    "× mosquitto",
    "/busiest s",
    "× mosquitto",
    "p50 µs",
    "p99 µs",
    "missing",
];

/// Who publishes to whom.
#[derive(Clone)]
struct Scenario {
    label: &'static str,
    words: &'static str,
    publishers: usize,
    subscribers: usize,
    /// Whether each subscriber gets every message; else it has a topic of its own.
    is_shared: bool,
    qos: Qos,
    pace: Pace,
    /// The most messages that leave with one write.
    batch: usize,
    /// Whether throughput or time is the goal.
    goal: Goal,
}

#[derive(Clone, Copy, PartialEq)]
enum Goal {
    Throughput,
    Latency,
    /// Only to be looked at.
    None,
}

/// Runs all scenarios; `only` names the one that is wanted.
pub(crate) fn run(common: &Common, only: Option<&str>) -> Result<Vec<Section>> {
    idle::raise_files_max()?;
    let directory = tempfile::tempdir_in(&common.directory)?;
    let brokers = brokers::gather(common, directory.path())?;
    let names: Vec<&'static str> = brokers.iter().map(|broker| broker.name).collect();
    let wanted = |label: &str| {
        only.is_none_or(|only| label.split(',').next().is_some_and(|first| first == only))
    };
    let mut sections = Vec::new();
    // first: what a load has left in an allocator would hide what connections take
    if wanted("idle") {
        sections.push(idle_section(&brokers)?);
    }
    for scenario in scenarios().into_iter().filter(|scenario| wanted(scenario.label)) {
        sections.push(scenario.contest(common).run(common, &names, |place| {
            let broker = &brokers[place];
            let probe = || ThreadTimes::of(broker.process);
            on_the_client(scenario.load(broker, common, probe))
        })?);
    }
    Ok(sections)
}

fn scenarios() -> Vec<Scenario> {
    let one = Scenario {
        label: "1-1, QoS 0",
        words: "1 publisher, 1 subscriber, QoS 0",
        publishers: 1,
        subscribers: 1,
        is_shared: true,
        qos: Qos::AtMostOnce,
        pace: Pace::Window(500),
        batch: 64,
        goal: Goal::Throughput,
    };
    let out = Scenario {
        label: "1-1000, QoS 0",
        words: "1 publisher, 1,000 subscribers, QoS 0",
        subscribers: MANY,
        pace: Pace::Window(8),
        batch: 8,
        ..one
    };
    let back = Scenario {
        label: "1000-1, QoS 0",
        words: "1,000 publishers, 1 subscriber, QoS 0",
        publishers: MANY,
        batch: 1,
        ..one
    };
    let spread = Scenario {
        label: "time, spread",
        words: "10,000 messages/s, each to one of 100 subscribers, QoS 0",
        subscribers: LISTENERS,
        is_shared: false,
        pace: Pace::Rate(EVENTS_PER_SECOND),
        goal: Goal::Latency,
        ..one
    };
    let each = Scenario {
        label: "time, shared",
        words: "100 messages/s, each to 100 subscribers, QoS 0",
        is_shared: true,
        pace: Pace::Rate(EVENTS_PER_SECOND / LISTENERS as f64),
        ..spread
    };
    let flood = Scenario {
        label: "time, flood",
        words: "10,000 messages/s, each to 100 subscribers, QoS 0",
        pace: Pace::Rate(EVENTS_PER_SECOND),
        goal: Goal::None,
        ..each
    };
    let qos1 = |scenario: &Scenario, label, words| Scenario {
        label,
        words,
        qos: Qos::AtLeastOnce,
        ..scenario.clone()
    };
    // as many as mosquitto has in flight to a subscriber; 2.0.11 does not deliver all but two of them, however many they are
    let back1 = Scenario { pace: Pace::Window(20), ..back };
    let one1 = qos1(&one, "1-1, QoS 1", "1 publisher, 1 subscriber, QoS 1");
    let out1 = qos1(&out, "1-1000, QoS 1", "1 publisher, 1,000 subscribers, QoS 1");
    let back1 = qos1(&back1, "1000-1, QoS 1", "1,000 publishers, 1 subscriber, QoS 1");
    vec![one, one1, out, out1, back, back1, spread, each, flood]
}

impl Scenario {
    fn contest(&self, common: &Common) -> Contest {
        let (rounds, window) = (common.rounds, common.window());
        let target = |name, contender, figure, limit| Target { name, contender, figure, limit };
        Contest {
            label: format!("mqtt {}", self.label),
            title: format!("MQTT, {}, medians of {rounds} rounds of {window:?}", self.words),
            baseline: MOSQUITTO,
            columns: COLUMNS,
            targets: match self.goal {
                Goal::Throughput => vec![
                    target(
                        "messages per CPU second over mosquitto",
                        OURS,
                        Figure::PerCpu,
                        Limit::AtLeast(OVER_MOSQUITTO_MIN),
                    ),
                    target(
                        "messages per second of the busiest of two workers over mosquitto",
                        OURS_TWICE,
                        Figure::PerThread,
                        Limit::AtLeast(TWO_WORKERS_OVER_MOSQUITTO_MIN),
                    ),
                ],
                Goal::Latency => vec![target(
                    "p99 from publisher to subscriber in ms",
                    OURS,
                    Figure::P99Millis,
                    Limit::AtMost(P99_MILLIS_MAX),
                )],
                Goal::None => Vec::new(),
            },
        }
    }

    /// One turn of one broker.
    async fn load(
        &self,
        broker: &Broker,
        common: &Common,
        probe: impl Fn() -> Result<ThreadTimes>,
    ) -> Result<Delivered<ThreadTimes>> {
        let endpoint = &broker.endpoint;
        let copies = if self.is_shared { self.subscribers } else { 1 };
        let flow = Flow::new(copies, self.pace);
        let mut connections = JoinSet::new();
        let mut subscriber_at = None;
        for number in 0..self.subscribers {
            let mut link = Link::open(endpoint, &format!("subscriber-{number}")).await?;
            link.subscribe(&self.filter(number), self.qos).await?;
            if self.is_a_pair() {
                subscriber_at = thread_of(broker, &mut link).await?;
            }
            connections.spawn_local(receive(link, Rc::clone(&flow)));
        }
        // none begins before all are there
        let mut links = Vec::new();
        for number in 0..self.publishers {
            let id = format!("publisher-{number}");
            let link = match self.is_a_pair() && broker.workers > 1 {
                true => open_elsewhere(broker, &id, subscriber_at).await?,
                false => Link::open(endpoint, &id).await?,
            };
            let topics = self.topics(number)?;
            links.push((link, Publishing { topics, qos: self.qos, batch: self.batch }));
        }
        for (link, publishing) in links {
            connections.spawn_local(publish(link, publishing, Rc::clone(&flow)));
        }
        flow::measure(&flow, connections, common.window(), probe).await
    }

    fn is_a_pair(&self) -> bool {
        (self.publishers, self.subscribers) == (1, 1)
    }

    /// What a subscriber asks for.
    fn filter(&self, subscriber: usize) -> String {
        match (self.is_shared, self.publishers) {
            (true, 1) => "Item/all".to_owned(),
            (true, _) => "Item/+".to_owned(),
            (false, _) => format!("Item/subscriber-{subscriber}"),
        }
    }

    /// Where a publisher publishes, in turn.
    fn topics(&self, publisher: usize) -> Result<Rc<[Text]>> {
        let names: Vec<String> = match (self.is_shared, self.publishers) {
            (true, 1) => vec!["Item/all".to_owned()],
            (true, _) => vec![format!("Item/publisher-{publisher}")],
            (false, _) => (0..self.subscribers).map(|number| self.filter(number)).collect(),
        };
        let topics: Result<Vec<Text>, _> = names.into_iter().map(Text::try_from).collect();
        Ok(topics?.into())
    }
}

/// Opens a connection that another thread of the broker serves than `thread`: which does is the kernel's choice, made by the port
/// that a connection comes from.
async fn open_elsewhere(broker: &Broker, id: &str, thread: Option<u32>) -> Result<Link> {
    for _ in 0..PLACES_MAX {
        let mut link = Link::open(&broker.endpoint, id).await?;
        let other = thread_of(broker, &mut link).await?;
        if other.is_some() && thread.is_some() && other != thread {
            return Ok(link);
        }
    }
    bail!("{PLACES_MAX} connections in a row were served by one thread of {}", broker.name)
}

/// The thread that serves a connection: the one that is busy when it is spoken on.
async fn thread_of(broker: &Broker, link: &mut Link) -> Result<Option<u32>> {
    let before = ThreadTimes::of(broker.process)?;
    for _ in 0..PINGS {
        link.ping().await?;
    }
    Ok(ThreadTimes::of(broker.process)?.busiest_since(&before))
}

/// Connections with a subscription each, to which nothing is sent.
fn idle_section(brokers: &[Broker]) -> Result<Section> {
    let resting: Vec<_> = brokers
        .iter()
        .map(|broker| Resting { name: broker.name, process: broker.process })
        .collect();
    let target = |server| idle::Target {
        name: "bytes of an idle MQTT connection",
        server,
        bytes_max: IDLE_BYTES_MAX,
    };
    idle::run(
        "Idle MQTT connections with a subscription",
        &resting,
        &[target(OURS), target(OURS_TWICE)],
        async |place, number| {
            let mut link = Link::open(&brokers[place].endpoint, &format!("idle-{number}")).await?;
            link.subscribe(&format!("Item/idle-{number}"), Qos::AtMostOnce).await?;
            Ok(link.into_stream())
        },
    )
}
