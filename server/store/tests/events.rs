//! Events and messages: told on commit, and read from the log.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{attribute, commit, delete, events, insert, key, options, patch, put, schema};
use harper_store::{
    Database, Error, Event, Hooks, Interest, Kind, Message, Observer, Observing, Op, Operation,
    Options, Precondition, Prepared, Reached, Store, Stretch, Table, TableId,
};
use tempfile::TempDir;

/// Remembers what it is told, and wants the same of every table.
struct Notebook {
    interest: AtomicU8,
    told: Mutex<(Vec<Event>, Vec<Reached>)>,
}

const INTERESTS: [Interest; 4] =
    [Interest::None, Interest::Notice, Interest::Bodies, Interest::Durable];

impl Notebook {
    fn wants(&self, interest: Interest) {
        self.interest.store(interest as u8, Ordering::SeqCst);
    }

    fn take(&self) -> (Vec<Event>, Vec<Reached>) {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

impl Observer for Notebook {
    fn interest(&self, _table: TableId) -> Interest {
        INTERESTS[usize::from(self.interest.load(Ordering::SeqCst))]
    }

    fn committed(&self, events: Vec<Event>, reached: &[Reached]) {
        let mut told = self.told.lock().unwrap();
        told.0.extend(events);
        told.1.extend(reached);
    }
}

struct Fixture {
    _root: TempDir,
    notebook: Arc<Notebook>,
    database: Arc<Database>,
    table: Table,
}

fn fixture(interest: Interest, options: Options) -> Fixture {
    let root = tempfile::tempdir().unwrap();
    let told = Mutex::default();
    let notebook = Arc::new(Notebook { interest: AtomicU8::new(interest as u8), told });
    let hooks = Hooks { observing: Observing::by(notebook.clone()), ..Hooks::default() };
    let path = root.path().join("database");
    let store = Store::open_with(root.path(), &path, options, hooks).unwrap();
    let database = store.database("data").unwrap();
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
    Fixture { _root: root, notebook, database, table }
}

fn message(table: &Table, id: &str, body: &'static str) -> Op {
    let message = Message { body: body.into(), extra: "extra".into(), expires_ms: 0 };
    Op::Message { table: table.clone(), key: key(table, id), message }
}

fn logged(fixture: &Fixture, after: u64) -> Vec<Event> {
    let txn = fixture.database.read().unwrap();
    let told = events(&txn, &fixture.table, after, usize::MAX).unwrap();
    assert_eq!(told.reached, told.last);
    told.events
}

fn text(event: &Event) -> String {
    let body = event.body.as_deref().map(|body| std::str::from_utf8(body).unwrap());
    let id = event.key.to_text();
    format!("{} {:?} {id} {}", event.sequence, event.operation, body.unwrap_or("-"))
}

fn texts(events: &[Event]) -> Vec<String> {
    events.iter().map(text).collect()
}

#[test]
fn whoever_wants_bodies_is_told_every_change_in_order() {
    let fixture = fixture(Interest::Bodies, options());
    let Fixture { database, table, notebook, .. } = &fixture;
    let other = database.define(schema("Other", vec![attribute("id", Kind::Id, false)])).unwrap();
    commit(database, put(table, "a", r#"{"n":1}"#)).unwrap();
    database
        .commit(vec![
            patch(table, "a", r#"{"m":2}"#),
            put(&other, "x", "{}"),
            message(table, "b", "hello"),
            delete(table, "a"),
            delete(table, "missing"),
        ])
        .unwrap();
    let (events, reached) = notebook.take();
    assert!(reached.is_empty());
    assert_eq!(
        texts(&events),
        [
            r#"1 Put a {"id":"a","n":1}"#,
            r#"2 Put a {"id":"a","n":1,"m":2}"#,
            r#"1 Put x {"id":"x"}"#,
            "3 Message b hello",
            "4 Delete a -",
        ]
    );
    assert_eq!(events[2].table, other.identity());
    assert_eq!(events[3].extra, "extra");
    assert!(events.iter().all(|event| event.time_ms() > 0));
    // The log tells the same, but for what was overtaken.
    let own: Vec<Event> = events[3..].to_vec();
    assert_eq!(logged(&fixture, 0), own);
}

#[test]
fn what_is_refused_is_not_told() {
    let fixture = fixture(Interest::Bodies, options());
    let Fixture { database, table, notebook, .. } = &fixture;
    commit(database, put(table, "a", "{}")).unwrap();
    let body = Prepared::put(&table.schema(), b"{}").unwrap();
    let exists = Op::Insert { table: table.clone(), key: Some(key(table, "a")), body };
    let refused = database.commit(vec![message(table, "b", "lost"), exists]);
    assert!(matches!(refused, Err(Error::Exists)));
    commit(database, message(table, "b", "kept")).unwrap();
    let (events, _) = notebook.take();
    assert_eq!(texts(&events), [r#"1 Put a {"id":"a"}"#, "2 Message b kept"]);
    assert_eq!(logged(&fixture, 0), events);
}

#[test]
fn without_interest_nothing_is_told_and_a_notice_is_a_number() {
    let fixture = fixture(Interest::None, options());
    let Fixture { database, table, notebook, .. } = &fixture;
    commit(database, put(table, "a", "{}")).unwrap();
    assert_eq!(notebook.take(), (Vec::new(), Vec::new()));
    notebook.wants(Interest::Notice);
    database.commit(vec![put(table, "a", "{}"), message(table, "a", "m")]).unwrap();
    let reached = Reached { table: table.identity(), sequence: 3 };
    assert_eq!(notebook.take(), (Vec::new(), vec![reached]));
}

/// Wants something else each time it is asked.
struct Fickle {
    interests: Mutex<Vec<Interest>>,
    told: Mutex<Vec<(usize, Vec<Reached>)>>,
}

impl Observer for Fickle {
    fn interest(&self, _table: TableId) -> Interest {
        self.interests.lock().unwrap().remove(0)
    }

    fn committed(&self, events: Vec<Event>, reached: &[Reached]) {
        self.told.lock().unwrap().push((events.len(), reached.to_vec()));
    }
}

#[test]
fn what_is_told_follows_what_is_wanted_after_the_commit() {
    use Interest::{Bodies, Durable, None, Notice};
    let pairs = [
        [None, None],
        [None, Notice],
        [None, Bodies],
        [Bodies, None],
        [Bodies, Notice],
        [Notice, Durable],
        [Durable, Bodies],
    ];
    let fickle = Fickle { interests: Mutex::new(pairs.concat()), told: Mutex::default() };
    let fickle = Arc::new(fickle);
    let root = tempfile::tempdir().unwrap();
    let hooks = Hooks { observing: Observing::by(fickle.clone()), ..Hooks::default() };
    let path = root.path().join("database");
    let store = Store::open_with(root.path(), &path, options(), hooks).unwrap();
    let database = store.database("data").unwrap();
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
    for _ in pairs {
        commit(&database, put(&table, "a", "{}")).unwrap();
    }
    let reached = |sequence| (0, vec![Reached { table: table.identity(), sequence }]);
    let expected = [reached(2), reached(3), reached(5), reached(6), (1, vec![])];
    assert_eq!(*fickle.told.lock().unwrap(), expected);
}

#[test]
fn more_than_a_batch_may_hold_is_told_as_reached() {
    let fixture = fixture(Interest::Bodies, Options { batch_bytes_max: 1000, ..options() });
    let Fixture { database, table, notebook, .. } = &fixture;
    let ops = (0..100).map(|at| put(table, &at.to_string(), r#"{"text":"some text"}"#)).collect();
    database.commit(ops).unwrap();
    let (events, reached) = notebook.take();
    assert!((1..20).contains(&events.len()), "{}", events.len());
    assert_eq!(reached, [Reached { table: table.identity(), sequence: 100 }]);
    assert_eq!(events[..], logged(&fixture, 0)[..events.len()]);
}

#[test]
fn the_log_keeps_bodies_for_a_durable_interest_alone() {
    let fixture = fixture(Interest::Durable, options());
    let Fixture { database, table, notebook, .. } = &fixture;
    for n in 0..3 {
        let body = format!("{{\"n\":{n}}}");
        let body = Prepared::put(&table.schema(), body.as_bytes()).unwrap();
        let body = body.with_extra(Bytes::from(vec![n])).unwrap();
        let (table, key) = (table.clone(), key(table, "a"));
        let when = Precondition::None;
        commit(database, Op::Put { table, key, body, when }).unwrap();
    }
    let (told, _) = notebook.take();
    assert_eq!(texts(&told)[1], r#"2 Put a {"id":"a","n":1}"#);
    assert_eq!(told[2].extra, [2][..]);
    assert_eq!(logged(&fixture, 0), told, "each value is still there");
    notebook.wants(Interest::Bodies);
    notebook.take();
    commit(database, put(table, "a", r#"{"n":7}"#)).unwrap();
    commit(database, put(table, "a", r#"{"n":8}"#)).unwrap();
    let later = texts(&logged(&fixture, 3));
    assert_eq!(later, [r#"5 Put a {"id":"a","n":8}"#], "one was overtaken");
}

#[test]
fn what_is_told_beside_a_record_is_kept_with_it_until_the_next_write() {
    let fixture = fixture(Interest::Bodies, options());
    let Fixture { database, table, notebook, .. } = &fixture;
    let body = |bytes: usize| {
        let body = Prepared::put(&table.schema(), br#"{"n":1}"#).unwrap();
        body.with_extra(Bytes::from(vec![7; bytes]))
    };
    assert!(body(65_536).is_err());
    for bytes in [65_535, 3] {
        let (table, key) = (table.clone(), key(table, "a"));
        let when = Precondition::None;
        let op = Op::Put { table, key, body: body(bytes).unwrap(), when };
        commit(database, op).unwrap();
        let (told, _) = notebook.take();
        assert_eq!(told[0].extra, vec![7; bytes]);
        let last = told[0].sequence - 1;
        assert_eq!(logged(&fixture, last), told, "from the record");
    }
    assert_eq!(common::get(database, table, "a").unwrap(), r#"{"id":"a","n":1}"#);
    {
        let txn = database.read().unwrap();
        assert_eq!(table.get(&txn, &key(table, "a")).unwrap().unwrap().extra, [7; 3]);
    }
    commit(database, patch(table, "a", r#"{"m":1}"#)).unwrap();
    let (told, _) = notebook.take();
    assert_eq!(texts(&told), [r#"3 Put a {"id":"a","n":1,"m":1}"#]);
    assert!(told[0].extra.is_empty() && logged(&fixture, 2)[0].extra.is_empty());
}

#[test]
fn what_is_told_beside_a_deletion_is_told_of_what_is_not_there_too() {
    let fixture = fixture(Interest::Bodies, options());
    let Fixture { database, table, notebook, .. } = &fixture;
    let deletion = |extra: &'static str| {
        let (table, key) = (table.clone(), key(table, "a"));
        Op::Delete { table, key, when: Precondition::None, extra: extra.into() }
    };
    commit(database, put(table, "a", "{}")).unwrap();
    notebook.take();
    for existed in [true, false] {
        let outcome = commit(database, deletion("beside")).unwrap();
        assert_eq!((outcome.existed, outcome.previous_version.is_some()), (existed, existed));
        let (told, _) = notebook.take();
        assert_eq!((told[0].operation, &told[0].extra[..]), (Operation::Delete, &b"beside"[..]));
        assert_eq!(logged(&fixture, told[0].sequence - 1), told);
    }
    assert!(!commit(database, deletion("")).unwrap().existed);
    assert!(notebook.take().0.is_empty());
}

#[test]
fn content_and_its_time_come_from_the_record_or_from_the_log() {
    for interest in [Interest::Bodies, Interest::Durable] {
        let fixture = fixture(interest, options());
        let Fixture { database, table, notebook, .. } = &fixture;
        let body = br#"{"contentType":"image/png","data":"AAAA"}"#;
        let body = Prepared::put(&table.schema(), body).unwrap().as_content();
        commit(database, Op::Insert { table: table.clone(), key: None, body }).unwrap();
        commit(database, insert(table, "{}")).unwrap();
        let (told, _) = notebook.take();
        assert_eq!([told[0].is_content, told[1].is_content], [true, false]);
        assert_eq!(logged(&fixture, 0), told);
    }
}

#[test]
fn a_message_that_has_expired_is_not_read_but_by_its_number() {
    let fixture = fixture(Interest::None, options());
    let Fixture { database, table, .. } = &fixture;
    for expires_ms in [1, u64::MAX, 0] {
        let message = Message { body: "m".into(), expires_ms, ..Message::default() };
        commit(database, Op::Message { table: table.clone(), key: key(table, "a"), message })
            .unwrap();
    }
    let events = logged(&fixture, 0);
    assert_eq!(texts(&events), ["2 Message a m", "3 Message a m"]);
    assert_eq!(events[0].expires_ms, u64::MAX);
    let txn = database.read().unwrap();
    let at = |sequence| table.event_at(&txn, sequence).unwrap();
    assert_eq!(at(1).unwrap().expires_ms, 1);
    assert_eq!(at(2), Some(events[0].clone()));
    assert!(at(0).is_none() && at(4).is_none());
}

#[test]
fn the_log_is_read_in_stretches_backward_and_by_time() {
    let fixture = fixture(Interest::None, options());
    let Fixture { database, table, .. } = &fixture;
    let mut times = Vec::new();
    for at in 0..20 {
        let id = ["a", "b"][at % 2];
        times.push(commit(database, message(table, id, "m")).unwrap().meta.version >> 16);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let txn = database.read().unwrap();
    let few = Stretch { entries_max: 5, bytes_max: usize::MAX };
    let wanted = key(table, "a");
    let told = table.events_after(&txn, 3, few, |key| *key == wanted).unwrap();
    assert_eq!((told.events.len(), told.reached, told.last), (2, 8, 20));
    let small = Stretch { entries_max: 5, bytes_max: 1 };
    let told = table.events_after(&txn, 3, small, |_| true).unwrap();
    assert_eq!((told.events.len(), told.reached), (1, 4), "at least one");
    let all = Stretch { entries_max: 100, bytes_max: usize::MAX };
    let told = table.last_events(&txn, 3, all, |key| *key == wanted).unwrap();
    let sequences: Vec<u64> = told.events.iter().map(|event| event.sequence).collect();
    assert_eq!((sequences, told.reached), (vec![15, 17, 19], 20));
    assert_eq!(table.last_events(&txn, 3, few, |key| *key == wanted).unwrap().events.len(), 2);
    assert_eq!(table.last_events(&txn, 9, small, |_| true).unwrap().events.len(), 1);
    assert!(table.last_events(&txn, 0, all, |_| true).unwrap().events.is_empty());
    assert_eq!(table.sequence_at(&txn, 0).unwrap(), 1);
    assert_eq!(table.sequence_at(&txn, times[19] + 1).unwrap(), 21);
    for (at, time) in times.iter().enumerate() {
        assert_eq!(table.sequence_at(&txn, *time).unwrap(), at as u64 + 1);
        assert_eq!(table.sequence_at(&txn, *time + 1).unwrap(), at as u64 + 2);
    }
}

#[test]
fn what_has_left_the_log_is_an_error() {
    let fixture = fixture(Interest::None, Options { log_bytes_max: 2000, ..options() });
    let Fixture { database, table, .. } = &fixture;
    let all = Stretch { entries_max: usize::MAX, bytes_max: usize::MAX };
    {
        let txn = database.read().unwrap();
        assert_eq!(table.sequence_at(&txn, 5).unwrap(), 1);
        assert!(table.last_events(&txn, 5, all, |_| true).unwrap().events.is_empty());
    }
    let mut time = 0;
    for _ in 0..200 {
        time = commit(database, message(table, "a", "m")).unwrap().meta.version >> 16;
    }
    let txn = database.read().unwrap();
    assert!(matches!(events(&txn, table, 0, 10), Err(Error::LogTruncated)));
    assert!(matches!(table.sequence_at(&txn, 0), Err(Error::LogTruncated)));
    assert_eq!(table.sequence_at(&txn, time + 1).unwrap(), 201);
    let held = table.last_events(&txn, usize::MAX, all, |_| true).unwrap().events;
    assert!((10..60).contains(&held.len()), "{}", held.len());
    assert_eq!(events(&txn, table, held[0].sequence, 10).unwrap().events[..], held[1..11]);
}

#[test]
fn a_database_keeps_its_epoch_and_another_has_another() {
    let mut fixture = common::Fixture::new();
    let epoch = fixture.database().epoch();
    fixture.reopen().unwrap();
    assert_eq!(fixture.database().epoch(), epoch);
    assert_ne!(common::Fixture::new().database().epoch(), epoch);
}
