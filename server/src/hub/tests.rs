//! The hub over a real store, on one worker and on two.

mod law;
mod messages;

use super::*;
use crate::auth::authority::Authority;
use crate::metrics::{Metrics, Protocol};
use crate::pool::Pool;
use harper_config::Realtime;
use harper_store::{
    Attribute, Database, Hooks, Key, KeyValue, Kind, Observing, Op, Operation, Options,
    Precondition, Prepared, Query, Store, Table, TableSchema,
};
use lens::Whole;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::LocalSet;

const LIMITS: Realtime = Realtime {
    subscriptions_max: 100,
    outbox_bytes_max: 64 * 1024,
    inbox_bytes_max: 1 << 20,
    held_bytes_max: 1 << 20,
};

struct Fixture {
    _root: tempfile::TempDir,
    hub: Arc<Hub>,
    database: Arc<Database>,
    table: Table,
    authority: Arc<Authority>,
    pool: Pool,
    metrics: Metrics,
}

impl Fixture {
    fn new() -> Self {
        Self::with(&Options::default())
    }

    fn with(options: &Options) -> Self {
        let root = tempfile::tempdir().unwrap();
        let hub = Arc::new(Hub::default());
        let observer: Arc<dyn Observer> = Arc::<Hub>::clone(&hub);
        let hooks = Hooks { observing: Observing::by(observer), ..Hooks::default() };
        let options = Options { free_bytes_min: 0, map_bytes: 64 << 20, ..options.clone() };
        let store =
            Store::open_with(root.path(), &root.path().join("database"), options, hooks).unwrap();
        let system = store.database("system").unwrap();
        let settings = settings();
        let authority = Authority::open(&system, &root.path().join("keys"), &settings).unwrap();
        let database = store.database("data").unwrap();
        let schema = TableSchema::new("data", "T", vec![Attribute::new("id", Kind::Id)]);
        let table = database.define(schema).unwrap();
        let pool = Pool::start("test", 1, 64).unwrap();
        let (authority, metrics) = (Arc::new(authority), Metrics::default());
        Self { _root: root, hub, database, table, authority, pool, metrics }
    }

    /// A worker of its own; its task runs on the thread that this is called on.
    fn local(&self, limits: Realtime) -> Rc<Local> {
        let (hub, pool) = (Arc::clone(&self.hub), self.pool.clone());
        let authority = Arc::clone(&self.authority);
        let local = Local::new(hub, pool, self.metrics.worker(), authority, limits);
        tokio::task::spawn_local(Rc::clone(&local).run());
        local
    }

    fn put(&self, key: &str, size: usize) -> u64 {
        put(&self.database, &self.table, key, size)
    }

    fn delete(&self, key: &str) {
        let (table, key, when) = (self.table.clone(), text(key), Precondition::None);
        let op = Op::Delete { table, key, when, extra: bytes::Bytes::new() };
        self.database.commit(vec![op]).unwrap();
    }

    fn watch(&self, filter: Filter, start: Start) -> Watch {
        Watch {
            tag: 1,
            table: self.table.clone(),
            database: Arc::clone(&self.database),
            filter,
            lens: Rc::new(Whole),
            start,
            query: Query::default(),
            overflow: Overflow::Drop,
        }
    }

    fn message(&self, key: &str) -> Event {
        Event {
            table: self.table.identity(),
            sequence: 0,
            version: 0,
            origin: 0,
            operation: Operation::Message,
            key: text(key),
            body: Some(bytes::Bytes::from(vec![b'm'; 1000])),
            is_content: false,
            expires_ms: 0,
            extra: bytes::Bytes::new(),
        }
    }

    fn counted(&self, what: &str) -> f64 {
        use prometheus::core::Collector;
        // a page cannot be written without any
        self.metrics.worker().request("GET", http::StatusCode::OK, Duration::ZERO);
        let page = prometheus::TextEncoder::new().encode_to_string(&self.metrics.collect());
        let page = page.unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {what}")).parse().unwrap()
    }
}

fn settings() -> harper_config::Authentication {
    harper_config::load(&harper_config::Sources::default()).config.unwrap().authentication
}

fn put(database: &Database, table: &Table, key: &str, size: usize) -> u64 {
    let text_body = format!(r#"{{"text":"{}"}}"#, "x".repeat(size));
    let body = Prepared::put(&table.schema(), text_body.as_bytes()).unwrap();
    let op = Op::Put { table: table.clone(), key: text(key), body, when: Precondition::None };
    database.commit(vec![op]).unwrap()[0].meta.sequence
}

fn text(key: &str) -> Key {
    Key::encode(&KeyValue::String(key.into())).unwrap()
}

fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(60), work).await.expect("it ends in time");
    });
}

