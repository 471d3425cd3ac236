//! What no other tool checks: which module may name which, how long files may be, where `unsafe` may be, and what
//! must not be committed.

use crate::run::{command, output, root};
use anyhow::{Result, bail};
use std::fs;

/// Lines of a Rust file outside its tests.
const LINES_MAX: usize = 500;
/// The only file that may hold `unsafe`: opening LMDB.
const UNSAFE: [&str; 1] = ["server/store/src/env.rs"];
/// Names at the top of the checkout.
const TOP: [&str; 13] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "COMPAT.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "charts",
    "deploy",
    "operator",
    "server",
    "tests",
];

/// Which modules of the server a module may name, from the top down.
const SERVER: &[(&str, &[&str])] = &[
    ("cli", &["app", "components", "listen", "otlp", "reload", "telemetry", "tls"]),
    (
        "app",
        &[
            "admin",
            "auth",
            "components",
            "computed",
            "cpu",
            "exchange",
            "health",
            "hub",
            "listen",
            "metrics",
            "mqtt",
            "pool",
            "reload",
            "resource",
            "route",
            "telemetry",
            "tls",
            "worker",
            "workers",
        ],
    ),
    ("workers", &["listen", "metrics", "worker"]),
    ("admin", &["health", "metrics", "otlp", "pool"]),
    (
        "worker",
        &[
            "auth", "conn", "exchange", "headers", "health", "hub", "lag", "listen", "metrics",
            "mqtt", "pool", "route", "services",
        ],
    ),
    ("conn", &["chain", "error", "exchange", "metrics", "mqtt", "route", "services", "tls"]),
    (
        "mqtt",
        &[
            "auth", "error", "exchange", "hub", "metrics", "resource", "route", "services", "tls",
            "ws",
        ],
    ),
    (
        "chain",
        &[
            "auth",
            "coding",
            "content",
            "error",
            "exchange",
            "metrics",
            "ops",
            "otlp",
            "pool",
            "reply",
            "resource",
            "route",
            "services",
            "telemetry",
            "ws",
        ],
    ),
    ("route", &["auth", "error", "exchange", "reply", "resource", "services", "ws"]),
    ("ops", &["auth", "content", "error", "exchange", "metrics", "reply", "resource", "services"]),
    (
        "resource",
        &[
            "auth", "coding", "content", "error", "exchange", "hub", "metrics", "pool", "reply",
            "services", "ws",
        ],
    ),
    ("reply", &["content", "error", "exchange"]),
    ("coding", &["content"]),
    ("content", &["error"]),
    ("services", &["auth", "error", "exchange", "headers", "hub", "lag", "metrics", "pool", "ws"]),
    ("ws", &["error", "exchange", "metrics"]),
    ("hub", &["auth", "content", "error", "metrics", "pool"]),
    ("auth", &["error", "metrics", "pool", "telemetry", "tls"]),
    ("otlp", &["exchange", "tls"]),
    ("exchange", &["auth", "error", "tls"]),
    ("headers", &[]),
    ("health", &["metrics", "reload"]),
    ("reload", &["metrics"]),
    ("metrics", &["error", "telemetry"]),
    ("components", &["auth"]),
    ("computed", &["metrics"]),
    ("lag", &[]),
    ("listen", &["exchange", "tls"]),
    ("tls", &["metrics", "reload", "telemetry"]),
    ("cpu", &["metrics"]),
    ("pool", &[]),
    ("error", &[]),
    ("telemetry", &[]),
    ("fuzz", &["auth", "coding", "components", "conn", "content", "resource", "ws"]),
    ("lib", &["cli"]),
];

/// Crates and the crates of ours that they may use.
const CRATES: [(&str, &[&str]); 6] = [
    ("server/config", &[]),
    ("server/store", &[]),
    ("server/script", &[]),
    ("server/mqtt", &[]),
    ("server", &["harper-config", "harper-mqtt", "harper-script", "harper-store"]),
    ("operator", &["harper-config"]),
];

