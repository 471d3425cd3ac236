//! Bytes beside the tables, in the same commit as a message.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;

use bytes::Bytes;
use common::{Fixture, attribute, events, key, options, put, schema};
use harper_store::{
    Database, Error, Kind, Message, Op, Options, SideOp, SideTree, Table, Transaction,
};
use proptest::prelude::*;

const ONE: SideTree = SideTree("one");
const TWO: SideTree = SideTree("two");

fn store(tree: SideTree, key: &[u8], value: &str) -> SideOp {
    let (key, value) = (Bytes::copy_from_slice(key), Bytes::from(value.to_owned()));
    SideOp::Put { tree, key, value }
}

fn insert(tree: SideTree, key: &[u8], value: &str) -> SideOp {
    let (key, value) = (Bytes::copy_from_slice(key), Bytes::from(value.to_owned()));
    SideOp::Insert { tree, key, value }
}

fn remove(tree: SideTree, key: &[u8]) -> SideOp {
    SideOp::Delete { tree, key: Bytes::copy_from_slice(key) }
}

fn message(table: &Table, body: &str) -> Op {
    let message = Message { body: Bytes::from(body.to_owned()), ..Message::default() };
    Op::Message { table: table.clone(), key: key(table, "a"), message }
}

fn side(database: &Database, side: Vec<SideOp>) -> Result<(), Error> {
    database.commit_transaction(Transaction { ops: Vec::new(), side }).map(drop)
}

fn held(database: &Database, tree: SideTree, prefix: &[u8], after: Option<&[u8]>) -> Vec<Vec<u8>> {
    let txn = database.read().unwrap();
    let found = txn.side_range(tree, prefix, after).unwrap();
    found.map(|item| item.unwrap().0.to_vec()).collect()
}

fn define(database: &Database) -> Table {
    database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap()
}

#[test]
fn a_message_and_what_is_remembered_of_it_are_one_commit() {
    let mut fixture = Fixture::new();
    {
        let database = fixture.database();
        let table = define(&database);
        let transaction = |text: &str| Transaction {
            ops: vec![message(&table, text)],
            side: vec![insert(ONE, b"client/1", text)],
        };
        database.commit_transaction(transaction("first")).unwrap();
        let again = database.commit_transaction(transaction("again"));
        assert!(matches!(again, Err(Error::Exists)));
        let both = Transaction {
            ops: vec![message(&table, "x"), put(&table, "b", "{}"), message(&table, "y")],
            side: vec![insert(TWO, b"client/1", ""), insert(ONE, b"client/1", "z")],
        };
        assert!(matches!(database.commit_transaction(both), Err(Error::Exists)));
        side(&database, vec![remove(ONE, b"missing")]).unwrap();
    }
    fixture.reopen().unwrap();
    let database = fixture.database();
    let table = define(&database);
    let txn = database.read().unwrap();
    let told = events(&txn, &table, 0, 10).unwrap().events;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].body.as_deref(), Some(&b"first"[..]));
    assert_eq!(txn.side(ONE, b"client/1").unwrap(), Some(&b"first"[..]));
    assert_eq!(txn.side(TWO, b"client/1").unwrap(), None);
}

#[test]
fn what_fails_beside_it_leaves_nothing() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let table = define(&database);
    let body = harper_store::Prepared::put(&table.schema(), b"{}").unwrap();
    let exists = Op::Insert { table: table.clone(), key: Some(key(&table, "a")), body };
    database.commit(vec![exists.clone()]).unwrap();
    for ops in [vec![exists.clone()], vec![message(&table, "m"), exists]] {
        let transaction = Transaction { ops, side: vec![store(ONE, b"k", "v")] };
        assert!(matches!(database.commit_transaction(transaction), Err(Error::Exists)));
    }
    assert!(held(&database, ONE, b"", None).is_empty());
    let long = side(&database, vec![store(ONE, &[1; 1975], "v")]);
    assert!(matches!(long, Err(Error::Invalid(_))), "{long:?}");
    side(&database, vec![store(ONE, &[1; 1974], "v")]).unwrap();
}

