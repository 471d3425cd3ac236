//! How a changed configuration comes into force, and what happens to a bad one.

use super::fixture::{Live, home, path, text, write};
use crate::harness::eventually;
use rustix::process::Signal;
use serde_json::json;
use std::os::unix::fs::symlink;

fn is_cors_on(live: &Live) -> bool {
    let reply = live.client().request("GET", "/Dog/").header("origin", "http://a.example").send();
    reply.has("access-control-allow-origin")
}

#[test]
fn a_changed_file_is_followed_without_being_told() {
    let live = Live::start();
    assert!(is_cors_on(&live));
    write(&live.home, &[("http.cors", json!(false))]);
    eventually("the change", || (!is_cors_on(&live)).then_some(()));
    let line = live.server.line("configuration read anew");
    assert!(line.contains("http.cors"), "{line}");
    // in place, without a rename
    std::fs::write(path(&live.home), text(&live.home, &[])).unwrap();
    eventually("the change back", || is_cors_on(&live).then_some(()));
    assert_eq!(live.server.metric("harper_config_reload_failures_total"), 0.0);
    assert_eq!(live.server.metric("harper_config_reloads_total"), 2.0);
}

#[test]
fn the_swapped_link_of_a_kubernetes_volume_is_followed() {
    let home = home();
    home.write("volume/..one/harperdb-config.yaml", text(&home, &[]));
    home.write("volume/..two/harperdb-config.yaml", text(&home, &[("http.cors", json!(false))]));
    let volume = home.path("volume");
    symlink("..one", volume.join("..data")).unwrap();
    symlink("..data/harperdb-config.yaml", volume.join("harperdb-config.yaml")).unwrap();
    let file = volume.join("harperdb-config.yaml").display().to_string();
    let server = home.launch_as("run").args(&["--config", &file]).start();
    let live = Live { server, home };
    assert!(is_cors_on(&live));
    symlink("..two", volume.join("..data_tmp")).unwrap();
    std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    eventually("the change", || (!is_cors_on(&live)).then_some(()));
}

#[test]
fn a_bad_file_changes_nothing_and_is_named_everywhere() {
    let live = Live::start();
    live.set(&[
        ("http.cors", json!(false)),
        ("http.timeout", json!("soon")),
        ("http.port", json!("x")),
    ]);
    assert!(is_cors_on(&live), "nothing of a bad file is taken");
    let log = live.server.log();
    assert!(
        log.contains("http.timeout: expected milliseconds") && log.contains("http.port"),
        "{log}"
    );
    assert_eq!(live.server.metric("harper_config_reload_failures_total"), 1.0);
    let ready = live.server.admin().get("/readyz").expect(200).text();
    assert!(ready.contains("[+] configuration ok, but:"), "{ready}");
    assert!(ready.contains("http.timeout: expected milliseconds"), "{ready}");
    live.set(&[("http.cors", json!(false))]);
    eventually("the mended file", || (!is_cors_on(&live)).then_some(()));
    assert_eq!(live.server.admin().get("/readyz").expect(200).text(), "ok\n");
}

#[test]
fn a_file_that_goes_away_changes_nothing() {
    let live = Live::start();
    live.set(&[("http.cors", json!(false))]);
    std::fs::remove_file(path(&live.home)).unwrap();
    live.server.line("is refused, the one before goes on");
    assert!(!is_cors_on(&live));
    write(&live.home, &[]);
    eventually("the file to be back", || is_cors_on(&live).then_some(()));
}

#[test]
fn keys_that_need_a_restart_are_named_and_wait() {
    let live = Live::start();
    live.set(&[("storage.treesMax", json!(64)), ("http.cors", json!(false))]);
    let line = live.server.line("takes effect at the next start");
    assert!(line.contains("storage.treesMax") && !line.contains("http.cors"), "{line}");
    assert_eq!(live.server.metric("harper_config_waiting_keys"), 1.0);
    let ready = live.server.admin().get("/readyz").expect(200).text();
    assert!(ready.contains("taken at the next start: storage.treesMax"), "{ready}");
    eventually("the live key", || (!is_cors_on(&live)).then_some(()));
    live.set(&[]);
    assert_eq!(live.server.metric("harper_config_waiting_keys"), 0.0);
    assert_eq!(live.server.admin().get("/readyz").expect(200).text(), "ok\n");
}

#[test]
fn a_source_that_beats_the_file_still_does() {
    let home = home();
    write(&home, &[]);
    let file = path(&home).display().to_string();
    let server = home.launch_as("run").args(&["--config", &file]).env("HTTP_CORS", "false").start();
    let live = Live { server, home };
    live.set(&[("http.cors", json!(true)), ("http.timeout", json!("7s"))]);
    live.server.line("http.timeout");
    assert!(!is_cors_on(&live));
}

#[test]
fn a_hangup_without_a_change_is_harmless() {
    let live = Live::start();
    for round in 1..=3 {
        live.server.signal(Signal::HUP);
        eventually("the reload", || (live.reloads() >= f64::from(round)).then_some(()));
        live.client().get("/Dog/").expect(200);
    }
    live.server.line("no new value");
}
