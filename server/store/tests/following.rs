//! The law of subscriptions: who registers, opens a snapshot and then follows what is told, and
//! reads the log where something is missing, sees every change once and in order, whatever happens
//! between the steps of the writer.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use common::{attribute, delete, events, key, options, put, schema};
use harper_store::{
    Database, Error, Event, Hooks, Interest, Kind, Message, Observer, Observing, Op, Options,
    Prepared, Reached, Store, Table, TableId,
};
use proptest::prelude::*;
use tempfile::TempDir;

/// What a subscriber does at a step of the writer.
#[derive(Debug, Clone, Copy)]
enum Action {
    Nothing,
    Join(Interest),
    /// Leaves, and comes back to where it was.
    Leave,
    /// Takes what was told.
    Take,
    /// Loses what was told, as when it was too much.
    Lose,
}

enum Told {
    Event(Event),
    Reached(u64),
}

/// One subscriber of one table, by the rule.
struct Subscriber {
    interest: Interest,
    /// Where it began.
    begin: Option<u64>,
    cursor: u64,
    inbox: VecDeque<Told>,
    reads_log: bool,
    /// Sequence numbers and versions.
    seen: Vec<(u64, u64)>,
}

impl Subscriber {
    fn new() -> Subscriber {
        let (inbox, seen) = (VecDeque::new(), Vec::new());
        let interest = Interest::None;
        Subscriber { interest, begin: None, cursor: 0, inbox, reads_log: false, seen }
    }

    fn act(&mut self, action: Action, database: &Database, table: &Table) {
        match action {
            Action::Nothing => {}
            Action::Join(interest) => {
                self.interest = interest;
                let txn = database.read_registered().unwrap();
                if self.begin.is_none() {
                    self.cursor = table.last_sequence(&txn).unwrap();
                    self.begin = Some(self.cursor);
                } else {
                    self.reads_log = true;
                }
            }
            Action::Leave => {
                self.interest = Interest::None;
                self.inbox.clear();
            }
            Action::Take => self.take(database, table),
            Action::Lose => {
                self.reads_log |= !self.inbox.is_empty();
                self.inbox.clear();
            }
        }
    }

    fn take(&mut self, database: &Database, table: &Table) {
        if self.interest == Interest::None {
            return;
        }
        if std::mem::take(&mut self.reads_log) {
            self.read_log(database, table);
        }
        while let Some(told) = self.inbox.pop_front() {
            match told {
                Told::Event(event) if event.sequence <= self.cursor => {}
                Told::Event(event) if event.sequence == self.cursor + 1 => self.see(&event),
                Told::Event(_) => self.read_log(database, table),
                Told::Reached(sequence) if sequence <= self.cursor => {}
                Told::Reached(_) => self.read_log(database, table),
            }
        }
    }

    fn see(&mut self, event: &Event) {
        self.seen.push((event.sequence, event.version));
        self.cursor = event.sequence;
    }

    fn read_log(&mut self, database: &Database, table: &Table) {
        let txn = database.read().unwrap();
        loop {
            let told = events(&txn, table, self.cursor, 3).unwrap();
            for event in &told.events {
                self.see(event);
            }
            // the changes here are such that none is overtaken
            assert_eq!(self.cursor, told.reached);
            if told.reached == told.last {
                return;
            }
        }
    }

    /// All that happened since it began.
    fn to_see(&self, database: &Database, table: &Table) -> Vec<(u64, u64)> {
        let txn = database.read().unwrap();
        let told = events(&txn, table, self.begin.unwrap(), usize::MAX).unwrap();
        let all: Vec<_> = told.events.iter().map(|e| (e.sequence, e.version)).collect();
        assert_eq!(all.len() as u64, told.last - self.begin.unwrap());
        all
    }

    fn told(&mut self, events: Vec<Event>, reached: &[Reached]) {
        if self.interest != Interest::None {
            self.inbox.extend(events.into_iter().map(Told::Event));
            self.inbox.extend(reached.iter().map(|reached| Told::Reached(reached.sequence)));
        }
    }
}

/// An observer with one subscriber, who acts by a script at each call, or is left alone.
struct Stage {
    subscriber: Mutex<Subscriber>,
    script: Mutex<VecDeque<Action>>,
    place: OnceLock<(Weak<Database>, Table)>,
}

impl Stage {
    fn new(script: Vec<Action>) -> Arc<Stage> {
        let (subscriber, script) = (Mutex::new(Subscriber::new()), Mutex::new(script.into()));
        Arc::new(Stage { subscriber, script, place: OnceLock::new() })
    }

    fn open(self: &Arc<Stage>, options: Options) -> (TempDir, Arc<Database>, Table) {
        let root = tempfile::tempdir().unwrap();
        let hooks = Hooks { observing: Observing::by(self.clone()), ..Hooks::default() };
        let path = root.path().join("database");
        let store = Store::open_with(root.path(), &path, options, hooks).unwrap();
        let database = store.database("data").unwrap();
        let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
        self.place.set((Arc::downgrade(&database), table.clone())).unwrap();
        (root, database, table)
    }

    fn step(&self) {
        let Some((database, table)) = self.place.get() else { return };
        let Some(database) = database.upgrade() else { return };
        if let Some(action) = self.script.lock().unwrap().pop_front() {
            self.subscriber.lock().unwrap().act(action, &database, table);
        }
    }
}

