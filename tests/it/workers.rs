//! Connections spread over the workers, each a thread of its own.

use crate::harness::server::named_threads;
use crate::harness::{Home, eventually};
use std::collections::BTreeMap;

const WORKERS: usize = 4;
const CONNECTIONS: usize = 200;

#[test]
fn connections_spread_over_all_workers() {
    let home = Home::with_schema("type Dog @table @export { id: ID @primaryKey }");
    let server = home
        .launch()
        .set(&format!("threads.count={WORKERS}"))
        .set("http.logging.level=info")
        .start();
    assert_eq!(server.metric("harper_workers_running"), WORKERS as f64);
    // all are open at once, so that none is served where another one was
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| server.wire()).collect();
    for (number, connection) in connections.iter_mut().enumerate() {
        connection.get(&format!("/Dog/?id=c{number}"));
    }
    for connection in &mut connections {
        connection.reply().expect(200);
    }
    // the request log names the thread that served
    let by_thread = eventually("a log line for each request", || {
        let mut by_thread = BTreeMap::<String, usize>::new();
        for line in server.log().lines().filter(|line| line.contains("/Dog/?id=c")) {
            let thread = line.split(['[', ']']).nth(1).unwrap().to_owned();
            *by_thread.entry(thread).or_default() += 1;
        }
        (by_thread.values().sum::<usize>() == CONNECTIONS).then_some(by_thread)
    });
    let threads: Vec<_> = by_thread.keys().cloned().collect();
    let expected: Vec<_> = (0..WORKERS).map(|number| format!("http/{number}")).collect();
    assert_eq!(threads, expected, "{by_thread:?}");
    // a fair share is 50; the kernel spreads by hash, so that a tenth of it would be beyond all chance
    assert!(by_thread.values().all(|count| *count >= 5), "{by_thread:?}");
    assert_eq!(server.metric("harper_connections"), CONNECTIONS as f64);
    assert_eq!(named_threads(server.pid(), "http/"), WORKERS);
    drop(connections);
    eventually("the connections to be counted as closed", || {
        (server.metric("harper_connections") == 0.0).then_some(())
    });
}

#[test]
fn without_a_count_there_is_a_worker_for_each_cpu_it_may_use() {
    let home = Home::with_schema("type Dog @table @export { id: ID @primaryKey }");
    let server = home.launch().start();
    let workers = server.metric("harper_workers_running");
    let cpus = std::thread::available_parallelism().unwrap().get() as f64;
    assert!((1.0..=cpus).contains(&workers), "{workers} workers on {cpus} CPUs");
}

#[test]
fn a_write_through_one_worker_is_read_through_every_other() {
    let home = Home::with_schema("type Dog @table @export { id: ID @primaryKey n: Int @indexed }");
    let server = home.launch().set("threads.count=4").start();
    let mut connections: Vec<_> = (0..16).map(|_| server.wire()).collect();
    for n in 0..10 {
        server.client().put("/Dog/1", &format!(r#"{{"n":{n}}}"#)).expect(204);
        for connection in &mut connections {
            let expected = format!(r#"{{"id":"1","n":{n}}}"#);
            assert_eq!(connection.get("/Dog/1").reply().text(), expected);
            assert_eq!(
                connection.get(&format!("/Dog/?n={n}&select(id)")).reply().text(),
                r#"["1"]"#
            );
        }
    }
}
