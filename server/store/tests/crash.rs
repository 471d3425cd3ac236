//! A process that is killed while it writes: what it acknowledged is there, whole and once.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, a child tells")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bytes::Bytes;
use common::{attribute, events, key, options, schema};
use harper_store::{
    Database, Error, Kind, Message, Op, SideOp, SideTree, Store, Table, Transaction,
};

/// Names the root for the process that is to write.
const ROOT: &str = "HARPER_STORE_TEST_ROOT";
const TAKEN: SideTree = SideTree("taken");
const ROUNDS: usize = 3;

fn open(root: &Path) -> (Store, std::sync::Arc<Database>, Table) {
    let store = Store::open(root, &root.join("database"), options()).unwrap();
    let database = store.database("data").unwrap();
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
    (store, database, table)
}

/// The message of a number, and that it was taken.
fn transaction(table: &Table, number: u64) -> Transaction {
    let body = Bytes::from(number.to_string());
    let message = Message { body: body.clone(), ..Message::default() };
    let op = Op::Message { table: table.clone(), key: key(table, "a"), message };
    let taken = SideOp::Insert { tree: TAKEN, key: body, value: Bytes::new() };
    Transaction { ops: vec![op], side: vec![taken] }
}

/// The numbers of the messages in the log, which must be those that were taken.
fn numbers(database: &Database, table: &Table) -> Vec<u64> {
    let txn = database.read().unwrap();
    let told = events(&txn, table, 0, usize::MAX).unwrap().events;
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse::<u64>().unwrap();
    let numbers: Vec<u64> = told.iter().map(|event| text(event.body.as_deref().unwrap())).collect();
    let taken = txn.side_range(TAKEN, b"", None).unwrap();
    let mut taken: Vec<u64> = taken.map(|item| text(item.unwrap().0)).collect();
    taken.sort_unstable();
    assert_eq!(numbers, taken);
    numbers
}

/// Not a test by itself: the process that is killed. It sends the number after the last again, as
/// a client does that got no answer.
#[test]
fn child() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let (_store, database, table) = open(Path::new(&root));
    let next = numbers(&database, &table).last().map_or(0, |last| *last);
    for number in next.. {
        match database.commit_transaction(transaction(&table, number)) {
            Ok(_) | Err(Error::Exists) => println!("took {number}"),
            Err(error) => panic!("{error}"),
        }
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn a_message_that_was_acknowledged_outlives_the_process_and_is_taken_once() {
    let root = tempfile::tempdir().unwrap();
    for _ in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(ROOT, root.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, receive) = sync_channel(1 << 16);
        let output = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, number)) = line.split_once("took ") {
                    let _ = send.send(number.parse::<u64>().unwrap());
                }
            }
        });
        let first = receive.recv_timeout(Duration::from_secs(60)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        let acknowledged = receive.try_iter().last().unwrap_or(first);
        let (_store, database, table) = open(root.path());
        let numbers = numbers(&database, &table);
        assert!(*numbers.last().unwrap() >= acknowledged);
        let all: Vec<u64> = (0..numbers.len() as u64).collect();
        assert_eq!(numbers, all, "each once and in order");
    }
}
