//! `kill -9` during load: what was acknowledged is there afterwards, and the database opens each time.
//!
//! `HARPER_KILL_ROUNDS=100 cargo test -p harper-tests crash -- --nocapture` runs a hundred rounds.

use crate::harness::client::Client;
use crate::harness::{Home, Random, Server};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Rounds where the environment names no number.
const ROUNDS: u64 = 20;
/// Clients that write at the same time; each has records of its own.
const WRITERS: u64 = 4;

/// What a writer knows of one of its records.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    /// The value that was acknowledged last; none when the record was deleted or never made.
    acknowledged: Option<u64>,
    /// The value of the write that was under way at the kill: it may have been carried out or not.
    under_way: Option<Option<u64>>,
}

/// The records of one writer, by key.
type Records = BTreeMap<String, Known>;

#[test]
fn no_acknowledged_write_is_lost_by_kill_9() {
    let rounds = std::env::var("HARPER_KILL_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    println!("seed {seed}");
    let mut random = Random(seed);
    let home = Home::with_schema(
        "type T @table @export { id: ID @primaryKey n: Long @indexed text: String }",
    );
    let mut all = vec![Records::new(); WRITERS as usize];
    let (mut writes, mut longest) = (0, Duration::ZERO);
    for round in 0..rounds {
        let begun = Instant::now();
        let server = start(&home);
        verify(&server, &mut all, round);
        let life = Duration::from_millis(200 + random.below(700));
        writes += load_and_kill(&server, &mut all, life, &mut random);
        drop(server);
        longest = longest.max(begun.elapsed());
    }
    let server = start(&home);
    verify(&server, &mut all, rounds);
    assert!(writes > rounds * WRITERS, "only {writes} writes: that was no load");
    println!(
        "kill -9: {rounds} rounds, {writes} acknowledged writes, none lost; longest round {} ms",
        longest.as_millis()
    );
}

fn start(home: &Arc<Home>) -> Server {
    // the password is that of the root already: no hash is computed
    home.launch().set("threads.count=2").without_env("HDB_ADMIN_PASSWORD").start()
}

/// Writes from several clients until the server is killed; returns how many writes were acknowledged.
fn load_and_kill(server: &Server, all: &mut [Records], life: Duration, random: &mut Random) -> u64 {
    std::thread::scope(|scope| {
        let writers: Vec<_> = all
            .iter_mut()
            .enumerate()
            .map(|(writer, records)| {
                let (client, random) = (server.client(), Random(random.below(u64::MAX >> 12) | 1));
                scope.spawn(move || write(&client, writer, records, random))
            })
            .collect();
        std::thread::sleep(life);
        server.signal(Signal::KILL);
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    })
}

/// Puts, changes and deletes records until a request gets no answer.
fn write(client: &Client, writer: usize, records: &mut Records, mut random: Random) -> u64 {
    for acknowledged in 0.. {
        let key = format!("{writer}-{}", random.below(40));
        let known =
            records.entry(key.clone()).or_insert(Known { acknowledged: None, under_way: None });
        let (path, value) = (format!("/T/{key}"), random.below(1 << 40));
        let (ask, next) = match (random.below(10), known.acknowledged) {
            (0, _) => (client.request("DELETE", &path), None),
            (1..4, Some(old)) => {
                let body = r#"{"n":{"__op__":"add","value":1}}"#;
                (client.request("PATCH", &path).json(body), Some(old + 1))
            }
            _ => {
                let body = format!(
                    r#"{{"n":{value},"text":"{}"}}"#,
                    "x".repeat(random.below(600) as usize)
                );
                (client.request("PUT", &path).json(&body), Some(value))
            }
        };
        match ask.try_send() {
            Ok(reply) => {
                assert!(matches!(reply.status, 200 | 204), "{reply}");
                known.acknowledged = next;
            }
            Err(_) => {
                known.under_way = Some(next);
                return acknowledged;
            }
        }
    }
    0
}

/// Compares every record with what its writer knows, by key and through the index.
fn verify(server: &Server, all: &mut [Records], round: u64) {
    let client = server.client();
    let list = client.get("/T/").expect(200).json();
    let stored: BTreeMap<String, u64> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|record| (record["id"].as_str().unwrap().to_owned(), record["n"].as_u64().unwrap()))
        .collect();
    let known: usize = all.iter().map(BTreeMap::len).sum();
    assert!(stored.len() <= known, "round {round}: records that nobody wrote");
    for (key, known) in all.iter_mut().flatten() {
        let found = stored.get(key).copied();
        let is_right = found == known.acknowledged || known.under_way == Some(found);
        assert!(is_right, "round {round}: {key} is {found:?}, but {known:?}");
        *known = Known { acknowledged: found, under_way: None };
    }
    let mut by_index: Vec<String> =
        serde_json::from_slice(&client.get("/T/?n=ge=0&select(id)").expect(200).body).unwrap();
    by_index.sort();
    assert!(by_index.iter().eq(stored.keys()), "round {round}: the index and the records differ");
}