/// What was told, in short.
fn short(delivery: &Delivery) -> String {
    match &delivery.what {
        What::Told(told, way) => {
            let key = told.event.key.to_text();
            format!("{way:?} {} {key}", told.kind(*way))
        }
        What::Complete(sequence) => format!("complete {sequence}"),
        What::Reset => "reset".to_owned(),
        What::End(end) => format!("end {end:?}"),
    }
}

async fn next(outbox: &Outbox, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(short(&outbox.next().await));
    }
    all
}

#[test]
fn records_that_are_there_come_first_and_then_what_happens() {
    run(async {
        let fixture = Fixture::new();
        fixture.put("a", 1);
        fixture.put("b/1", 1);
        let local = fixture.local(LIMITS);
        let outbox = local.outbox(Protocol::Mqtt);
        let all = local.subscribe(&outbox, fixture.watch(Filter::All, Start::Current)).unwrap();
        assert_eq!(next(&outbox, 3).await, ["Current put a", "Current put b/1", "complete 2"]);
        fixture.put("c", 1);
        fixture.delete("a");
        assert_eq!(next(&outbox, 2).await, ["Change put c", "Change delete a"]);
        let one = fixture.watch(Filter::Key(text("c")), Start::Current);
        let one = local.subscribe(&outbox, Watch { tag: 2, ..one }).unwrap();
        assert_eq!(next(&outbox, 2).await, ["Current put c", "complete 4"]);
        drop(all);
        fixture.put("d", 1);
        fixture.put("c", 1);
        let delivery = outbox.next().await;
        assert_eq!((delivery.tag, &*short(&delivery)), (2, "Change put c"));
        assert_eq!(fixture.counted("harper_realtime_subscriptions{protocol=\"mqtt\"}"), 1.0);
        drop(one);
        assert_eq!(fixture.counted("harper_realtime_subscriptions{protocol=\"mqtt\"}"), 0.0);
        assert_eq!(fixture.hub.interest(fixture.table.identity()), Interest::None);
    });
}

#[test]
fn a_subscription_goes_on_where_it_was_and_anew_where_that_is_unknown() {
    let anew = ["reset", "Current put a", "Current put b", "Current put c", "complete 3"];
    let after = |is_own: bool, sequence| (is_own, Start::After { epoch: 0, sequence });
    let cases: [((bool, Start), &[&str]); 7] = [
        (after(true, 1), &["Change put b", "Change put c"]),
        (after(true, 3), &[]),
        ((true, Start::Since(0)), &["Change put a", "Change put b", "Change put c"]),
        ((true, Start::Last(1)), &["Change put c"]),
        ((true, Start::Now), &[]),
        (after(false, 1), &anew),
        (after(true, 9), &anew),
    ];
    for ((is_own, mut start), expected) in cases {
        let fixture = Fixture::new();
        for key in ["a", "b", "c"] {
            fixture.put(key, 1);
        }
        if let Start::After { epoch, .. } = &mut start {
            *epoch = if is_own { fixture.database.epoch() } else { !fixture.database.epoch() };
        }
        run(async {
            let local = fixture.local(LIMITS);
            let outbox = local.outbox(Protocol::EventStream);
            let watch = fixture.watch(Filter::All, start);
            let _open = local.subscribe(&outbox, watch).unwrap();
            assert_eq!(next(&outbox, expected.len()).await, expected, "{start:?}");
            fixture.put("z", 1);
            assert_eq!(next(&outbox, 1).await, ["Change put z"], "{start:?}");
        });
    }
}

