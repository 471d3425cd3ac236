//! Records that expire: unseen at once, removed in their time, and nothing left behind.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{
    Fixture, attribute, commit, compare, delete, get, key, options, patch, put, run, schema, text,
};
use harper_store::{
    Attribute, Comparator, Database, Error, Expiry, Kind, Limits, Op, Operation, Options,
    Precondition, Prepared, Query, Role, Table, TableSchema,
};
use proptest::prelude::*;

const NEVER: Duration = Duration::from_secs(3600);
const OFTEN: Duration = Duration::from_millis(10);

fn fixture(sweep_interval: Duration) -> Fixture {
    Fixture::with(Options { sweep_interval, ..options() })
}

/// `id`, an indexed `n`, and records that live for so long.
fn expiring(lifetime_ms: Option<u64>) -> TableSchema {
    let attributes = vec![attribute("id", Kind::Id, false), attribute("n", Kind::Int, true)];
    let expiry = Some(Expiry { lifetime_ms, kept_ms: 0, sweep_ms: None });
    TableSchema { expiry, ..schema("T", attributes) }
}

fn with_own_time(kind: Kind) -> TableSchema {
    let mut schema = expiring(None);
    let role = Role::ExpiresAt;
    schema.attributes.push(Attribute { role, ..attribute("until", kind, false) });
    schema.expiry = None;
    schema
}

fn expiring_in(table: &Table, id: &str, body: &str, lifetime_ms: u64) -> Op {
    let body = Prepared::put(&table.schema(), body.as_bytes()).unwrap().expiring_in(lifetime_ms);
    Op::Put { table: table.clone(), key: key(table, id), body, when: Precondition::None }
}

fn count(database: &Database, table: &Table) -> u64 {
    table.count(&database.read().unwrap()).unwrap()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(5));
    }
}

fn found(database: &Database, table: &Table, query: Query) -> usize {
    run(database, table, query, 10).unwrap().len()
}

