//! Writing, reading and reopening, through the public interface.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use common::{
    Fixture, attribute, commit, compare, delete, events, get, insert, key, options, patch, put,
    run, schema,
};
use harper_store::{
    Attribute, Comparator, Error, Invalid, Kind, Meta, Op, Operation, Options, Precondition,
    Prepared, Query, Role, Store,
};

#[test]
fn a_record_is_put_read_replaced_and_deleted() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let table = database.define(schema("Dog", vec![attribute("id", Kind::Id, false)])).unwrap();
    let first = commit(&database, put(&table, "a/b", r#"{"id":"other", "n": [1, 2.50]}"#)).unwrap();
    assert!(!first.existed);
    assert_eq!(first.meta.sequence, 1);
    assert_eq!(get(&database, &table, "a/b").unwrap(), r#"{"id":"a/b","n":[1,2.50]}"#);

    let second = commit(&database, put(&table, "a/b", "{}")).unwrap();
    assert_eq!(second.previous_version, Some(first.meta.version));
    assert!(second.meta.version > first.meta.version);
    assert_eq!(get(&database, &table, "a/b").unwrap(), r#"{"id":"a/b"}"#);

    let deleted = commit(&database, delete(&table, "a/b")).unwrap();
    assert!(deleted.existed);
    assert_eq!(get(&database, &table, "a/b"), None);
    let again = commit(&database, delete(&table, "a/b")).unwrap();
    assert!(!again.existed);
    assert_eq!(again.meta, Meta::default());
    let txn = database.read().unwrap();
    assert_eq!(table.last_sequence(&txn).unwrap(), 3);
    assert_eq!(table.count(&txn).unwrap(), 0);
}

#[test]
fn timestamps_are_written_by_the_store() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let time = |name: &str, kind, role| Attribute { role, ..attribute(name, kind, false) };
    let attributes = vec![
        attribute("id", Kind::Int, false),
        time("made", Kind::Date, Role::CreatedTime),
        time("changed", Kind::Long, Role::UpdatedTime),
    ];
    let table = database.define(schema("T", attributes)).unwrap();
    let body = r#"{"made":"2016-01-01","changed":5,"x":1}"#;
    let first = commit(&database, put(&table, "1", body)).unwrap();
    let expected = format!(
        r#"{{"id":1,"x":1,"made":"2016-01-01T00:00:00.000Z","changed":{}}}"#,
        first.meta.updated_ms
    );
    assert_eq!(get(&database, &table, "1").unwrap(), expected);
    // Replaced without a creation time, the record keeps the one it has.
    let second = commit(&database, put(&table, "1", "{}")).unwrap();
    assert_eq!(second.meta.created_ms, first.meta.created_ms);
    let merged = commit(&database, patch(&table, "1", r#"{"y":true}"#)).unwrap();
    let expected = format!(
        r#"{{"id":1,"y":true,"made":"2016-01-01T00:00:00.000Z","changed":{}}}"#,
        merged.meta.updated_ms
    );
    assert_eq!(get(&database, &table, "1").unwrap(), expected);
}

#[test]
fn preconditions_hold_inside_the_transaction() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
    let write = |when: Precondition| {
        let body = Prepared::put(&table.schema(), b"{}").unwrap();
        commit(&database, Op::Put { table: table.clone(), key: key(&table, "1"), body, when })
    };
    let failed = |result: Result<_, Error>, expected: Option<u64>| match result {
        Err(Error::PreconditionFailed { current }) => assert_eq!(current, expected),
        other => panic!("{other:?}"),
    };
    failed(write(Precondition::Present), None);
    failed(write(Precondition::VersionIn(vec![1])), None);
    let version = write(Precondition::VersionNotIn(vec![1])).unwrap().meta.version;
    failed(write(Precondition::Absent), Some(version));
    failed(write(Precondition::VersionIn(vec![1])), Some(version));
    failed(write(Precondition::VersionNotIn(vec![1, version])), Some(version));
    let newer = write(Precondition::VersionIn(vec![1, version])).unwrap().meta.version;
    assert!(newer > version);
    assert_eq!(fixture.store.as_ref().unwrap().stats()[0].conflicts, 5);
}

#[test]
fn several_operations_are_stored_all_or_none() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let attributes = vec![attribute("id", Kind::Id, false), attribute("a", Kind::Int, true)];
    let table = database.define(schema("T", attributes)).unwrap();
    let mut ops = vec![put(&table, "1", r#"{"a":1}"#), put(&table, "2", r#"{"a":2}"#)];
    assert_eq!(database.commit(ops.clone()).unwrap().len(), 2);
    let failing = Op::Insert {
        table: table.clone(),
        key: Some(key(&table, "2")),
        body: Prepared::put(&table.schema(), b"{}").unwrap(),
    };
    ops = vec![put(&table, "1", r#"{"a":9}"#), put(&table, "3", "{}"), failing];
    assert!(matches!(database.commit(ops), Err(Error::Exists)));
    assert_eq!(get(&database, &table, "1").unwrap(), r#"{"id":"1","a":1}"#);
    assert_eq!(get(&database, &table, "3"), None);
    let third = commit(&database, put(&table, "3", "{}")).unwrap();
    assert_eq!(third.meta.sequence, 3, "an abandoned transaction takes no sequence numbers");
    assert!(database.commit(Vec::new()).unwrap().is_empty());
}

#[test]
fn keys_are_generated_by_type() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let ids = database.define(schema("Ids", vec![attribute("id", Kind::Id, false)])).unwrap();
    let ints = database.define(schema("Ints", vec![attribute("id", Kind::Int, false)])).unwrap();
    let uuid = commit(&database, insert(&ids, "{}")).unwrap().key.to_text();
    assert_eq!(uuid.len(), 36);
    let named = commit(&database, insert(&ids, r#"{"id":"x"}"#)).unwrap().key;
    assert_eq!(named.to_text(), "x");
    assert!(matches!(commit(&database, insert(&ids, r#"{"id":"x"}"#)), Err(Error::Exists)));
    let next = || commit(&database, insert(&ints, "{}")).unwrap().key.to_text();
    assert_eq!(next(), "1");
    commit(&database, put(&ints, "41", "{}")).unwrap();
    assert_eq!(next(), "42");
    commit(&database, delete(&ints, "42")).unwrap();
    assert_eq!(next(), "43", "a key is not given out again");
    commit(&database, put(&ints, "2147483648", "{}")).unwrap();
    let error = commit(&database, insert(&ints, "{}")).unwrap_err();
    assert!(matches!(error, Error::KeysExhausted { .. }), "{error}");
    commit(&database, delete(&ints, "2147483648")).unwrap();
    assert_eq!(next(), "44", "a failing insert takes no key");
}

#[test]
fn a_key_beyond_all_integers_stops_nothing_but_generated_keys() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let table = database.define(schema("T", vec![attribute("id", Kind::Float, false)])).unwrap();
    commit(&database, put(&table, "1e300", "{}")).unwrap();
    for _ in 0..2 {
        let error = commit(&database, insert(&table, "{}")).unwrap_err();
        assert!(matches!(error, Error::KeysExhausted { .. }), "{error}");
    }
    commit(&database, delete(&table, "1e300")).unwrap();
    assert_eq!(commit(&database, insert(&table, "{}")).unwrap().key.to_text(), "1");
}

#[test]
fn what_changes_nothing_is_not_committed() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
    assert!(database.commit(Vec::new()).unwrap().is_empty());
    commit(&database, delete(&table, "1")).unwrap();
    assert_eq!(fixture.store.as_ref().unwrap().stats()[0].commits, 0);
    commit(&database, put(&table, "1", "{}")).unwrap();
    assert_eq!(fixture.store.as_ref().unwrap().stats()[0].commits, 1);
}

#[test]
fn a_patch_of_a_missing_record_must_make_it_complete() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let name = Attribute { required: true, ..attribute("name", Kind::String, false) };
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false), name])).unwrap();
    let error = commit(&database, patch(&table, "1", r#"{"x":1}"#)).unwrap_err();
    assert!(matches!(&error, Error::Invalid(Invalid::Violations(v)) if v.len() == 1), "{error}");
    assert_eq!(get(&database, &table, "1"), None);
    commit(&database, patch(&table, "1", r#"{"name":"Rex"}"#)).unwrap();
    assert_eq!(get(&database, &table, "1").unwrap(), r#"{"id":"1","name":"Rex"}"#);
    let add = r#"{"n":{"__op__":"add","value":2}}"#;
    for _ in 0..3 {
        commit(&database, patch(&table, "1", add)).unwrap();
    }
    assert_eq!(get(&database, &table, "1").unwrap(), r#"{"id":"1","name":"Rex","n":6}"#);
}

#[test]
fn everything_is_there_after_reopening() {
    let mut fixture = Fixture::new();
    let attributes = vec![attribute("id", Kind::Id, false), attribute("a", Kind::Int, true)];
    let version = {
        let database = fixture.database();
        let table = database.define(schema("T", attributes)).unwrap();
        commit(&database, put(&table, "1", r#"{"a":1}"#)).unwrap().meta.version
    };
    fixture.reopen().unwrap();
    let database = fixture.database();
    let table = database.table("T").unwrap();
    assert_eq!(get(&database, &table, "1").unwrap(), r#"{"id":"1","a":1}"#);
    let next = commit(&database, put(&table, "2", r#"{"a":1}"#)).unwrap();
    assert!(next.meta.version > version);
    assert_eq!(next.meta.sequence, 2);
    let filter = Some(compare("a", Comparator::Equal, common::number(1)));
    let found = run(&database, &table, Query { filter, ..Query::default() }, 100).unwrap();
    assert_eq!(found.len(), 2);
}

#[test]
fn a_root_is_opened_once_and_never_one_of_another_make() {
    let mut fixture = Fixture::new();
    let root = fixture.root.path().to_owned();
    let again = || Store::open(&root, &root.join("database"), options());
    assert!(matches!(again(), Err(Error::Locked { root: named }) if named == root));
    drop(fixture.database());
    fixture.store = None;
    let foreign = root.join("database/data.mdb");
    std::fs::write(&foreign, b"").unwrap();
    assert!(matches!(again(), Err(Error::ForeignRoot { file }) if file == foreign));
    std::fs::remove_file(&foreign).unwrap();
    assert!(again().is_ok());
}

#[test]
fn two_roots_cannot_share_the_directory_of_their_databases() {
    let fixture = Fixture::new();
    let path = fixture.root.path().join("database");
    let other = tempfile::tempdir().unwrap();
    let again = || Store::open(other.path(), &path, options());
    assert!(matches!(again(), Err(Error::Locked { root }) if root == path));
    drop(fixture);
    let both = tempfile::tempdir().unwrap();
    assert!(Store::open(both.path(), both.path(), options()).is_ok());
}

#[test]
fn a_database_that_was_replaced_is_not_opened_again() {
    let mut fixture = Fixture::new();
    drop(fixture.database());
    fixture.store = None;
    std::fs::remove_dir_all(fixture.root.path().join("database/data")).unwrap();
    fixture.reopen().unwrap();
    let error = fixture.store.as_ref().unwrap().database("data").unwrap_err();
    assert!(error.to_string().contains("was replaced"), "{error}");
}

#[test]
fn names_and_numbers_of_databases_are_limited() {
    let fixture = Fixture::with(Options { databases_max: 1, ..options() });
    let store = fixture.store.as_ref().unwrap();
    for name in ["", "a/b", "..", "ä", &"a".repeat(65)] {
        assert!(matches!(store.database(name), Err(Error::InvalidName { .. })), "{name}");
    }
    store.database("data").unwrap();
    assert!(matches!(store.database("more"), Err(Error::DatabasesFull { max: 1 })));
}

#[test]
fn the_change_log_tells_every_write_until_it_is_pruned() {
    let fixture = Fixture::with(Options { log_bytes_max: 2000, ..options() });
    let database = fixture.database();
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
    commit(&database, put(&table, "a", "{}")).unwrap();
    commit(&database, delete(&table, "a")).unwrap();
    {
        let txn = database.read().unwrap();
        let told = events(&txn, &table, 0, 10).unwrap();
        assert_eq!((told.reached, told.last), (2, 2));
        let [deleted] = &*told.events else { panic!("the write was overtaken: {told:?}") };
        assert_eq!((deleted.sequence, deleted.operation), (2, Operation::Delete));
        assert_eq!(deleted.key, key(&table, "a"));
        assert_eq!(events(&txn, &table, 1, 10).unwrap().events, told.events);
        let first = events(&txn, &table, 0, 1).unwrap();
        assert_eq!((first.events.len(), first.reached), (0, 1));
        assert!(events(&txn, &table, 2, 10).unwrap().events.is_empty());
        assert!(matches!(events(&txn, &table, 3, 10), Err(Error::LogTruncated)));
    }
    for at in 0..200 {
        commit(&database, put(&table, &format!("key {at}"), "{}")).unwrap();
    }
    let stats = fixture.store.as_ref().unwrap().stats();
    assert!((1000..3000).contains(&stats[0].log_bytes), "{}", stats[0].log_bytes);
    let txn = database.read().unwrap();
    assert!(matches!(events(&txn, &table, 0, 10), Err(Error::LogTruncated)));
    let last = table.last_sequence(&txn).unwrap();
    assert_eq!(last, 202);
    assert_eq!(events(&txn, &table, last - 5, 10).unwrap().events.len(), 5);
}

#[test]
fn old_entries_leave_the_log() {
    let fixture = Fixture::with(Options { log_age_ms_max: 0, ..options() });
    let database = fixture.database();
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
    for at in 0..100 {
        commit(&database, put(&table, &at.to_string(), "{}")).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let txn = database.read().unwrap();
    assert!(matches!(events(&txn, &table, 0, 10), Err(Error::LogTruncated)));
}

#[test]
fn writes_that_wait_share_a_commit_and_a_full_queue_refuses() {
    let sync_delay = Duration::from_millis(50);
    let fixture = Fixture::with(Options { sync_delay, queue_max: 40, ..options() });
    let database = fixture.database();
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
    let (send, receive) = sync_channel(100);
    let submit = |at: usize| {
        let send = send.clone();
        let done = move |result: Result<_, Error>| send.send(result.is_ok()).unwrap();
        database.submit(vec![put(&table, &at.to_string(), "{}")], Box::new(done))
    };
    submit(0).unwrap();
    // The first write is taken off the queue and sleeps in its commit.
    while fixture.store.as_ref().unwrap().stats()[0].queue_length > 0 {
        std::thread::yield_now();
    }
    let refused = (1..=50).filter(|at| submit(*at).is_err()).count();
    assert_eq!(refused, 10);
    assert!((0..41).all(|_| receive.recv().unwrap()));
    let stats = fixture.store.as_ref().unwrap().stats();
    assert_eq!((stats[0].commits, stats[0].requests, stats[0].rejected_full), (2, 41, 10));
}

#[test]
fn a_panicking_callback_does_not_stop_the_writer() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
    database.submit(vec![put(&table, "1", "{}")], Box::new(|_| panic!("as expected"))).unwrap();
    commit(&database, put(&table, "2", "{}")).unwrap();
    assert!(get(&database, &table, "1").is_some());
}

#[test]
fn below_the_watermark_only_deletes_are_taken() {
    let fixture = Fixture::with(Options { free_bytes_min: u64::MAX, ..options() });
    let database = fixture.database();
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
    let mixed = vec![delete(&table, "1"), put(&table, "1", "{}")];
    assert!(matches!(database.commit(mixed), Err(Error::NoSpace { .. })));
    assert!(!commit(&database, delete(&table, "1")).unwrap().existed);
    assert_eq!(fixture.store.as_ref().unwrap().stats()[0].rejected_no_space, 1);
}

#[test]
fn a_full_map_fails_the_write_and_leaves_the_rest() {
    let fixture = Fixture::with(Options { map_bytes: 1 << 20, ..options() });
    let database = fixture.database();
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
    let body = format!("{{\"x\":\"{}\"}}", "x".repeat(20_000));
    let mut stored = 0;
    let error = loop {
        match commit(&database, put(&table, &stored.to_string(), &body)) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::MapFull), "{error}");
    let txn = database.read().unwrap();
    assert_eq!(table.count(&txn).unwrap(), stored);
    assert_eq!(table.last_sequence(&txn).unwrap(), stored);
}

#[test]
fn deletes_work_when_the_map_is_full_and_make_room() {
    let fixture = Fixture::with(Options { map_bytes: 4 << 20, ..options() });
    let database = fixture.database();
    let attributes = vec![attribute("id", Kind::Id, false), attribute("a", Kind::String, true)];
    let table = database.define(schema("T", attributes.clone())).unwrap();
    for round in 0..3 {
        // large ones until there is no room, then small ones, which fill what is left
        let mut stored = Vec::new();
        for length in [3000, 100] {
            let refused = loop {
                let (id, filler) = (format!("{round}-{}", stored.len()), "x".repeat(length));
                let body = format!("{{\"a\":\"{}{filler}\"}}", stored.len());
                match commit(&database, put(&table, &id, &body)) {
                    Ok(_) => stored.push(id),
                    Err(error) => break error,
                }
            };
            assert!(matches!(refused, Error::MapFull), "{refused}");
        }
        assert!(stored.len() > 300, "only {} in round {round}", stored.len());
        let mut indexed = attributes.clone();
        indexed.push(attribute("b", Kind::String, true));
        database.define(schema("T", indexed)).unwrap();
        database.define(schema("T", attributes.clone())).unwrap();
        for id in &stored {
            assert!(commit(&database, delete(&table, id)).unwrap().existed);
        }
    }
    let stats = fixture.store.as_ref().unwrap().stats();
    assert_eq!(stats[0].rejected_no_space, 6, "none was refused by the writer");
}

#[test]
fn definitions_that_cannot_be_kept_are_refused() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let id = || attribute("id", Kind::Id, false);
    let refused = |schema| match database.define(schema) {
        Err(Error::Incompatible { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    database.define(schema("T", vec![id()])).unwrap();
    refused(schema("T", vec![attribute("id", Kind::Int, false)]));
    refused(schema("T", vec![attribute("key", Kind::Id, false)]));
    refused(schema("U", vec![]));
    refused(schema("U", vec![id(), id()]));
    refused(schema("U", vec![attribute("id", Kind::Boolean, false)]));
    refused(schema("U", vec![id(), attribute("o", Kind::Object(vec![]), true)]));
    refused(schema("U", vec![id(), attribute("a\0b", Kind::Any, true)]));
    let time = Attribute { role: Role::CreatedTime, ..attribute("t", Kind::String, false) };
    refused(schema("U", vec![id(), time]));
    let mut elsewhere = schema("U", vec![id()]);
    elsewhere.database = "other".into();
    refused(elsewhere);
    assert_eq!(database.tables().len(), 1);
}

#[test]
fn a_table_is_used_with_its_own_database_only() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
    let other = fixture.store.as_ref().unwrap().database("other").unwrap();
    let txn = other.read().unwrap();
    assert!(matches!(table.get(&txn, &key(&table, "1")), Err(Error::WrongDatabase { .. })));
    assert!(matches!(table.count(&txn), Err(Error::WrongDatabase { .. })));
    assert!(matches!(commit(&other, delete(&table, "1")), Err(Error::WrongDatabase { .. })));
}

/// Overwrites a record many times and returns by how many bytes the file has grown.
fn grown_by_overwriting(fixture: &Fixture, table: &harper_store::Table, between: &dyn Fn()) -> u64 {
    let database = fixture.database();
    let used = || fixture.store.as_ref().unwrap().stats()[0].map_bytes_used;
    let body = format!("{{\"text\":\"{}\"}}", "x".repeat(50_000));
    let before = used();
    for _ in 0..40 {
        commit(&database, put(table, "1", &body)).unwrap();
        between();
    }
    used() - before
}

#[test]
fn a_reader_that_waits_is_given_the_newest_state_and_holds_no_pages() {
    let fixture = Fixture::with(Options { readers_max: 4, ..options() });
    let database = fixture.database();
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
    let read = || {
        let txn = database.read().unwrap();
        table.get(&txn, &key(&table, "1")).unwrap().map(|record| record.meta.version)
    };
    // each write is seen by the next read, on the same thread and on another
    let mut last = None;
    for _ in 0..20 {
        let outcome = commit(&database, put(&table, "1", "{}")).unwrap();
        let version = Some(outcome.meta.version);
        assert!(version > last && read() == version && read() == version);
        std::thread::scope(|scope| scope.spawn(|| assert_eq!(read(), version)).join().unwrap());
        last = version;
    }
    let free = grown_by_overwriting(&fixture, &table, &|| {});
    let with_readers = grown_by_overwriting(&fixture, &table, &|| {
        read();
        std::thread::scope(|scope| scope.spawn(read).join().unwrap());
    });
    assert!(with_readers < 1 << 20, "{with_readers} with readers, {free} without");
    let held = database.read().unwrap();
    assert!(grown_by_overwriting(&fixture, &table, &|| {}) > 2 << 20, "one that is held does");
    drop(held);
    // those that wait leave room for those that are needed
    let open: Vec<_> = (0..4).map(|_| database.read().unwrap()).collect();
    assert!(matches!(database.read(), Err(Error::Busy)));
    drop(open);
}

#[test]
fn a_reader_that_waits_knows_tables_that_are_made_later() {
    let fixture = Fixture::new();
    let database = fixture.database();
    for name in ["A", "B", "C"] {
        let attributes = vec![attribute("id", Kind::Id, false), attribute("n", Kind::Int, true)];
        let table = database.define(schema(name, attributes)).unwrap();
        let txn = database.read().unwrap();
        assert_eq!(table.count(&txn).unwrap(), 0);
        assert!(table.get(&txn, &key(&table, "1")).unwrap().is_none());
    }
}
