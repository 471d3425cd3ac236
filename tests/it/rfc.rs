//! RFC 9110 and RFC 9112 as cases: each sends bytes on a connection of its own and says what must come back. The
//! tables hold every MUST of a server that can be seen from outside, the SHOULDs, and choices that the RFCs leave and
//! that are made here for safety.
//!
//! In what is sent `↵` is CRLF, `␊` a line feed and `␍` a carriage return alone, `␀` NUL, `{H}` the Host field, `{tag}` the
//! entity tag of `/Dog/1` and `{x9}` nine letters.
//!
//! One MUST is not kept, for Harper's clients: a PUT that creates is answered with 204 and not 201 (RFC 9110 §9.3.4).

mod conditional;
mod connection;
mod fields;
mod framing;
mod methods;
mod request_line;
mod targets;

use crate::harness::{Home, Server, Wire};
use std::fmt::Write;

/// How binding a case is.
#[derive(Clone, Copy, Debug)]
enum Level {
    Must,
    Should,
    /// The RFC leaves the choice; this one is safe behind a proxy that reads the bytes in another way.
    Safe,
}

struct Case {
    level: Level,
    /// `9112 §3.2`
    section: &'static str,
    name: &'static str,
    sent: &'static str,
    wants: &'static [Want],
}

/// What is to come, one after the other.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// An answer with this status.
    Status(u16),
    /// An answer with this status whose body is left out.
    Head(u16),
    /// A header of the last answer holds this text.
    Has(&'static str, &'static str),
    /// The last answer does not have this header.
    Lacks(&'static str),
    /// The body of the last answer holds this text.
    Body(&'static str),
    /// More is sent.
    Send(&'static str),
    /// The connection goes on: it answers one more request.
    Open,
    /// The connection ends without another byte, whatever is sent after it.
    Closed,
}

const fn must(
    section: &'static str,
    name: &'static str,
    sent: &'static str,
    wants: &'static [Want],
) -> Case {
    Case { level: Level::Must, section, name, sent, wants }
}

const fn should(
    section: &'static str,
    name: &'static str,
    sent: &'static str,
    wants: &'static [Want],
) -> Case {
    Case { level: Level::Should, section, name, sent, wants }
}

const fn safe(
    section: &'static str,
    name: &'static str,
    sent: &'static str,
    wants: &'static [Want],
) -> Case {
    Case { level: Level::Safe, section, name, sent, wants }
}

/// The request is answered and the connection goes on.
const FINE: &[Want] = &[Want::Status(200), Want::Open];
/// The write is done and the connection goes on.
const WRITTEN: &[Want] = &[Want::Status(204), Want::Open];
/// 400, and nothing that follows is believed.
const REFUSED: &[Want] = &[Want::Status(400), Want::Has("connection", "close"), Want::Closed];

/// Sent after a request that ends its connection.
const SMUGGLED: &str = "GET /Dog/1 HTTP/1.1↵{H}↵";

struct Bench {
    server: Server,
    tag: String,
}

impl Bench {
    fn new() -> Self {
        let home = Home::with_schema(
            "type Dog @table @export { id: ID @primaryKey name: String age: Int }",
        );
        let server = home.launch().set("threads.count=1").set("http.bodyBytesMax=100000").start();
        server.client().put("/Dog/1", r#"{"name":"Rex","age":7}"#).expect(204);
        let tag = server.client().get("/Dog/1").header("etag").to_owned();
        Self { server, tag }
    }

    fn bytes(&self, text: &str) -> Vec<u8> {
        let mut text = text
            .replace('↵', "\r\n")
            .replace('␊', "\n")
            .replace('␍', "\r")
            .replace('␀', "\0")
            .replace("{H}", "Host: localhost\r\n")
            .replace("{tag}", &self.tag);
        while let Some((before, rest)) = text.split_once("{x") {
            let (count, after) = rest.split_once('}').unwrap();
            text = format!("{before}{}{after}", "x".repeat(count.parse().unwrap()));
        }
        text.into_bytes()
    }

    /// Runs a case; the first thing that is not as it should be.
    fn run(&self, case: &Case) -> Result<(), String> {
        let mut wire = Wire::connect(self.server.http);
        wire.send(self.bytes(case.sent));
        let (mut headers, mut body) = Default::default();
        for want in case.wants {
            match want {
                Want::Status(status) => {
                    let reply = wire.try_reply().ok_or("the connection ended")?;
                    if reply.status != *status {
                        return Err(format!("{want:?}: {reply}"));
                    }
                    body = reply.text();
                    headers = reply.headers;
                }
                Want::Head(status) => {
                    let (seen, fields) = wire.head().ok_or("the connection ended")?;
                    if seen != *status {
                        return Err(format!("{want:?}: {seen} {fields:?}"));
                    }
                    headers = fields;
                }
                Want::Has(name, text) => {
                    let values: Vec<_> = headers.get_all(*name).iter().collect();
                    let is_there =
                        values.len() == 1 && values[0].to_str().is_ok_and(|v| v.contains(text));
                    if !is_there {
                        return Err(format!("{want:?}: {headers:?}"));
                    }
                }
                Want::Lacks(name) if headers.contains_key(*name) => {
                    return Err(format!("{want:?}: {headers:?}"));
                }
                Want::Body(text) if !body.contains(text) => {
                    return Err(format!("{want:?}: {body}"));
                }
                Want::Lacks(_) | Want::Body(_) => {}
                Want::Send(text) => drop(wire.send(self.bytes(text))),
                Want::Open => {
                    let reply = wire.send(self.bytes(SMUGGLED)).try_reply();
                    if reply.as_ref().is_none_or(|reply| reply.status != 200) {
                        return Err(format!("{want:?}: {reply:?}"));
                    }
                }
                Want::Closed => {
                    let rest = wire.send(self.bytes(SMUGGLED)).rest();
                    if !rest.is_empty() {
                        return Err(format!("{want:?}: {}", String::from_utf8_lossy(&rest)));
                    }
                }
            }
        }
        Ok(())
    }
}

#[test]
fn every_case_holds() {
    let bench = Bench::new();
    let tables = [
        request_line::CASES,
        targets::CASES,
        fields::CASES,
        framing::CASES,
        connection::CASES,
        methods::CASES,
        conditional::CASES,
    ];
    let mut faults = String::new();
    let mut count = 0;
    for case in tables.into_iter().flatten() {
        count += 1;
        if let Err(fault) = bench.run(case) {
            let Case { level, section, name, .. } = case;
            writeln!(faults, "RFC {section} {level:?}: {name}: {fault}").unwrap();
        }
    }
    assert!(faults.is_empty(), "of {count} cases:\n{faults}");
    assert!(count >= 150, "{count} cases");
    assert_eq!(bench.server.metric("harper_panics_total"), 0.0);
}