/// Checks everything and lists all that is wrong.
pub(crate) fn check() -> Result<()> {
    let listed =
        output(command("git", &["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    let files: Vec<&str> = listed.lines().filter(|file| root().join(file).is_file()).collect();
    let mut faults = Vec::new();
    for file in &files {
        let name = file.split('/').next().unwrap_or(file);
        if !name.starts_with('.') && !TOP.contains(&name) {
            faults.push(format!("{file}: nothing else belongs at the top of the checkout"));
        }
        if let Ok(text) = fs::read_to_string(root().join(file)) {
            text_faults(file, &text, &mut faults);
        }
    }
    for (folder, allowed) in CRATES {
        let text = fs::read_to_string(root().join(folder).join("Cargo.toml"))?;
        let named = text.lines().filter_map(|line| line.split([' ', '.', '=']).next());
        let wrong = named.filter(|name| name.starts_with("harper-") && !allowed.contains(name));
        faults.extend(wrong.map(|name| format!("{folder}/Cargo.toml: may not depend on {name}")));
    }
    if faults.is_empty() { Ok(()) } else { bail!("not tidy:\n{}", faults.join("\n")) }
}

fn text_faults(file: &str, text: &str, faults: &mut Vec<String>) {
    let is_rust = file.ends_with(".rs");
    let is_this = file.starts_with("tests/xtask/");
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    if is_rust && code.lines().count() > LINES_MAX {
        faults.push(format!("{file}: {} lines, more than {LINES_MAX}", code.lines().count()));
    }
    for (number, line) in text.lines().enumerate().filter(|_| !is_this) {
        let at = format!("{file}:{}", number + 1);
        if ["TODO", "FIXME", "XXX"]
            .iter()
            .any(|word| line.split(|c: char| !c.is_alphabetic()).any(|part| part == *word))
        {
            faults.push(format!("{at}: work that is left belongs in an issue"));
        }
        if is_rust
            && line.contains("unsafe ")
            && !line.trim_start().starts_with("//")
            && !UNSAFE.contains(&file)
        {
            faults.push(format!("{at}: unsafe is allowed in {} alone", UNSAFE.join(", ")));
        }
    }
    if let Some(path) = file.strip_prefix("server/src/") {
        arrows(file, path, code, faults);
    }
}

/// Every `crate::module` that a file names must be one its module may name.
fn arrows(file: &str, path: &str, code: &str, faults: &mut Vec<String>) {
    let module = path.split(['/', '.']).next().unwrap_or_default();
    let module = if module == "main" { "lib" } else { module };
    let Some((_, allowed)) = SERVER.iter().find(|(name, _)| *name == module) else {
        return faults.push(format!("{file}: module {module} has no row in the table of arrows"));
    };
    for (number, line) in code.lines().enumerate() {
        for named in line.split("crate::").skip(1) {
            for name in targets(named) {
                let is_known = SERVER.iter().any(|(known, _)| *known == name);
                if is_known && name != module && !allowed.contains(&name) {
                    faults.push(format!("{file}:{}: {module} may not name {name}", number + 1));
                }
            }
        }
    }
}

/// The module, or the modules of a group, after `crate::`.
fn targets(text: &str) -> Vec<&str> {
    match text.strip_prefix('{') {
        Some(group) => group.split(',').map(|item| first_word(item.trim())).collect(),
        None => vec![first_word(text)],
    }
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_arrow_is_found() {
        let mut faults = Vec::new();
        arrows("server/src/pool.rs", "pool.rs", "use crate::metrics::Metrics;\n", &mut faults);
        assert_eq!(faults, ["server/src/pool.rs:1: pool may not name metrics"]);
        faults.clear();
        arrows(
            "server/src/conn/io.rs",
            "conn/io.rs",
            "use crate::{chain, worker::Seed};\n",
            &mut faults,
        );
        assert_eq!(faults, ["server/src/conn/io.rs:1: conn may not name worker"]);
    }

    #[test]
    fn long_files_and_stray_unsafe_are_found() {
        let mut faults = Vec::new();
        text_faults("operator/src/x.rs", &"\n".repeat(501), &mut faults);
        text_faults("operator/src/y.rs", "unsafe { x() }\n", &mut faults);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}