/// Takes what comes until `last` has been told; every key, in order.
async fn keys_until(outbox: &Outbox, last: &str, pause: Duration) -> Vec<String> {
    let mut keys = Vec::new();
    loop {
        let delivery = outbox.next().await;
        match &delivery.what {
            What::Told(told, _) => keys.push(told.event.key.to_text()),
            What::Complete(_) => {}
            What::Reset | What::End(_) => panic!("{}", short(&delivery)),
        }
        if keys.last().is_some_and(|key| key == last) {
            return keys;
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

fn key(number: usize) -> String {
    format!("{number:06}")
}

/// Writes records from a thread of its own while `read` takes what comes of them.
fn while_written(
    fixture: &Fixture,
    numbers: std::ops::Range<usize>,
    size: usize,
    read: impl Future<Output = ()>,
) {
    std::thread::scope(|scope| {
        let (database, table) = (&fixture.database, &fixture.table);
        scope.spawn(move || {
            for number in numbers {
                put(database, table, &key(number), size);
            }
        });
        run(read);
    });
}

#[test]
fn every_change_is_told_once_and_in_order_however_slow_the_reader() {
    for (outbox, inbox) in [(64 << 10, 1 << 20), (4 << 10, 1 << 20), (64 << 10, 1), (1, 1)] {
        let limits = Realtime { outbox_bytes_max: outbox, inbox_bytes_max: inbox, ..LIMITS };
        let fixture = Fixture::new();
        while_written(&fixture, 0..600, 200, async {
            let local = fixture.local(limits);
            let (fast, slow) = (local.outbox(Protocol::EventStream), local.outbox(Protocol::Mqtt));
            let open = [&fast, &slow].map(|outbox| {
                local.subscribe(outbox, fixture.watch(Filter::All, Start::Current)).unwrap()
            });
            let last = key(599);
            let keys = tokio::join!(
                keys_until(&fast, &last, Duration::ZERO),
                keys_until(&slow, &last, Duration::from_millis(1)),
            );
            let all: Vec<_> = (0..600).map(key).collect();
            assert_eq!(keys.0, all, "outbox {outbox}, inbox {inbox}");
            assert_eq!(keys.1, all, "outbox {outbox}, inbox {inbox}");
            // by now both are live, and this is more than there is room for
            let more: Vec<_> = (600..604).map(key).collect();
            for key in &more {
                fixture.put(key, 3000);
            }
            for outbox in [&fast, &slow] {
                assert_eq!(keys_until(outbox, &more[3], Duration::ZERO).await, more);
            }
            drop(open);
            assert_eq!(local.held.get(), 0, "what was told is forgotten");
        });
        let catch_ups = |scope: &str| {
            fixture.counted(&format!("harper_realtime_catch_ups_total{{scope=\"{scope}\"}}"))
        };
        if outbox < 8 << 10 {
            assert!(catch_ups("subscription") > 0.0, "outbox {outbox}");
        }
        if inbox == 1 {
            assert!(catch_ups("table") > 0.0, "inbox {inbox}");
        }
    }
}

#[test]
fn records_in_many_pages_and_the_changes_meanwhile_are_told_once() {
    let fixture = Fixture::new();
    for number in 0..500 {
        fixture.put(&key(number), 400);
    }
    while_written(&fixture, 500..900, 400, async {
        let local = fixture.local(Realtime { outbox_bytes_max: 16 << 10, ..LIMITS });
        let outbox = local.outbox(Protocol::EventStream);
        let _open = local.subscribe(&outbox, fixture.watch(Filter::All, Start::Current)).unwrap();
        let keys = keys_until(&outbox, &key(899), Duration::from_micros(100)).await;
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(keys.len(), sorted.len(), "none twice");
        assert_eq!(sorted, (0..900).map(key).collect::<Vec<_>>(), "none lost");
    });
}

#[test]
fn workers_are_told_of_the_same() {
    let fixture = Fixture::new();
    let watching = || {
        run(async {
            let local = fixture.local(LIMITS);
            let outbox = local.outbox(Protocol::EventStream);
            let pattern = Filter::Pattern(Pattern::parse("+").unwrap());
            let _open = local.subscribe(&outbox, fixture.watch(pattern, Start::Current)).unwrap();
            let keys = keys_until(&outbox, &key(299), Duration::ZERO).await;
            assert_eq!(keys, (0..300).map(key).collect::<Vec<_>>());
        });
    };
    std::thread::scope(|scope| {
        scope.spawn(watching);
        scope.spawn(watching);
        for number in 0..300 {
            fixture.put(&key(number), 10);
        }
    });
}

/// Lets the log be pruned under a subscriber, or under a whole worker, which has no turn while the records are written.
fn falls_behind(limits: Realtime, has_turns: bool) {
    let options = Options { log_bytes_max: 2000, ..Options::default() };
    let fixture = Fixture::with(&options);
    run(async {
        let local = fixture.local(limits);
        let outbox = local.outbox(Protocol::EventStream);
        let _open = local.subscribe(&outbox, fixture.watch(Filter::All, Start::Current)).unwrap();
        assert_eq!(next(&outbox, 1).await, ["complete 0"]);
        for number in 0..300 {
            fixture.put(&key(number), 300);
            if has_turns {
                tokio::task::yield_now().await;
            }
        }
        let (mut resets, mut current) = (0, Vec::new());
        loop {
            match outbox.next().await.what {
                What::Reset => {
                    resets += 1;
                    current.clear();
                }
                What::Told(told, _) => current.push(told.event.key.to_text()),
                What::Complete(_) if resets > 0 => break,
                What::Complete(_) => {}
                What::End(end) => panic!("{end:?}"),
            }
        }
        assert_eq!(current, (0..300).map(key).collect::<Vec<_>>());
        for key in ["y", "z"] {
            fixture.put(key, 1);
            assert_eq!(next(&outbox, 1).await, [format!("Change put {key}")]);
        }
        assert!(fixture.counted("harper_realtime_resets_total") >= 1.0);
    });
}

#[test]
fn one_who_falls_behind_the_log_begins_anew() {
    falls_behind(Realtime { outbox_bytes_max: 1000, ..LIMITS }, true);
    falls_behind(Realtime { inbox_bytes_max: 1, ..LIMITS }, false);
}

#[test]
fn what_a_worker_holds_is_bounded() {
    let fixture = Fixture::new();
    run(async {
        let limits = Realtime { outbox_bytes_max: 1 << 20, held_bytes_max: 20_000, ..LIMITS };
        let local = fixture.local(limits);
        let outboxes: Vec<_> = (0..5).map(|_| local.outbox(Protocol::EventStream)).collect();
        let open: Vec<_> = outboxes
            .iter()
            .map(|outbox| {
                local.subscribe(outbox, fixture.watch(Filter::All, Start::Current)).unwrap()
            })
            .collect();
        for number in 0..200 {
            fixture.put(&key(number), 500);
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(local.held.get() < 40_000, "{}", local.held.get());
        for outbox in &outboxes {
            let keys = keys_until(outbox, &key(199), Duration::ZERO).await;
            assert_eq!(keys, (0..200).map(key).collect::<Vec<_>>());
        }
        drop(open);
    });
}

#[test]
fn subscriptions_are_limited_and_end_with_the_worker() {
    let fixture = Fixture::new();
    run(async {
        let local = fixture.local(Realtime { subscriptions_max: 2, ..LIMITS });
        let outbox = local.outbox(Protocol::WebSocket);
        let watch = || fixture.watch(Filter::All, Start::Now);
        let first = local.subscribe(&outbox, watch()).unwrap();
        let second = local.subscribe(&outbox, watch()).unwrap();
        let refused = local.subscribe(&outbox, watch()).err().unwrap();
        assert_eq!(refused.code, crate::error::Code::Overloaded);
        drop(first);
        let third = local.subscribe(&outbox, watch()).unwrap();
        local.end_all(End::Stopping);
        assert_eq!(next(&outbox, 2).await, ["end Stopping"; 2]);
        drop((second, third));
        let late = local.subscribe(&outbox, watch()).unwrap();
        assert_eq!(next(&outbox, 1).await, ["end Stopping"]);
        drop(late);
        local.reopen();
        let _again = local.subscribe(&outbox, watch()).unwrap();
        fixture.put("a", 1);
        assert_eq!(next(&outbox, 1).await, ["Change put a"]);
        assert_eq!(fixture.counted("harper_rejected_total{reason=\"subscriptions\"}"), 1.0);
    });
}

#[test]
fn the_log_keeps_every_value_for_those_who_may_come_back() {
    let fixture = Fixture::new();
    let keeper = fixture.hub.keep(fixture.table.identity());
    assert_eq!(fixture.hub.interest(fixture.table.identity()), Interest::Durable);
    fixture.put("a", 1);
    fixture.put("a", 2);
    drop(keeper);
    assert_eq!(fixture.hub.interest(fixture.table.identity()), Interest::None);
    fixture.put("a", 3);
    fixture.put("a", 4);
    run(async {
        let local = fixture.local(LIMITS);
        let outbox = local.outbox(Protocol::Mqtt);
        let start = Start::After { epoch: fixture.database.epoch(), sequence: 0 };
        let _open = local.subscribe(&outbox, fixture.watch(Filter::All, start)).unwrap();
        let mut sequences = Vec::new();
        for _ in 0..3 {
            let What::Told(told, _) = outbox.next().await.what else { panic!() };
            sequences.push(told.event.sequence);
        }
        assert_eq!(sequences, [1, 2, 4], "the third was replaced before anybody asked");
    });
}