impl Observer for Stage {
    fn interest(&self, _table: TableId) -> Interest {
        self.step();
        self.subscriber.lock().unwrap().interest
    }

    fn committed(&self, events: Vec<Event>, reached: &[Reached]) {
        self.step();
        self.subscriber.lock().unwrap().told(events, reached);
        self.step();
    }
}

fn message(table: &Table) -> Op {
    let message = Message { body: Bytes::from_static(b"m"), ..Message::default() };
    Op::Message { table: table.clone(), key: key(table, "a"), message }
}

/// A transaction of some kind; the last is refused.
fn transaction(table: &Table, kind: u8, number: usize) -> Vec<Op> {
    let id = number.to_string();
    match kind {
        0 => vec![message(table)],
        1 => vec![put(table, &id, "{}")],
        2 => vec![message(table), put(table, &id, "{}"), delete(table, "none"), message(table)],
        _ => {
            let body = Prepared::put(&table.schema(), b"{}").unwrap();
            let exists = Op::Insert { table: table.clone(), key: Some(key(table, "here")), body };
            vec![message(table), exists]
        }
    }
}

/// Commits transactions that most likely share one batch, as they all wait while the first is
/// written.
fn commit_together(database: &Database, table: &Table, kinds: &[u8], number: usize) {
    let (send, receive) = sync_channel(kinds.len());
    for (at, kind) in kinds.iter().enumerate() {
        let (send, refused) = (send.clone(), *kind > 2);
        let done = move |result: Result<_, Error>| {
            assert_eq!(result.is_err(), refused);
            send.send(()).unwrap();
        };
        database.submit(transaction(table, *kind, number + at), Box::new(done)).unwrap();
    }
    drop(send);
    assert_eq!(receive.iter().count(), kinds.len(), "a callback panicked");
}

fn interest() -> impl Strategy<Value = Interest> {
    prop_oneof![Just(Interest::Notice), Just(Interest::Bodies), Just(Interest::Durable)]
}

fn script() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        3 => Just(Action::Nothing),
        3 => interest().prop_map(Action::Join),
        1 => Just(Action::Leave),
        2 => Just(Action::Take),
        1 => Just(Action::Lose),
    ];
    proptest::collection::vec(action, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whoever_follows_the_rule_sees_each_change_once(
        script in script(),
        groups in proptest::collection::vec(proptest::collection::vec(0..4u8, 1..5), 1..12),
        batch_bytes_max in prop_oneof![Just(200), Just(1 << 20)],
    ) {
        let stage = Stage::new(script);
        let (_root, database, table) = stage.open(Options { batch_bytes_max, ..options() });
        database.commit(vec![put(&table, "here", "{}")]).unwrap();
        for (number, group) in groups.iter().enumerate() {
            commit_together(&database, &table, group, number * 10);
        }
        stage.script.lock().unwrap().clear();
        let mut subscriber = stage.subscriber.lock().unwrap();
        if subscriber.interest == Interest::None {
            subscriber.act(Action::Join(Interest::Bodies), &database, &table);
        }
        subscriber.take(&database, &table);
        prop_assert_eq!(&subscriber.seen, &subscriber.to_see(&database, &table));
    }
}

#[test]
fn threads_that_come_while_others_write_miss_nothing() {
    for _ in 0..10 {
        let stage = Stage::new(Vec::new());
        let (_root, database, table) = stage.open(options());
        let stop = Arc::new(AtomicBool::new(false));
        let writers = [0, 1].map(|writer| {
            let (database, table, stop) = (database.clone(), table.clone(), stop.clone());
            thread::spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let op = put(&table, &format!("{writer} {number}"), "{}");
                    database.commit(vec![op, message(&table)]).unwrap();
                }
            })
        });
        let begin = || stage.subscriber.lock().unwrap();
        thread::sleep(Duration::from_millis(5));
        begin().act(Action::Join(Interest::Bodies), &database, &table);
        for round in 0..40 {
            thread::sleep(Duration::from_millis(1));
            let mut subscriber = begin();
            match round % 8 {
                3 => subscriber.act(Action::Lose, &database, &table),
                6 => {
                    subscriber.act(Action::Leave, &database, &table);
                    subscriber.act(Action::Join(Interest::Bodies), &database, &table);
                }
                _ => subscriber.take(&database, &table),
            }
        }
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let mut subscriber = begin();
        subscriber.take(&database, &table);
        assert_eq!(subscriber.seen, subscriber.to_see(&database, &table));
    }
}

#[test]
fn whoever_registers_while_a_commit_waits_for_the_disk_is_told_of_it() {
    let stage = Stage::new(Vec::new());
    let sync_delay = Duration::from_millis(300);
    let (_root, database, table) = stage.open(Options { sync_delay, ..options() });
    let writer = {
        let (database, op) = (database.clone(), message(&table));
        thread::spawn(move || database.commit(vec![op]).unwrap())
    };
    thread::sleep(Duration::from_millis(100));
    stage.subscriber.lock().unwrap().act(Action::Join(Interest::Bodies), &database, &table);
    writer.join().unwrap();
    let mut subscriber = stage.subscriber.lock().unwrap();
    subscriber.take(&database, &table);
    assert_eq!(subscriber.seen, subscriber.to_see(&database, &table));
}
