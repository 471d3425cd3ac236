//! Authorities that are silent, go away, or whose answers somebody exchanges.

use super::office::{OpenSsl, dated_list, list, with_list, with_ocsp};
use super::{REVOKED, UNKNOWN, World, metric, refusal};
use crate::harness::{Server, eventually};
use crate::tls::certificates::Authority;
use crate::tls::client::Tls;
use serde_json::json;
use std::time::{Duration, Instant};

/// Asks until so many fetches have failed; the client's lot does not change.
fn outlasts(server: &Server, client: &Tls, expected: &str, source: &str, failures: f64) {
    eventually("it is asked in vain", || {
        assert_eq!(refusal(server, client), expected);
        let failed = format!("source=\"{source}\",result=\"failed\"");
        (metric(server, "harper_tls_revocation_fetches_total", &failed) >= failures).then_some(())
    });
    assert_eq!(refusal(server, client), expected);
}

#[test]
fn an_answer_in_force_outlasts_its_responder() {
    let world = World::new();
    let signer = world.authority();
    let known = (&[8][..], &[7][..]);
    let openssl = OpenSsl::new(&world.home, "o", &world.clients, &signer, known, &["-nmin", "60"]);
    let ocsp = json!({"cacheTtl": 600, "errorCacheTtl": 200});
    for (mode, number, expected) in [("fail-closed", 8, ""), ("fail-open", 7, REVOKED)] {
        let server = world.start(&json!({"failureMode": mode, "ocsp": ocsp}));
        let client = world.answered(number, "/ocsp");
        let own = openssl.clone();
        world.office.answer("/ocsp", move |question| Some((200, own.answer(question))));
        assert_eq!(refusal(&server, &client), expected, "{mode}");
        world.office.serve("/ocsp", 500, vec![]);
        outlasts(&server, &client, expected, "ocsp", 3.0);
        // a signed word that nothing is known is none either
        let none = (&[][..], &[][..]);
        let own = OpenSsl::new(&world.home, "n", &world.clients, &signer, none, &["-nmin", "60"]);
        let asked = world.office.asked("/ocsp");
        world.office.answer("/ocsp", move |question| Some((200, own.answer(question))));
        eventually("it is asked again", || {
            assert_eq!(refusal(&server, &client), expected, "{mode}");
            (world.office.asked("/ocsp") > asked + 1).then_some(())
        });
    }
}

#[test]
fn a_newer_list_outlasts_an_older_and_a_forged_one() {
    let world = World::new();
    let (own, week) = (&world.clients, 7 * 86_400);
    let crl = json!({"cacheTtl": 300});
    let older = dated_list(own, &[], (-8 * 86_400, -3600));
    let in_force = dated_list(own, &[], (-7200, week));
    for replaced in [older, in_force, list(&Authority::new("clients"), &[], week)] {
        world.office.serve("/list", 200, dated_list(own, &[7], (-3600, week)));
        for mode in ["fail-closed", "fail-open"] {
            world.office.serve("/list", 200, dated_list(own, &[7], (-3600, week)));
            let server = world.start(&json!({"failureMode": mode, "crl": crl}));
            let (revoked, good) = (world.listed(7, "/list"), world.listed(8, "/list"));
            assert_eq!(refusal(&server, &revoked), REVOKED);
            world.office.serve("/list", 200, replaced.clone());
            outlasts(&server, &revoked, REVOKED, "crl", 1.0);
            assert_eq!(refusal(&server, &good), "");
        }
    }
}

#[test]
fn where_a_list_is_forged_others_are_asked() {
    let world = World::new();
    let (own, office) = (&world.clients, &world.office);
    let openssl =
        OpenSsl::new(&world.home, "ocsp", own, &world.authority(), (&[8], &[7]), &["-nmin", "9"]);
    office.answer("/ocsp", move |question| Some((200, openssl.answer(question))));
    office.serve("/forged", 200, list(&Authority::new("clients"), &[7, 8], 3600));
    let server = world.start(&json!({"failureMode": "fail-open"}));
    let asked = |number: u64, responder: &str| {
        world.client(number, |params| {
            with_list(params, &format!("{}/forged", office.url));
            with_ocsp(params, &format!("{}{responder}", office.url));
        })
    };
    assert_eq!(refusal(&server, &asked(8, "/ocsp")), "");
    assert_eq!(refusal(&server, &asked(7, "/ocsp")), REVOKED);
    assert_eq!(refusal(&server, &asked(8, "/absent")), UNKNOWN, "in either mode");
}

#[test]
fn one_that_fails_closed_is_enough() {
    let world = World::new();
    let client = world.client(8, |params| {
        with_list(params, &format!("{}/absent", world.office.url));
        with_ocsp(params, &format!("{}/absent", world.office.url));
    });
    for (crl, ocsp, expected) in [
        ("fail-closed", "fail-open", UNKNOWN),
        ("fail-open", "fail-closed", UNKNOWN),
        ("fail-open", "fail-open", ""),
    ] {
        let modes = json!({"crl": {"failureMode": crl}, "ocsp": {"failureMode": ocsp}});
        assert_eq!(refusal(&world.start(&modes), &client), expected, "{modes}");
    }
}

#[test]
fn silent_authorities_hold_up_nobody_else() {
    let world = World::new();
    let (own, office) = (&world.clients, &world.office);
    office.answer("/silent", |_| None);
    office.answer("/mute", |_| None);
    office.serve("/good", 200, list(own, &[7], 3600));
    let slow = list(own, &[7], 3600);
    office.answer("/slow", move |_| {
        std::thread::sleep(Duration::from_secs(1));
        Some((200, slow.clone()))
    });
    let server = world.start(&json!({"crl": {"timeout": 20_000}}));
    assert_eq!(refusal(&server, &world.listed(8, "/good")), "");
    let begun = Instant::now();
    let mut waiting = Vec::new();
    for path in ["/silent", "/mute"] {
        let client = world.listed(8, path);
        // more than can be asked about at once, and gone before they are answered
        for _ in 0..150 {
            let mut secure = client.connect(server.https(), "localhost").unwrap();
            secure.get("/Dog/");
            waiting.push(secure);
        }
    }
    eventually("both are asked", || {
        (office.asked("/silent") + office.asked("/mute") == 2).then_some(())
    });
    assert_eq!(refusal(&server, &world.listed(8, "/good")), "", "remembered");
    assert_eq!(refusal(&server, &world.listed(8, "/slow")), "", "fetched");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn what_a_file_tells_is_not_asked() {
    let world = World::new();
    let write = |seconds| world.home.write("lists.der", list(&world.clients, &[7], seconds));
    let file = world.home.path("lists.der").display().to_string();
    let verification = json!({"crl": {"file": file}, "ocsp": true});
    // neither names anybody, or anybody who answers
    let clients = [world.client(8, |_| ()), world.answered(8, "/absent")];
    for (seconds, expected) in [(3600, ""), (-3600, UNKNOWN)] {
        write(seconds);
        let server = world.start(&verification);
        for client in &clients {
            assert_eq!(refusal(&server, client), expected, "{seconds}");
        }
        let told = metric(
            &server,
            "harper_tls_revocation_answers_total",
            "source=\"file\",result=\"good\"",
        );
        assert_eq!(told, if seconds > 0 { 2.0 } else { 0.0 });
    }
    assert_eq!(world.office.asked("/absent"), 1, "the list was out of date");
}
