//! The steps of the test run.

use crate::run::{cargo, command, exists, output, root, run, step};
use crate::{deny, tidy};
use anyhow::Result;
use std::fs;

/// The target of release binaries: one static file each.
const MUSL: &str = "x86_64-unknown-linux-musl";

/// Every check and test.
pub(crate) fn all() -> Result<()> {
    step("cluster tools", || run(command("tests/kubernetes/build.sh", &["node", "helm"])))?;
    quick()?;
    step("openapi", openapi)?;
    step("h2spec", h2)?;
    step("TLS scanners", tls)?;
    step("browser", browser)?;
    step("clients of MQTT", mqtt)?;
    step("chart", chart)?;
    step("operator", operator)?;
    step("images", images)?;
    step("end to end", e2e)
}

/// What needs no Kubernetes.
pub(crate) fn quick() -> Result<()> {
    step("tidy", tidy::check)?;
    step("lint", lint)?;
    step("unit tests", unit)?;
    step("black-box tests", it)?;
    step("deny", deny::check)
}

/// rustfmt and clippy.
pub(crate) fn lint() -> Result<()> {
    for part in ["rustfmt", "clippy"] {
        if output(command("cargo", &[if part == "rustfmt" { "fmt" } else { part }, "--version"]))
            .is_err()
        {
            run(command("rustup", &["component", "add", part]))?;
        }
    }
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"])
}

/// Unit tests.
pub(crate) fn unit() -> Result<()> {
    cargo(&["test", "--quiet", "--workspace", "--exclude", "harper-tests"])
}

/// Black-box tests of the server, 20 rounds of `kill -9` among them.
pub(crate) fn it() -> Result<()> {
    cargo(&["build", "--quiet", "--package", "harper-server"])?;
    cargo(&["test", "--quiet", "--package", "harper-tests", "--test", "it", "--test", "compat"])
}

/// HTTP/2 against every case of its standard.
pub(crate) fn h2() -> Result<()> {
    cargo(&["build", "--quiet", "--package", "harper-server"])?;
    run(command("tests/h2/run.sh", &[]))
}

/// What scanners say of TLS with the default keys.
pub(crate) fn tls() -> Result<()> {
    cargo(&["build", "--quiet", "--package", "harper-server"])?;
    run(command("tests/tls/run.sh", &[]))
}

/// MQTT with the clients that people use.
pub(crate) fn mqtt() -> Result<()> {
    cargo(&["build", "--quiet", "--package", "harper-server"])?;
    run(command("tests/mqtt/run.sh", &[]))
}

/// The description of the interface: valid, and kept to by the answers to requests made from it.
pub(crate) fn openapi() -> Result<()> {
    cargo(&["build", "--quiet", "--package", "harper-server"])?;
    run(command("tests/openapi/run.sh", &[]))
}

/// The live page of the cities example in a real browser.
pub(crate) fn browser() -> Result<()> {
    cargo(&["build", "--quiet", "--package", "harper-server"])?;
    run(command("tests/browser/run.sh", &[]))
}

/// `kill -9` under load.
pub(crate) fn kill(rounds: &str) -> Result<()> {
    cargo(&["build", "--quiet", "--package", "harper-server"])?;
    let arguments = ["test", "--quiet", "--package", "harper-tests", "--test", "it"];
    let mut test = command("cargo", &[&arguments[..], &["crash", "--", "--nocapture"]].concat());
    test.env("HARPER_KILL_ROUNDS", rounds);
    run(test)
}

/// `kill -9` while messages go to so many durable sessions of each quality of service.
pub(crate) fn loss(subscribers: &str, kills: &str) -> Result<()> {
    cargo(&["build", "--quiet", "--release", "--package", "harper-server"])?;
    let arguments = ["test", "--quiet", "--package", "harper-tests", "--test", "it"];
    let mut test = command("cargo", &[&arguments[..], &["loss", "--", "--nocapture"]].concat());
    test.env("HARPER_SERVER_BIN", root().join("target/release/harper-server"));
    test.env("HARPER_LOSS_SUBSCRIBERS", subscribers).env("HARPER_LOSS_KILLS", kills);
    run(test)
}

/// The chart.
pub(crate) fn chart() -> Result<()> {
    run(command("tests/kubernetes/build.sh", &["helm"]))?;
    run(command("tests/kubernetes/chart.sh", &[]))
}

/// The operator against a real API server.
pub(crate) fn operator() -> Result<()> {
    run(command("tests/kubernetes/build.sh", &["node"]))?;
    cargo(&["build", "--quiet", "--package", "harper-operator"])?;
    run(command("operator/tests/cluster.sh", &[]))
}

/// Static binaries and the images made of them.
pub(crate) fn images() -> Result<()> {
    if !exists("musl-gcc") {
        run(command("apt-get", &["update", "-qq"]))?;
        run(command(
            "apt-get",
            &["install", "-y", "-qq", "--no-install-recommends", "musl-tools"],
        ))?;
    }
    run(command("rustup", &["--quiet", "target", "add", MUSL]))?;
    cargo(&[
        "build",
        "--quiet",
        "--release",
        "--target",
        MUSL,
        "--package",
        "harper-server",
        "--package",
        "harper-operator",
    ])?;
    run(command("tests/kubernetes/images.sh", &[]))
}

/// The end-to-end test; it uses the images that [`images`] made.
pub(crate) fn e2e() -> Result<()> {
    run(command("tests/kubernetes/build.sh", &["node", "helm"]))?;
    run(command("tests/kubernetes/e2e.sh", &[]))
}

/// Benchmarks.
pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "harper-server",
        "--package",
        "harper-bench",
    ])?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(command("target/release/harper-bench", &arguments))
}

/// Writes what is generated: the CRD and the RBAC rules in the chart.
pub(crate) fn generate() -> Result<()> {
    cargo(&["build", "--quiet", "--package", "harper-operator"])?;
    for (what, file) in [("crd", "crd.yaml"), ("rbac", "rbac.yaml")] {
        let text = output(command("target/debug/harper-operator", &[what]))?;
        fs::write(root().join("charts/harper-operator/files").join(file), text)?;
    }
    Ok(())
}
