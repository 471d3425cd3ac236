//! Running programs, and saying what goes on.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(PathBuf::from).unwrap_or(here)
}

/// Where slow-to-build tools are kept between runs.
pub(crate) fn cache() -> PathBuf {
    match std::env::var_os("HARPER_TEST_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => {
            PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/harper-tests")
        }
    }
}

/// A line for the person who watches.
#[allow(clippy::print_stderr, reason = "this program talks to a person")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// A command in the root of the checkout.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command to its end; its output goes where ours goes.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let line = format!("{command:?}");
    let status = command.status().with_context(|| format!("could not start {line}"))?;
    if !status.success() {
        bail!("{line} ended with {status}");
    }
    Ok(())
}

/// Runs `cargo` with these arguments.
pub(crate) fn cargo(arguments: &[&str]) -> Result<()> {
    run(command("cargo", arguments))
}

/// Runs a command and returns what it printed.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let line = format!("{command:?}");
    let output = command.output().with_context(|| format!("could not start {line}"))?;
    if !output.status.success() {
        bail!("{line} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether a program can be started.
pub(crate) fn exists(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Runs one named step and says how long it took.
pub(crate) fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    say(&format!("== {name}"));
    let begun = Instant::now();
    work().with_context(|| format!("step {name} failed"))?;
    say(&format!("== {name}: {} s", begun.elapsed().as_secs()));
    Ok(())
}
