//! What holds whatever happens, in whichever order.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;

/// Something that happens while somebody subscribes.
#[derive(Clone, Debug)]
enum Happens {
    Put(usize, usize),
    Delete(usize),
    Take(usize),
    Pause,
    Subscribe,
    Leave,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => (0..6usize, 0..900usize).prop_map(|(key, size)| Happens::Put(key, size)),
        2 => (0..6usize).prop_map(Happens::Delete),
        6 => (1..5usize).prop_map(Happens::Take),
        4 => Just(Happens::Pause),
        1 => Just(Happens::Subscribe),
        1 => Just(Happens::Leave),
    ]
}

/// What one subscription has learnt.
#[derive(Default)]
struct Learnt {
    /// Versions by key.
    records: BTreeMap<String, u64>,
    sequence: u64,
    is_complete: bool,
}

impl Learnt {
    fn hear(&mut self, what: &What) {
        let told = match what {
            What::Told(told, Way::Current) => {
                assert!(!self.is_complete, "the records come first");
                told
            }
            What::Told(told, _) => {
                assert!(self.is_complete, "and the changes after them");
                assert!(told.event.sequence > self.sequence, "in order, and none twice");
                self.sequence = told.event.sequence;
                told
            }
            What::Complete(sequence) => {
                self.is_complete = true;
                return self.sequence = *sequence;
            }
            What::Reset | What::End(_) => panic!("nothing is pruned, and nobody stops"),
        };
        let key = told.event.key.to_text();
        match told.event.operation {
            Operation::Delete => drop(self.records.remove(&key)),
            _ => drop(self.records.insert(key, told.event.version)),
        }
    }
}

/// Runs a script; in the end every subscription knows the table as it is.
async fn follow_script(fixture: &Fixture, limits: Realtime, script: &[Happens]) {
    let local = fixture.local(limits);
    let outbox = local.outbox(Protocol::Mqtt);
    let mut open = BTreeMap::new();
    let mut learnt: BTreeMap<u64, Learnt> = BTreeMap::new();
    let hear = |learnt: &mut BTreeMap<u64, Learnt>, delivery: &Delivery| {
        learnt.entry(delivery.tag).or_default().hear(&delivery.what);
    };
    let mut tags = 0..;
    let mut subscribe = |open: &mut BTreeMap<u64, Subscription>| {
        let tag = tags.next().unwrap();
        let watch = fixture.watch(Filter::All, Start::Current);
        let subscription = local.subscribe(&outbox, Watch { tag, ..watch }).unwrap();
        open.insert(tag, subscription);
    };
    subscribe(&mut open);
    for step in script {
        match step {
            Happens::Put(key, size) => drop(fixture.put(&key.to_string(), *size)),
            Happens::Delete(key) => fixture.delete(&key.to_string()),
            Happens::Take(count) => {
                (0..*count).filter_map(|_| outbox.take()).for_each(|d| hear(&mut learnt, &d));
            }
            Happens::Pause => tokio::task::yield_now().await,
            Happens::Subscribe => subscribe(&mut open),
            Happens::Leave => drop(open.pop_last()),
        }
    }
    // the last change is seen by all, and so all before it
    let last = fixture.put("last", 0);
    let is_done = |learnt: &BTreeMap<u64, Learnt>| {
        open.keys().all(|tag| learnt.get(tag).is_some_and(|one| one.sequence >= last))
    };
    while !is_done(&learnt) {
        hear(&mut learnt, &outbox.next().await);
    }
    let txn = fixture.database.read().unwrap();
    for one in open.keys().map(|tag| &learnt[tag]) {
        assert_eq!(one.records.len() as u64, fixture.table.count(&txn).unwrap());
        for (key, version) in &one.records {
            let record = fixture.table.get(&txn, &text(key)).unwrap().unwrap();
            assert_eq!(record.meta.version, *version, "{key}");
        }
    }
}

/// Whatever happens in whichever order, and however little may wait: records come before changes, changes in their order,
/// none twice, and all who stay know the table as it is in the end.
#[test]
fn every_subscription_learns_the_state_of_the_table() {
    let fixture = Fixture::new();
    let cases = (
        prop::collection::vec(happens(), 1..60),
        prop::sample::select(vec![1, 2000, 8000, 64 << 10]),
        prop::sample::select(vec![1, 3000, 1 << 20]),
        prop::sample::select(vec![1, 1 << 20]),
    );
    let mut runner = TestRunner::new(Config { cases: 48, ..Config::default() });
    let law = |(script, outbox_bytes_max, inbox_bytes_max, held_bytes_max): (Vec<_>, _, _, _)| {
        let limits = Realtime { outbox_bytes_max, inbox_bytes_max, held_bytes_max, ..LIMITS };
        run(follow_script(&fixture, limits, &script));
        Ok(())
    };
    runner.run(&cases, law).unwrap();
}
