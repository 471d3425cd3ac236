//! Harper's behaviour on the wire, row by row: what it was seen to do, and what we do. Each row is a case that asks the
//! real binary. A row that we answer differently on purpose gives its reason, and the reasons are a table of
//! `COMPAT.md`, which `UPDATE_GOLDEN=1` rewrites.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on fails and says why, in its helpers too"
)]

mod access;
mod compression;
mod content;
mod http;
mod install;
mod listed;
mod mqtt;
mod query;
mod resources;
mod rest;
#[path = "../it"]
#[allow(dead_code, unused_imports, reason = "the other black-box tests use the rest of it")]
mod shared {
    pub(crate) mod harness;
    pub(crate) mod events {
        pub(crate) mod stream;
    }
    pub(crate) mod web_socket {
        pub(crate) mod client;
    }
    pub(crate) mod mqtt {
        pub(crate) mod client;
    }
}
mod table;

use shared::events::stream::Stream;
use shared::harness::{self, Client, Home, Server};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One observed behaviour of Harper.
pub(crate) struct Row {
    /// The request or setting, unique in its section.
    pub(crate) what: &'static str,
    /// What we do with it.
    pub(crate) ours: Ours,
}

/// How our answer stands to Harper's.
pub(crate) enum Ours {
    /// The same; the case shows it.
    Same(fn(&World)),
    /// Another on purpose: Harper's answer, why ours is better, and the case that shows ours.
    Differs(&'static str, &'static str, fn(&World)),
    /// Not yet: what it waits for.
    Later(&'static str),
}

pub(crate) const fn same(what: &'static str, case: fn(&World)) -> Row {
    Row { what, ours: Ours::Same(case) }
}

pub(crate) const fn differs(
    what: &'static str,
    harper: &'static str,
    why: &'static str,
    case: fn(&World),
) -> Row {
    Row { what, ours: Ours::Differs(harper, why, case) }
}

pub(crate) const fn later(what: &'static str, until: &'static str) -> Row {
    Row { what, ours: Ours::Later(until) }
}

/// A server with the tables that the rows speak of, and its administrator.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) admin: Client,
}

impl World {
    /// A stream of events for the administrator.
    pub(crate) fn stream(&self, target: &str) -> Stream {
        let login = harness::client::basic(&format!(
            "{}:{}",
            harness::server::USERNAME,
            harness::server::PASSWORD
        ));
        Stream::open(&self.server, target, &[("Authorization", &login)])
    }

    /// A server with an application of every kind of table, some roles and some files.
    fn start() -> Self {
        let home = Home::empty();
        for (path, text) in table::APPLICATION {
            home.write(path, text);
        }
        let server = home
            .launch()
            .set("threads.count=2")
            .set("authentication.authorizeLocal=false")
            .set("http.corsAccessList=['https://listed.example']")
            .set("operationsApi.network.port=127.0.0.1:0")
            .set("mqtt.network.port=127.0.0.1:0")
            .start();
        let admin = server.client().login(harness::server::USERNAME, harness::server::PASSWORD);
        Self { server, admin }
    }

    /// A client without credentials.
    pub(crate) fn anyone(&self) -> Client {
        self.server.client()
    }
}

/// Runs every case of a section and fails with the names of all that failed.
fn run(rows: &[Row]) {
    let world = World::start();
    let failed: Vec<_> = rows
        .iter()
        .filter(|row| {
            let (Ours::Same(case) | Ours::Differs(_, _, case)) = &row.ours else { return false };
            catch_unwind(AssertUnwindSafe(|| case(&world))).is_err()
        })
        .map(|row| row.what)
        .collect();
    assert!(failed.is_empty(), "{} rows are not as written down: {failed:#?}", failed.len());
}

#[test]
fn install_and_defaults() {
    run(install::ROWS);
}

#[test]
fn rest_on_a_table() {
    run(rest::ROWS);
}

#[test]
fn query_language() {
    run(query::ROWS);
}

#[test]
fn content_types() {
    run(content::ROWS);
}

#[test]
fn compressed_bodies() {
    run(compression::ROWS);
}

#[test]
fn resources_and_files() {
    run(resources::ROWS);
}

#[test]
fn real_time() {
    run(resources::REAL_TIME);
}

#[test]
fn mqtt_clients() {
    run(mqtt::ROWS);
}

#[test]
fn who_may_do_what() {
    run(access::ROWS);
}

#[test]
fn http_itself() {
    run(http::ROWS);
}