#[test]
fn a_range_has_one_tree_one_prefix_and_goes_on() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let keys: [&[u8]; 5] = [b"a", b"a/1", b"a/2", b"a/\xff", b"b"];
    side(&database, keys.iter().map(|key| store(ONE, key, "v")).collect()).unwrap();
    side(&database, vec![store(TWO, b"a/9", "v"), store(SideTree("on"), b"e", "v")]).unwrap();
    assert_eq!(held(&database, ONE, b"a/", None), keys[1..4]);
    assert_eq!(held(&database, ONE, b"a/", Some(b"a/1")), keys[2..4]);
    assert_eq!(held(&database, ONE, b"", None), keys);
    assert_eq!(held(&database, TWO, b"", None), [b"a/9"]);
}

#[test]
fn its_bytes_are_bounded_and_can_be_removed() {
    let fixture = Fixture::with(Options { side_bytes_max: 40_000, ..options() });
    let database = fixture.database();
    let mut full = None;
    let value = "v".repeat(3000);
    for at in 0..100u8 {
        if let Err(error) = side(&database, vec![store(ONE, &[at], &value)]) {
            full = Some((at, error));
            break;
        }
    }
    let (at, error) = full.unwrap();
    assert!(matches!(error, Error::SideFull { max: 40_000 }), "{error}");
    assert!((5..20).contains(&at), "{at}");
    let bytes = || fixture.store.as_ref().unwrap().stats()[0].side_bytes;
    assert!((40_000..60_000).contains(&bytes()), "{}", bytes());
    // what takes no more room than it gives back goes on
    side(&database, vec![store(ONE, &[0], &value)]).unwrap();
    side(&database, vec![store(ONE, &[at], &value), remove(ONE, &[0])]).unwrap();
    side(&database, vec![store(ONE, &[0], &value), remove(ONE, &[at])]).unwrap();
    let more = side(&database, vec![store(ONE, &[at, 1], &value), remove(ONE, &[at])]);
    assert!(matches!(more, Err(Error::SideFull { .. })), "{more:?}");
    side(&database, (0..at).map(|at| remove(ONE, &[at])).collect()).unwrap();
    assert_eq!(bytes(), 0);
    side(&database, vec![store(ONE, &[0], &value)]).unwrap();
}

fn changes() -> impl Strategy<Value = Vec<Vec<(u8, u8, u8)>>> {
    let change = (0..3u8, 0..6u8, any::<u8>());
    proptest::collection::vec(proptest::collection::vec(change, 1..4), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_map(transactions in changes()) {
        let fixture = Fixture::new();
        let database = fixture.database();
        let mut model: BTreeMap<u8, String> = BTreeMap::new();
        for transaction in transactions {
            let before = model.clone();
            let mut exists = false;
            let ops = transaction.iter().map(|(kind, id, value)| {
                let value = value.to_string();
                match kind {
                    0 => {
                        model.insert(*id, value.clone());
                        store(ONE, &[*id], &value)
                    }
                    1 => {
                        exists |= before.contains_key(id);
                        model.insert(*id, value.clone());
                        insert(ONE, &[*id], &value)
                    }
                    _ => {
                        model.remove(id);
                        remove(ONE, &[*id])
                    }
                }
            });
            let result = side(&database, ops.collect());
            prop_assert_eq!(matches!(result, Err(Error::Exists)), exists);
            if exists {
                model = before;
            }
            let txn = database.read().unwrap();
            let found = txn.side_range(ONE, b"", None).unwrap();
            let found: BTreeMap<u8, String> = found.map(|item| {
                let (key, value) = item.unwrap();
                (key[0], String::from_utf8(value.to_vec()).unwrap())
            }).collect();
            prop_assert_eq!(&found, &model);
        }
    }
}
