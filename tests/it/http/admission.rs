//! Requests that have waited too long are turned away.

use super::home;
use crate::harness::eventually;
use rustix::process::Signal;
use std::time::Duration;

#[test]
fn what_waited_for_longer_than_the_limit_is_503_whatever_the_method() {
    let server = home().launch().set("threads.count=1").set("http.requestQueueLimit=500").start();
    server.client().put("/Dog/1", "{}").expect(204);
    let ask = |method: &str| {
        format!("{method} /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    };
    let methods = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"];
    let mut wires: Vec<_> = methods.iter().map(|_| server.wire()).collect();
    for wire in &mut wires {
        wire.get("/Dog/1").reply().expect(200);
    }
    server.hold_still();
    for (wire, method) in wires.iter_mut().zip(methods) {
        wire.send(ask(method));
    }
    std::thread::sleep(Duration::from_millis(1800));
    server.signal(Signal::CONT);
    for (wire, method) in wires.iter_mut().zip(methods) {
        let (status, headers) = wire.head().unwrap();
        assert_eq!(status, 503, "{method}");
        assert_eq!(headers["retry-after"], "1", "{method}");
    }
    assert!(server.metric("harper_rejected_total{reason=\"queue_time\"}") >= 5.0);
    eventually("the server to recover", || {
        (server.client().get("/Dog/1").status == 200).then_some(())
    });
}
