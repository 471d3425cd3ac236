//! Limits on heads and connections.

use super::home;
use crate::harness::eventually;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

#[test]
fn a_head_beyond_the_limit_is_431() {
    let server = home().start();
    let request = |bytes: usize| {
        format!("GET /Dog/ HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(bytes))
    };
    server.wire().send(request(15_500)).reply().expect(200);
    for bytes in [17_000, 200_000] {
        let mut wire = server.wire();
        wire.send(request(bytes));
        let reply = wire.reply();
        assert_eq!((reply.status, reply.header("connection")), (431, "close"), "{bytes}: {reply}");
    }
    let small = home().launch().set("http.maxHeaderSize=9000").start();
    small.wire().send(request(8_500)).reply().expect(200);
    small.wire().send(request(9_500)).reply().expect(431);
    let many: String = (0..150).map(|number| format!("X-{number}: a\r\n")).collect();
    let refused =
        server.wire().send(format!("GET /Dog/ HTTP/1.1\r\nHost: localhost\r\n{many}\r\n")).reply();
    refused.expect(431);
    let long = server.wire().get(&format!("/Dog/?name={}", "x".repeat(70_000))).reply();
    assert!(matches!(long.status, 414 | 431), "{long}");
}

#[test]
fn connections_beyond_the_limit_are_503_until_one_is_closed() {
    let server = home().launch().set("threads.count=2").set("http.connectionsMax=5").start();
    let mut open: Vec<_> = (0..5).map(|_| server.wire()).collect();
    for wire in &mut open {
        wire.get("/Dog/").reply().expect(200);
    }
    let mut refused = server.wire();
    let reply = refused.get("/Dog/").reply();
    assert_eq!((reply.status, reply.header("connection")), (503, "close"));
    assert_eq!(reply.header("retry-after"), "1");
    assert!(server.metric("harper_rejected_total{reason=\"connections\"}") >= 1.0);
    for wire in &mut open {
        wire.get("/Dog/").reply().expect(200);
    }
    open.pop();
    eventually("a free place", || {
        let mut wire = server.wire();
        wire.get("/Dog/").try_reply().filter(|reply| reply.status == 200)
    });
}

#[test]
fn a_process_that_runs_out_of_files_recovers() {
    let server = home().start();
    server.client().put("/Dog/1", "{}").expect(204);
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count() as u64;
    let limit = Rlimit { current: Some(open + 10), maximum: Some(open + 10) };
    prlimit(Pid::from_raw(server.pid() as i32), Resource::Nofile, limit).unwrap();
    let mut many: Vec<_> = (0..60).map(|_| server.wire()).collect();
    server.line("connections cannot be accepted");
    // those that were accepted are served; the others wait until there is room
    many.drain(..30);
    for wire in &mut many {
        wire.get("/Dog/1");
    }
    while let Some(mut wire) = many.pop() {
        if many.len() < 5 {
            wire.reply().expect(200);
        }
    }
    server.client().get("/Dog/1").expect(200);
    server.admin().get("/livez").expect(200);
    server.stop();
}
