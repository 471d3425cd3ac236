//! `kill -9` while messages go to sessions that last: QoS 1 loses none, QoS 2 loses none and brings none twice.
//!
//! `HARPER_LOSS_SUBSCRIBERS=1000 HARPER_LOSS_KILLS=10 cargo test -p harper-tests loss -- --nocapture` is the full size:
//! so many subscribers of each quality of service.

mod client;
mod publisher;
mod subscriber;

use crate::harness::{Home, Random, Server, eventually};
use harper_mqtt::Qos;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, ScopedJoinHandle};
use std::time::{Duration, Instant};
use subscriber::Heard;

/// Subscribers of each quality of service, where the environment names no number.
const SUBSCRIBERS: u64 = 25;
/// The same for how often the server is killed.
const KILLS: u64 = 3;
/// Of a thread; there are as many as subscribers.
const STACK_BYTES: usize = 256 * 1024;
/// How long subscribers may take to hear the last message, beyond a second for each thousand deliveries.
const LAST_TIMEOUT: Duration = Duration::from_secs(60);

/// What those who take part tell each other.
struct Stage {
    broker: SocketAddr,
    /// Messages that are published to the end: the broker has them.
    published: AtomicU64,
    /// No new message is begun any more.
    is_closing: AtomicBool,
    /// Every message was published to the end; `published` is how many there are.
    is_over: AtomicBool,
    /// Subscribers whose subscription the broker has agreed to.
    subscribed: AtomicU64,
    /// When who still waits gives up.
    gives_up: AtomicBool,
}

#[test]
fn sessions_that_last_miss_nothing_over_kill_9() {
    allow_open_files();
    let subscribers = number("HARPER_LOSS_SUBSCRIBERS", SUBSCRIBERS);
    let kills = number("HARPER_LOSS_KILLS", KILLS);
    let home = Home::with_schema("type T @table @export { id: ID @primaryKey }");
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let stage = Stage {
        broker: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        published: AtomicU64::new(0),
        is_closing: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
        subscribed: AtomicU64::new(0),
        gives_up: AtomicBool::new(false),
    };
    let server = start(&home, port);
    let (heard, total) = std::thread::scope(|scope| {
        let spawn = |number: u64, qos| {
            let builder = Builder::new().stack_size(STACK_BYTES);
            let stage = &stage;
            let work = move || subscriber::run(stage, &format!("subscriber-{number}"), qos);
            builder.spawn_scoped(scope, work).unwrap()
        };
        let all: Vec<ScopedJoinHandle<'_, Heard>> = (0..2 * subscribers)
            .map(|number| spawn(number, [Qos::AtLeastOnce, Qos::ExactlyOnce][number as usize % 2]))
            .collect();
        let is_ready =
            || (stage.subscribed.load(Ordering::Relaxed) == 2 * subscribers).then_some(());
        wait_long("every subscription", is_ready);
        let publisher = scope.spawn(|| publisher::run(&stage));
        let server = kill(server, &home, port, kills, &stage);
        stage.is_closing.store(true, Ordering::Relaxed);
        publisher.join().unwrap();
        let total = stage.published.load(Ordering::Relaxed);
        let begun = Instant::now();
        let patience = LAST_TIMEOUT + Duration::from_millis(total * subscribers * 2);
        while all.iter().any(|one| !one.is_finished()) && begun.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(50));
        }
        stage.gives_up.store(true, Ordering::Relaxed);
        let heard: Vec<Heard> = all.into_iter().map(|one| one.join().unwrap()).collect();
        drop(server);
        (heard, total)
    });
    judge(&heard, total, kills);
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// Allows as many open files as the system lets this process have; each subscriber is one, here and in the server.
fn allow_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

fn start(home: &Arc<Home>, port: u16) -> Server {
    // the password is that of the root already after the first start: no hash is computed
    let launch = home.launch().set("threads.count=2");
    launch.set(&format!("mqtt.network.port=127.0.0.1:{port}")).start()
}

/// Kills the server again and again, each time when messages have gone through; returns the last one.
fn kill(mut server: Server, home: &Arc<Home>, port: u16, kills: u64, stage: &Stage) -> Server {
    let mut random = Random(u64::from(port) | 1);
    for _ in 0..kills {
        let before = stage.published.load(Ordering::Relaxed);
        let has_moved = || (stage.published.load(Ordering::Relaxed) > before + 10).then_some(());
        wait_long("messages that go through", has_moved);
        std::thread::sleep(Duration::from_millis(200 + random.below(1000)));
        server.signal(Signal::KILL);
        drop(server);
        server = start(home, port);
    }
    server
}

/// As `eventually`, for what a thousand clients do after each other.
fn wait_long(what: &str, mut ask: impl FnMut() -> Option<()>) {
    let begun = Instant::now();
    while begun.elapsed() < LAST_TIMEOUT {
        if ask().is_some() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    eventually(what, ask);
}

/// Counts what was lost and what came twice.
fn judge(heard: &[Heard], total: u64, kills: u64) {
    assert!(total > kills * 10, "only {total} messages: that was no load");
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let of: Vec<_> = heard.iter().filter(|heard| heard.qos == qos).collect();
        let lost: u64 = of.iter().map(|heard| heard.missing(total)).sum();
        let doubled: u64 = of.iter().map(|heard| heard.doubled()).sum();
        let again: u64 = of.iter().map(|heard| heard.connections - 1).sum();
        let count = of.len();
        println!(
            "{qos:?}: {count} subscribers, {total} messages, {kills} kills, {again} times connected again: {lost} lost, {doubled} doubled"
        );
        for one in of.iter().filter(|one| one.missing(total) > 0).take(3) {
            println!("{}: first missing {:?}", one.client_id, one.first_missing(total));
        }
        assert_eq!(lost, 0, "{qos:?} lost messages");
        assert!(qos == Qos::AtLeastOnce || doubled == 0, "{qos:?} brought messages twice");
    }
}
