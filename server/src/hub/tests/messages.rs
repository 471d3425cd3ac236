//! Messages that are in no log.

use super::*;

#[test]
fn a_message_reaches_every_worker_and_is_lost_where_there_is_no_room() {
    let fixture = Fixture::new();
    let (ready, is_ready) = crossbeam_channel::bounded(1);
    std::thread::scope(|scope| {
        let fixture = &fixture;
        scope.spawn(move || {
            run(async {
                let local = fixture.local(LIMITS);
                let outbox = local.outbox(Protocol::Mqtt);
                let watch = fixture.watch(Filter::Key(text("a")), Start::Now);
                let _open = local.subscribe(&outbox, watch).unwrap();
                ready.send(()).unwrap();
                assert_eq!(next(&outbox, 1).await, ["Change message a"]);
            });
        });
        is_ready.recv().unwrap();
        run(async {
            let local = fixture.local(Realtime { outbox_bytes_max: 3000, ..LIMITS });
            let (drops, ends) = (local.outbox(Protocol::Mqtt), local.outbox(Protocol::WebSocket));
            let watch = |overflow| Watch { overflow, ..fixture.watch(Filter::All, Start::Now) };
            let _open = local.subscribe(&drops, watch(Overflow::Drop)).unwrap();
            let _other = local.subscribe(&ends, watch(Overflow::Disconnect)).unwrap();
            for _ in 0..3 {
                local.publish(fixture.message("a"));
            }
            for outbox in [&drops, &ends] {
                assert_eq!(next(outbox, 2).await, ["Change message a"; 2]);
                assert!(outbox.take().is_none(), "nobody is owed it");
            }
            let owed = || Event { extra: bytes::Bytes::from_static(&[1]), ..fixture.message("b") };
            for _ in 0..4 {
                local.publish(owed());
            }
            let told = ["Change message b"; 2];
            assert_eq!(next(&drops, 2).await, told);
            assert_eq!(next(&ends, 3).await, [&told[..], &["end TooSlow"]].concat());
            local.publish(owed());
            assert_eq!(next(&drops, 1).await, ["Change message b"]);
            assert!(ends.take().is_none() && drops.take().is_none());
        });
    });
    // one for each of what nobody is owed; two for the one that waits for room, one for the one that ended
    assert_eq!(fixture.counted("harper_realtime_messages_dropped_total{reason=\"outbox\"}"), 5.0);
}

#[test]
fn what_is_published_goes_together_in_order_until_it_is_many_or_large() {
    let (fixture, published, at) =
        (Fixture::new(), published::Published::default(), Instant::now());
    assert!(published.take().is_none());
    published.add(Arc::new(fixture.message("a")), at);
    published.add(Arc::new(fixture.message("b")), at + Duration::from_secs(1));
    let (events, since) = published.take().unwrap();
    assert!(events.iter().map(|event| &event.key).eq([&text("a"), &text("b")]));
    assert_eq!(since, at, "they have waited since the first came");
    let many = |event: Event| {
        let event = Arc::new(event);
        while published.has_room_for(&event) {
            published.add(Arc::clone(&event), at);
        }
        published.take().unwrap().0.len()
    };
    assert_eq!(many(Event { body: None, ..fixture.message("a") }), 64);
    assert!((25..33).contains(&many(fixture.message("a"))), "32 KiB of them");
    let huge = Event { body: Some(vec![0; 1 << 20].into()), ..fixture.message("a") };
    assert_eq!(many(huge), 1);
}
