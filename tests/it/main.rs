//! Black-box tests of `harper-server`: each starts the real binary in a directory of its own, talks to it over
//! loopback, and ends it. They know what is documented and nothing of the sources.
//!
//! The binary is `HARPER_SERVER_BIN`, else `harper-server` beside the test's own build. `UPDATE_GOLDEN=1` rewrites
//! the golden files. `HARPER_KILL_ROUNDS` is the number of rounds of the `kill -9` test,
//! `HARPER_LOSS_SUBSCRIBERS` and `HARPER_LOSS_KILLS` say how large that of messages is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on fails and says why, in its helpers too"
)]

mod admin;
mod auth;
mod chain;
mod compression;
mod config;
mod content;
mod cors;
mod crash;
mod data;
mod dev;
mod drain;
mod events;
mod expiry;
mod files;
mod h2;
mod harness;
mod http;
mod live;
mod loss;
mod mqtt;
mod openapi;
mod query;
mod rest;
mod rfc;
mod storage;
mod tls;
mod web_socket;
mod workers;
