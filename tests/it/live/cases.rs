//! One case for each live key: it is changed while the server runs, and the effect is seen.

mod auth;
mod chain;
mod computed;
mod content;
mod http;
mod http2;
mod mqtt;
mod realtime;
mod rest;
mod storage;
mod threads;
mod tls;
mod web_socket;

use super::fixture::Live;
use harper_config::{KEYS, Reload};
use std::collections::BTreeSet;

/// A key, and what shows that a change of it takes effect.
type Case = (&'static str, fn(&Live));

/// The cases that share one server; each begins with the file as it was and may leave any.
const SHARED: &[&[Case]] = &[
    auth::CASES,
    chain::CASES,
    computed::CASES,
    content::CASES,
    http::CASES,
    http2::CASES,
    mqtt::CASES,
    realtime::CASES,
    storage::CASES,
    rest::CASES,
    threads::CASES,
    tls::CASES,
    web_socket::CASES,
];

/// The cases that need a server of their own.
const OWN: &[&[Case]] = &[auth::OWN, chain::OWN, rest::OWN];

#[test]
fn every_live_key_has_a_case() {
    let live = KEYS.iter().filter(|key| key.reload == Reload::Live && key.is_read());
    let live: BTreeSet<_> = live.map(|key| key.name).collect();
    let cases = SHARED.iter().chain(OWN).copied().flatten().map(|(name, _)| *name);
    let cases: BTreeSet<_> = cases.collect();
    assert_eq!(live, cases, "a key is live when a case changes it while the server runs");
}

#[test]
fn each_live_key_takes_effect_at_once() {
    let live = Live::start();
    for (name, case) in SHARED.iter().copied().flatten() {
        println!("{name}");
        live.set(&[]);
        case(&live);
        assert_eq!(live.server.metric("harper_config_waiting_keys"), 0.0, "{name}");
    }
    assert_eq!(live.server.metric("harper_config_reload_failures_total"), 0.0);
}

#[test]
fn live_keys_of_the_process_take_effect_at_once() {
    for (name, case) in OWN.iter().copied().flatten() {
        println!("{name}");
        case(&Live::start());
    }
}
