//! Licences, banned crates and sources of everything we build on.

use crate::run::{cache, command, exists, run};
use anyhow::Result;

/// The version that the configuration is written for.
const VERSION: &str = "0.20.2";

/// Runs cargo-deny, building it into the cache first where the machine has none.
pub(crate) fn check() -> Result<()> {
    let tools = cache().join("tools");
    let cached = tools.join("bin/cargo-deny").display().to_string();
    let program = if exists("cargo-deny") { "cargo-deny" } else { cached.as_str() };
    if !exists(program) {
        let root = tools.display().to_string();
        let install = [
            "install",
            "cargo-deny",
            "--quiet",
            "--locked",
            "--version",
            VERSION,
            "--no-default-features",
            "--root",
            &root,
        ];
        run(command("cargo", &install))?;
    }
    let checks = ["bans", "licenses", "sources"];
    let options = ["--log-level", "warn", "--config", ".config/deny.toml", "check"];
    run(command(program, &[&options[..], &checks[..]].concat()))
}
