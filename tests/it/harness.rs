//! What every test stands on: a home for one server, the server's process, clients, and waiting with an end.

pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod server;
pub(crate) mod wire;

pub(crate) use client::{Client, Reply};
pub(crate) use server::{Home, Launch, Server};
pub(crate) use wire::Wire;

use std::time::{Duration, Instant};

/// How long a test waits for what must come, on a machine that may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until there is a result; fails naming `what` when it does not come.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(result) = ask() {
            return result;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Random numbers that are the same in every run with the same seed (xorshift).
pub(crate) struct Random(pub u64);

impl Random {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}
