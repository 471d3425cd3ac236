//! The project's own commands: `cargo xtask <command>`.

mod cities;
mod deny;
mod run;
mod steps;
mod tidy;

use anyhow::{Result, bail};
use std::process::ExitCode;

const USAGE: &str = "cargo xtask <command>

  cities     build the server, serve the cities example on port 9926 and load its 171,075 records
  test       every check and test, as CI runs them
  quick      the checks and tests that need no Kubernetes: lint, tidy, deny, unit, it
  lint       rustfmt and clippy
  tidy       the arrows between modules, the sizes of files, what must not be committed
  deny       licences, banned crates and sources (cargo-deny)
  unit       unit tests of every crate
  it         black-box tests of the server
  h2         HTTP/2 against every case of its standard (h2spec)
  tls        what scanners say of TLS with the default keys (sslyze, testssl)
  mqtt       MQTT with the clients that people use: mosquitto, paho-mqtt, mqtt.js
  openapi    the description at /openapi: valid, and kept to (schemathesis)
  browser    the live page of the cities example in Chromium
  kill N     kill -9 under load, N rounds (100 when left out)
  loss N K   K times kill -9 under messages to N durable sessions of QoS 1 and N of QoS 2 (1000 and 10)
  chart      lint the chart and compare what it renders
  operator   the operator against a real API server
  images     static release binaries and the two container images
  e2e        the end-to-end test on a real one-node cluster
  gen        write the files that are generated from the code
  bench ...  benchmarks (see tests/bench/README.md)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            run::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => bail!("{USAGE}"),
    };
    match command {
        "cities" => cities::serve_and_load(rest),
        "test" => steps::all(),
        "quick" => steps::quick(),
        "lint" => steps::lint(),
        "tidy" => tidy::check(),
        "deny" => deny::check(),
        "unit" => steps::unit(),
        "it" => steps::it(),
        "h2" => steps::h2(),
        "tls" => steps::tls(),
        "mqtt" => steps::mqtt(),
        "openapi" => steps::openapi(),
        "browser" => steps::browser(),
        "kill" => steps::kill(rest.first().map_or("100", String::as_str)),
        "loss" => {
            let word = |place: usize, otherwise| rest.get(place).map_or(otherwise, String::as_str);
            steps::loss(word(0, "1000"), word(1, "10"))
        }
        "chart" => steps::chart(),
        "operator" => steps::operator(),
        "images" => steps::images(),
        "e2e" => steps::e2e(),
        "gen" => steps::generate(),
        "bench" => steps::bench(rest),
        _ => bail!("unknown command {command}\n\n{USAGE}"),
    }
}
