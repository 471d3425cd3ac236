//! A server with a log sends to a naive client over a link that breaks; the server crashes and has only what it stored.
//! Law: QoS 1 at least once, QoS 2 exactly once, both in order.

use crate::Reason;
use crate::basic::{PacketId, Qos};
use crate::session::{Cursor, Outbound, Phase, Received, Resend, Row, recover};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet, VecDeque};

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A message is written to the log.
    Write(Qos),
    /// The server sends the next of the log.
    Send,
    /// A packet arrives.
    ToClient,
    ToServer,
    /// The link breaks; what is on it is lost.
    Break,
    /// The server forgets what it has not stored, and the link breaks.
    Crash,
    /// The server stores its cursor.
    Store,
}

#[derive(Debug, Clone, Copy)]
enum Down {
    Publish(PacketId, Qos, u64),
    Release(PacketId),
}

#[derive(Debug, Clone, Copy)]
enum Up {
    Ack(PacketId),
    Received(PacketId),
    Complete(PacketId),
}

/// What survives a crash.
#[derive(Default)]
struct Stored {
    log: Vec<Qos>,
    cursor: u64,
    rows: BTreeMap<u64, Row<u64>>,
}

#[derive(Default)]
struct Client {
    held: HashSet<PacketId>,
    taken: Vec<(Qos, u64)>,
}

struct World {
    stored: Stored,
    out: Outbound<u64>,
    cursor: Cursor,
    done: HashSet<u64>,
    client: Client,
    down: VecDeque<Down>,
    up: VecDeque<Up>,
}

const WINDOW: u16 = 3;

impl World {
    fn new() -> Self {
        Self {
            stored: Stored::default(),
            out: Outbound::new(WINDOW),
            cursor: Cursor::new(0),
            done: HashSet::new(),
            client: Client::default(),
            down: VecDeque::new(),
            up: VecDeque::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(qos) => self.stored.log.push(qos),
            Step::Send => self.send(),
            Step::ToClient => self.client_takes(),
            Step::ToServer => self.server_takes(),
            Step::Break => self.break_link(),
            Step::Crash => self.crash(),
            Step::Store => self.store(),
        }
    }

    fn send(&mut self) {
        match self.out.resend() {
            Some(Resend::Publish(id, qos, place)) => {
                return self.down.push_back(Down::Publish(id, qos, *place));
            }
            Some(Resend::Release(id)) => return self.down.push_back(Down::Release(id)),
            None => {}
        }
        let place = self.cursor.seen() + 1;
        let Some(qos) = self.stored.log.get(usize::try_from(place - 1).unwrap()).copied() else {
            return;
        };
        if self.done.contains(&place) {
            return self.cursor.pass(place);
        }
        let Some(id) = self.out.begin(qos, place) else { return };
        self.cursor.begin(place);
        if qos == Qos::ExactlyOnce {
            let turn = self.out.turn_of(id).unwrap();
            self.stored.rows.insert(place, Row { place, id, turn, phase: Phase::Sent });
        }
        self.down.push_back(Down::Publish(id, qos, place));
    }

    fn client_takes(&mut self) {
        match self.down.pop_front() {
            None => {}
            Some(Down::Publish(id, Qos::AtLeastOnce, place)) => {
                self.client.taken.push((Qos::AtLeastOnce, place));
                self.up.push_back(Up::Ack(id));
            }
            Some(Down::Publish(id, qos, place)) => {
                if self.client.held.insert(id) {
                    self.client.taken.push((qos, place));
                }
                self.up.push_back(Up::Received(id));
            }
            Some(Down::Release(id)) => {
                self.client.held.remove(&id);
                self.up.push_back(Up::Complete(id));
            }
        }
    }

    fn server_takes(&mut self) {
        match self.up.pop_front() {
            None => {}
            Some(Up::Ack(id)) => {
                if let Some(place) = self.out.puback(id).unwrap() {
                    self.cursor.done(place);
                }
            }
            Some(Up::Received(id)) => {
                assert_eq!(self.out.pubrec(id, Reason::Success).unwrap(), Received::Release);
                let rows = self.stored.rows.values_mut().filter(|row| row.id == id);
                let row = rows.max_by_key(|row| row.turn).unwrap();
                row.phase = Phase::Released;
                row.turn = self.out.turn_of(id).unwrap();
                self.down.push_back(Down::Release(id));
            }
            Some(Up::Complete(id)) => {
                if let Some(place) = self.out.pubcomp(id).unwrap() {
                    self.cursor.done(place);
                }
            }
        }
    }

    fn break_link(&mut self) {
        self.down.clear();
        self.up.clear();
        self.out.resume(WINDOW);
    }

    fn store(&mut self) {
        self.stored.cursor = self.cursor.position();
        self.stored.rows.retain(|place, _| *place > self.stored.cursor);
    }

    fn crash(&mut self) {
        self.down.clear();
        self.up.clear();
        let recovered = recover(self.stored.rows.values().copied().collect());
        self.out = Outbound::new(WINDOW);
        self.cursor = Cursor::new(self.stored.cursor);
        self.done = recovered.done.iter().copied().collect();
        for row in recovered.unanswered {
            self.out.restore(row.turn, row.id, Qos::ExactlyOnce, row.phase, row.place);
            self.cursor.reopen(row.place);
            self.done.insert(row.place);
        }
        self.out.resume(WINDOW);
    }

    /// Everything arrives in the end.
    fn settle(&mut self) {
        for _ in 0..self.stored.log.len() * 8 + 100 {
            self.send();
            self.client_takes();
            self.server_takes();
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Write(Qos::AtLeastOnce)),
        3 => Just(Step::Write(Qos::ExactlyOnce)),
        6 => Just(Step::Send),
        6 => Just(Step::ToClient),
        6 => Just(Step::ToServer),
        1 => Just(Step::Break),
        1 => Just(Step::Crash),
        1 => Just(Step::Store),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn at_least_once_exactly_once_and_in_order(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.settle();
        let taken = &world.client.taken;
        for (index, qos) in world.stored.log.iter().enumerate() {
            let place = index as u64 + 1;
            let times = taken.iter().filter(|one| **one == (*qos, place)).count();
            match qos {
                Qos::ExactlyOnce => prop_assert_eq!(times, 1, "{} of {:?}", place, taken),
                _ => prop_assert!(times >= 1, "{} of {:?}", place, taken),
            }
        }
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut first = Vec::new();
            for (_, place) in taken.iter().filter(|(known, _)| *known == qos) {
                if !first.contains(place) {
                    first.push(*place);
                }
            }
            prop_assert!(first.is_sorted(), "{:?} {:?}", qos, first);
        }
    }
}
