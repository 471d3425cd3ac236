//! What bounds memory, time and space when much is asked for.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use common::{Fixture, attribute, commit, compare, options, put, run, schema, text};
use harper_store::{
    Budget, Comparator, Database, Error, Kind, Op, Options, Query, Step, Table, TableSchema,
};

fn one_attribute(kind: Kind, indexed: bool) -> TableSchema {
    schema("T", vec![attribute("id", Kind::Id, false), attribute("a", kind, indexed)])
}

fn submit(database: &Database, op: Op) -> Result<Receiver<bool>, Error> {
    let (send, receive) = sync_channel(1);
    let done = move |result: Result<_, Error>| send.send(result.is_ok()).unwrap();
    database.submit(vec![op], Box::new(done))?;
    Ok(receive)
}

/// A write that is in its slow commit.
fn occupy(fixture: &Fixture, table: &Table) -> Receiver<bool> {
    let first = submit(&fixture.database(), put(table, "first", "{}")).unwrap();
    while fixture.store.as_ref().unwrap().stats()[0].queue_length > 0 {
        std::thread::yield_now();
    }
    first
}

#[test]
fn the_queue_is_bounded_by_bytes_but_takes_a_large_request_alone() {
    let sync_delay = Duration::from_millis(50);
    let fixture = Fixture::with(Options { sync_delay, queue_bytes_max: 10_000, ..options() });
    let database = fixture.database();
    let table = database.define(one_attribute(Kind::String, false)).unwrap();
    let large = put(&table, "large", &format!("{{\"a\":\"{}\"}}", "x".repeat(20_000)));
    let first = occupy(&fixture, &table);
    assert!(matches!(submit(&database, large.clone()), Err(Error::Busy)));
    assert!(submit(&database, put(&table, "small", "{}")).unwrap().recv().unwrap());
    assert!(first.recv().unwrap());
    assert!(submit(&database, large).unwrap().recv().unwrap());
    assert_eq!(fixture.store.as_ref().unwrap().stats()[0].rejected_full, 1);
}

#[test]
fn a_commit_is_bounded_by_bytes() {
    let sync_delay = Duration::from_millis(20);
    let fixture = Fixture::with(Options { sync_delay, batch_bytes_max: 1, ..options() });
    let database = fixture.database();
    let table = database.define(one_attribute(Kind::String, false)).unwrap();
    let mut waiting = vec![occupy(&fixture, &table)];
    for id in ["a", "b", "c"] {
        waiting.push(submit(&database, put(&table, id, "{}")).unwrap());
    }
    assert!(waiting.iter().all(|answer| answer.recv().unwrap()));
    assert_eq!(fixture.store.as_ref().unwrap().stats()[0].commits, 4);
}

#[test]
fn the_log_keeps_to_its_size_however_much_one_commit_adds() {
    let fixture = Fixture::with(Options { log_bytes_max: 2000, ..options() });
    let database = fixture.database();
    let table = database.define(one_attribute(Kind::String, false)).unwrap();
    for _ in 0..2 {
        let ops = (0..5000).map(|at| put(&table, &at.to_string(), "{}")).collect();
        database.commit(ops).unwrap();
        let stats = fixture.store.as_ref().unwrap().stats();
        assert!(stats[0].log_bytes <= 2000, "{}", stats[0].log_bytes);
    }
}

#[test]
fn a_step_ends_early_when_the_records_are_large() {
    let fixture = Fixture::with(Options { map_bytes: 128 << 20, ..options() });
    let database = fixture.database();
    let table = database.define(one_attribute(Kind::String, false)).unwrap();
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(9 << 20));
    for id in ["1", "2", "3"] {
        commit(&database, put(&table, id, &body)).unwrap();
    }
    let filter = Some(compare("a", Comparator::Equal, text("y")));
    let mut query = table.query(Query { filter, ..Query::default() }).unwrap();
    let budget = Budget { rows_max: 1000, bytes_max: 1000 };
    let mut step = || {
        let txn = database.read().unwrap();
        query.step(&txn, budget, &mut |_| panic!("nothing is wanted")).unwrap()
    };
    assert_eq!((step(), step()), (Step::More, Step::Done));
}

#[test]
fn a_record_with_many_elements_is_found_once() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let table = database.define(one_attribute(Kind::Any, true)).unwrap();
    let elements: Vec<String> = (0..500).rev().map(|at| at.to_string()).collect();
    let body = format!("{{\"a\":[{}]}}", elements.join(","));
    for id in ["1", "2"] {
        commit(&database, put(&table, id, &body)).unwrap();
    }
    for sort in [Vec::new(), vec![common::descending("a")]] {
        let filter = Some(compare("a", Comparator::GreaterEqual, common::number(0)));
        let query = Query { filter, sort, ..Query::default() };
        assert_eq!(run(&database, &table, query, 150).unwrap().len(), 2);
    }
}

#[test]
fn whole_numbers_that_are_an_id_are_found_by_their_text() {
    for indexed in [false, true] {
        let fixture = Fixture::new();
        let database = fixture.database();
        let table = database.define(one_attribute(Kind::Id, indexed)).unwrap();
        commit(&database, put(&table, "1", r#"{"a":7}"#)).unwrap();
        commit(&database, put(&table, "2", r#"{"a":"7"}"#)).unwrap();
        commit(&database, put(&table, "3", r#"{"a":"x"}"#)).unwrap();
        let filter = Some(compare("a", Comparator::Equal, text("7")));
        let query = Query { filter, ..Query::default() };
        assert_eq!(run(&database, &table, query, 100).unwrap().len(), 2);
    }
}

#[test]
fn more_readers_than_slots_are_put_off() {
    let fixture = Fixture::with(Options { readers_max: 4, ..options() });
    let database = fixture.database();
    let open: Vec<_> = (0..4).map(|_| database.read().unwrap()).collect();
    assert!(matches!(database.read(), Err(Error::Busy)));
    assert!(!database.is_failed());
    drop(open);
    assert!(database.read().is_ok());
}

#[test]
fn a_map_need_not_be_a_multiple_of_pages() {
    let fixture = Fixture::with(Options { map_bytes: (16 << 20) + 1, ..options() });
    assert!(fixture.database().read().is_ok());
}
