//! How long an answer may take to begin.

use super::home;
use std::time::{Duration, Instant};

#[test]
fn an_answer_that_does_not_begin_in_time_is_a_503_and_the_write_may_still_be_committed() {
    let launch = home().launch().set("storage.syncDelayForTests=1500");
    let server = launch.set("http.responseTimeout=200").start();
    let begun = Instant::now();
    let mut wire = server.wire();
    wire.send("PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    let reply = wire.reply();
    assert!(begun.elapsed() < Duration::from_millis(1400), "{:?}", begun.elapsed());
    assert_eq!(reply.status, 503, "{reply}");
    assert!(reply.error().contains("may still be committed"), "{reply}");
    assert_eq!(reply.json()["type"], "urn:harper:problem:response-timeout");
    assert!(reply.has("server-timing") && reply.has("x-request-id"), "as any other: {reply}");
    assert_eq!(server.metric("harper_rejected_total{reason=\"response_time\"}"), 1.0);
    assert_eq!(wire.get("/Dog/?limit(0)").reply().status, 200, "the connection goes on");
    crate::harness::eventually("the write", || {
        (server.client().get("/Dog/1").status == 200).then_some(())
    });
}