#[test]
fn an_expired_record_is_absent_everywhere_before_it_is_removed() {
    let fixture = fixture(NEVER);
    let database = fixture.database();
    let table = database.define(expiring(None)).unwrap();
    let first = commit(&database, expiring_in(&table, "a", r#"{"n":1,"x":1}"#, 0)).unwrap();
    commit(&database, put(&table, "b", r#"{"n":1}"#)).unwrap();
    assert!(first.meta.expires_ms > 0);
    assert_eq!(get(&database, &table, "a"), None);
    assert_eq!(count(&database, &table), 1);
    let by_index = Some(compare("n", Comparator::Equal, common::number(1)));
    let by_key = Some(compare("id", Comparator::LessEqual, text("a")));
    let sort = vec![common::descending("n")];
    assert_eq!(found(&database, &table, Query::default()), 1);
    assert_eq!(found(&database, &table, Query { filter: by_index, ..Query::default() }), 1);
    assert_eq!(found(&database, &table, Query { filter: by_key, ..Query::default() }), 0);
    assert_eq!(found(&database, &table, Query { sort, ..Query::default() }), 1);
    let when = |when| {
        let body = Prepared::put(&table.schema(), b"{}").unwrap();
        let (table, key) = (table.clone(), key(&table, "a"));
        commit(&database, Op::Put { table, key, body, when })
    };
    for refused in [Precondition::Present, Precondition::VersionIn(vec![first.meta.version])] {
        assert!(matches!(when(refused), Err(Error::PreconditionFailed { current: None })));
    }
    assert!(!commit(&database, delete(&table, "a")).unwrap().existed);
    let patched = commit(&database, patch(&table, "a", r#"{"n":2}"#)).unwrap();
    assert!(!patched.existed);
    assert_eq!(get(&database, &table, "a").unwrap(), r#"{"id":"a","n":2}"#);
    assert_eq!(count(&database, &table), 2);
    commit(&database, expiring_in(&table, "a", "{}", 0)).unwrap();
    when(Precondition::Absent).unwrap();
    commit(&database, expiring_in(&table, "a", "{}", 0)).unwrap();
    let body = Prepared::put(&table.schema(), b"{}").unwrap();
    let insert = Op::Insert { table: table.clone(), key: Some(key(&table, "a")), body };
    commit(&database, insert).unwrap();
}

#[test]
fn records_that_have_expired_do_not_count_as_searched() {
    let fixture = fixture(NEVER);
    let database = fixture.database();
    let mut schema = expiring(None);
    schema.attributes.push(attribute("name", Kind::String, false));
    let table = database.define(schema).unwrap();
    let mut ops: Vec<Op> = (0..5000)
        .map(|at| expiring_in(&table, &at.to_string(), r#"{"n":1,"name":"x"}"#, 0))
        .collect();
    ops.push(put(&table, "live", r#"{"n":1,"name":"x"}"#));
    database.commit(ops).unwrap();
    let by_name = compare("name", Comparator::Equal, text("x"));
    let by_index = compare("n", Comparator::Equal, common::number(1));
    for filter in [by_name.clone(), harper_store::Filter::And(vec![by_index, by_name])] {
        let limits = Limits { scan_records_max: 5, ..Limits::default() };
        let query = Query { filter: Some(filter), limits, ..Query::default() };
        assert_eq!(found(&database, &table, query), 1);
    }
}

#[test]
fn each_write_renews_the_time() {
    let fixture = fixture(NEVER);
    let database = fixture.database();
    let table = database.define(expiring(Some(60_000))).unwrap();
    let first = commit(&database, put(&table, "a", r#"{"n":1}"#)).unwrap().meta;
    assert_eq!(first.expires_ms, first.updated_ms + 60_000);
    sleep(Duration::from_millis(3));
    let second = commit(&database, patch(&table, "a", r#"{"n":2}"#)).unwrap().meta;
    assert_eq!(second.expires_ms, second.updated_ms + 60_000);
    assert!(second.expires_ms > first.expires_ms);
    let third = commit(&database, expiring_in(&table, "a", "{}", 5)).unwrap().meta;
    assert_eq!(third.expires_ms, third.updated_ms + 5);
    eventually("the record expires by itself", || get(&database, &table, "a").is_none());
}

#[test]
fn an_attribute_gives_a_record_its_own_time() {
    let fixture = fixture(NEVER);
    let database = fixture.database();
    let table = database.define(with_own_time(Kind::Date)).unwrap();
    let expires = |body: &str| commit(&database, put(&table, "a", body)).unwrap().meta.expires_ms;
    assert_eq!(expires(r#"{"until":"2001-01-01T00:00:00Z"}"#), 978_307_200_000);
    assert_eq!(get(&database, &table, "a"), None);
    assert_eq!(expires(r#"{"until":4102444800000}"#), 4_102_444_800_000);
    let kept = commit(&database, patch(&table, "a", r#"{"n":1}"#)).unwrap().meta;
    assert_eq!(kept.expires_ms, 4_102_444_800_000, "a patch keeps what it does not name");
    assert_eq!(expires(r#"{"until":null}"#), 0);
    assert_eq!(expires("{}"), 0);
    let bad = Prepared::put(&table.schema(), br#"{"until":"soon"}"#).unwrap_err();
    assert!(bad.to_string().contains("must be a date in RFC 3339"), "{bad}");
    let any = TableSchema { name: "Any".into(), ..with_own_time(Kind::Any) };
    assert!(Prepared::put(&any, br#"{"until":true}"#).is_err());
    assert!(Prepared::put(&any, br#"{"until":5}"#).is_ok());
}

#[test]
fn the_sweep_removes_records_index_entries_and_tells_the_log() {
    let fixture = fixture(OFTEN);
    let database = fixture.database();
    let table = database.define(expiring(None)).unwrap();
    let long = "k".repeat(900);
    for at in 0..600 {
        let id = if at == 0 { long.clone() } else { format!("{at:04}") };
        commit(&database, expiring_in(&table, &id, &format!(r#"{{"n":{at}}}"#), 1)).unwrap();
    }
    commit(&database, put(&table, "stays", r#"{"n":7}"#)).unwrap();
    let expired = || fixture.store.as_ref().unwrap().stats()[0].expired;
    eventually("all are removed", || expired() == 600);
    assert_eq!(count(&database, &table), 1);
    let txn = database.read().unwrap();
    let changes = common::events(&txn, &table, 0, 10_000).unwrap().events;
    let deleted = changes.iter().filter(|change| change.operation == Operation::Delete).count();
    assert_eq!(deleted, 600);
    drop(txn);
    // an index entry without its record would be an error
    let filter = Some(compare("n", Comparator::GreaterEqual, common::number(0)));
    assert_eq!(found(&database, &table, Query { filter, ..Query::default() }), 1);
}

#[test]
fn a_kept_record_takes_its_space_unseen_until_its_time() {
    let fixture = fixture(OFTEN);
    let database = fixture.database();
    let mut schema = expiring(Some(1));
    schema.expiry = Some(Expiry { lifetime_ms: Some(1), kept_ms: 3_600_000, sweep_ms: None });
    let table = database.define(schema).unwrap();
    commit(&database, put(&table, "a", "{}")).unwrap();
    sleep(Duration::from_millis(100));
    assert_eq!(get(&database, &table, "a"), None);
    assert_eq!(fixture.store.as_ref().unwrap().stats()[0].expired, 0);
}

#[test]
fn a_table_can_begin_and_cease_to_expire() {
    let mut fixture = fixture(OFTEN);
    let plain = TableSchema { expiry: None, ..expiring(None) };
    {
        let database = fixture.database();
        let table = database.define(plain.clone()).unwrap();
        commit(&database, expiring_in(&table, "old", r#"{"n":1}"#, 0)).unwrap();
        let table = database.define(expiring(Some(1))).unwrap();
        assert!(get(&database, &table, "old").is_some(), "what was written before stays");
        commit(&database, put(&table, "new", r#"{"n":2}"#)).unwrap();
        database.define(plain).unwrap();
        commit(&database, expiring_in(&table, "later", r#"{"n":3}"#, 0)).unwrap();
    }
    fixture.reopen().unwrap();
    let database = fixture.database();
    let table = database.table("T").unwrap();
    eventually("the one that had a time goes", || get(&database, &table, "new").is_none());
    assert_eq!(count(&database, &table), 2);
    let is_removed = || {
        let txn = database.read().unwrap();
        let changes = common::events(&txn, &table, 0, 10).unwrap().events;
        changes.iter().any(|change| change.operation == Operation::Delete)
    };
    eventually("it is removed", is_removed);
}

#[derive(Debug, Clone)]
enum Write {
    /// Expired at once, in an hour, or never.
    Put(u8, Option<u64>),
    Patch(u8),
    Delete(u8),
    Sweep(u8),
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let lifetime = prop_oneof![Just(Some(0)), Just(Some(3_600_000)), Just(None)];
    let write = prop_oneof![
        4 => (0..6u8, lifetime).prop_map(|(id, lifetime)| Write::Put(id, lifetime)),
        2 => (0..6u8).prop_map(Write::Patch),
        1 => (0..6u8).prop_map(Write::Delete),
        2 => (0..6u8).prop_map(Write::Sweep),
    ];
    proptest::collection::vec(write, 1..40)
}

fn apply(database: &Arc<Database>, table: &Table, write: &Write) {
    let op = match write {
        Write::Put(id, Some(ms)) => expiring_in(table, &id.to_string(), r#"{"n":1}"#, *ms),
        Write::Put(id, None) => put(table, &id.to_string(), r#"{"n":1}"#),
        Write::Patch(id) => patch(table, &id.to_string(), r#"{"n":2}"#),
        Write::Delete(id) => delete(table, &id.to_string()),
        Write::Sweep(id) => Op::Expire { table: table.clone(), key: key(table, &id.to_string()) },
    };
    commit(database, op).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_only_the_living_are_seen(writes in writes()) {
        let fixture = fixture(NEVER);
        let database = fixture.database();
        let table = database.define(expiring(None)).unwrap();
        let mut model: BTreeMap<u8, u8> = BTreeMap::new();
        for write in &writes {
            apply(&database, &table, write);
            match write {
                Write::Put(id, Some(0)) | Write::Delete(id) => drop(model.remove(id)),
                Write::Put(id, _) => drop(model.insert(*id, 1)),
                Write::Patch(id) => drop(model.insert(*id, 2)),
                Write::Sweep(_) => {}
            }
            prop_assert_eq!(count(&database, &table), model.len() as u64);
            let ones = model.values().filter(|n| **n == 1).count();
            let filter = Some(compare("n", Comparator::Equal, common::number(1)));
            prop_assert_eq!(found(&database, &table, Query { filter, ..Query::default() }), ones);
        }
    }
}
