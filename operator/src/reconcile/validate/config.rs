//! The server's configuration file, rendered by the crate that the server reads it with.

use super::{COMPONENTS_ROOT, Refusal};
use crate::crd::{HttpSpec, LogFormat, LogLevel, LoggingSpec, ThreadsSpec};
use crate::reasons::Reason;
use harper_config::{Config, Port, Problem, Reload, Severity};
use serde_json::{Map, Value, json};

/// Key that the operator sets by the environment: the volume is mounted there.
const ROOT_PATH: &str = "rootPath";
const COMPONENTS_ROOT_KEY: &str = "componentsRoot";

/// A configuration file that the server accepts, and what the pods and Services must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedConfig {
    /// Text of the file.
    pub text: String,
    /// The same without the keys that a server of this release follows while it runs.
    pub restart_text: String,
    /// Port of the application listener.
    pub http_port: u16,
    /// Port of the admin listener.
    pub admin_port: u16,
    /// What has no effect, for a person.
    pub warnings: Vec<String>,
}

/// The parts of a spec that end in the file.
pub(super) struct Written<'a> {
    pub(super) free: Option<&'a Map<String, Value>>,
    pub(super) http: Option<&'a HttpSpec>,
    pub(super) threads: Option<&'a ThreadsSpec>,
    pub(super) logging: Option<&'a LoggingSpec>,
    pub(super) has_components: bool,
}

pub(super) fn render(written: &Written<'_>) -> Result<RenderedConfig, Refusal> {
    let entries = merged(written)?;
    let text = harper_config::render(&entries).map_err(|problems| refuse(&problems))?;
    let restart: Vec<_> = entries.into_iter().filter(|(key, _)| !is_live(key)).collect();
    let restart_text = harper_config::render(&restart).map_err(|problems| refuse(&problems))?;
    let (config, problems) = harper_config::from_text(&text);
    let Some(config) = config else { return Err(refuse(&problems)) };
    let warnings = problems.iter().filter(|problem| problem.severity == Severity::Warning);
    let (http_port, admin_port) = ports(&config)?;
    let warnings = warnings.map(sentence).collect();
    Ok(RenderedConfig { http_port, admin_port, warnings, text, restart_text })
}

/// The free keys, then the typed ones over them.
fn merged(written: &Written<'_>) -> Result<Vec<(String, Value)>, Refusal> {
    let mut typed = Vec::new();
    typed.extend(written.http.into_iter().flat_map(http));
    typed.extend(written.threads.into_iter().flat_map(threads));
    typed.extend(written.logging.into_iter().flat_map(logging));
    let mut owned = vec![ROOT_PATH];
    if written.has_components {
        typed.push((COMPONENTS_ROOT_KEY, json!(COMPONENTS_ROOT)));
        owned.push(COMPONENTS_ROOT_KEY);
    }
    let free = written.free.map(|free| Value::Object(free.clone()));
    let mut entries = free.as_ref().map(harper_config::flatten).unwrap_or_default();
    if let Some((key, _)) = entries.iter().find(|(key, _)| owned.contains(&canonical(key))) {
        return Err(invalid(format!("config.{key}: set by the operator, remove it")));
    }
    entries.retain(|(key, _)| typed.iter().all(|(name, _)| canonical(key) != *name));
    entries.extend(typed.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Ok(entries)
}

/// Whether a running server follows the key.
fn is_live(key: &str) -> bool {
    harper_config::find(key).is_some_and(|known| known.reload == Reload::Live)
}

/// The key's present name; an unknown key is itself.
fn canonical(key: &str) -> &str {
    harper_config::find(key).map_or(key, |known| known.name)
}

fn http(spec: &HttpSpec) -> Vec<(&'static str, Value)> {
    let HttpSpec {
        port,
        compression_threshold,
        cors,
        cors_access_list,
        timeout,
        headers_timeout,
        keep_alive_timeout,
        max_header_size,
    } = spec;
    let values = [
        ("http.port", port.map(Value::from)),
        ("http.compressionThreshold", compression_threshold.map(Value::from)),
        ("http.cors", cors.map(Value::from)),
        ("http.corsAccessList", cors_access_list.clone().map(Value::from)),
        ("http.timeout", timeout.map(Value::from)),
        ("http.headersTimeout", headers_timeout.map(Value::from)),
        ("http.keepAliveTimeout", keep_alive_timeout.map(Value::from)),
        ("http.maxHeaderSize", max_header_size.map(Value::from)),
    ];
    present(values)
}

fn threads(ThreadsSpec { count }: &ThreadsSpec) -> Vec<(&'static str, Value)> {
    present([("threads.count", count.as_ref().map(|count| json!(count)))])
}

fn logging(LoggingSpec { level, format }: &LoggingSpec) -> Vec<(&'static str, Value)> {
    present([
        ("logging.level", level.map(|level: LogLevel| json!(level))),
        ("logging.format", format.map(|format: LogFormat| json!(format))),
    ])
}

fn present<const N: usize>(
    values: [(&'static str, Option<Value>); N],
) -> Vec<(&'static str, Value)> {
    values.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// The ports that Services and probes need.
fn ports(config: &Config) -> Result<(u16, u16), Refusal> {
    let http = reachable("http.port", config.http.port.as_ref(), "clients")?;
    let admin = reachable("admin.port", config.admin.port.as_ref(), "the probes")?;
    if http == admin {
        return Err(invalid(format!("http.port: {http} is the admin listener's port too")));
    }
    Ok((http, admin))
}

fn reachable(key: &str, port: Option<&Port>, whom: &str) -> Result<u16, Refusal> {
    let Some(Port { host, port }) = port else {
        return Err(invalid(format!("{key}: {whom} need this listener")));
    };
    let loopback = host.as_deref().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    });
    if loopback || *port == 0 {
        return Err(invalid(format!("{key}: {whom} cannot reach this address")));
    }
    Ok(*port)
}

fn invalid(message: String) -> Refusal {
    Refusal::new(Reason::ConfigInvalid, message)
}

fn refuse(problems: &[Problem]) -> Refusal {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    invalid(errors.map(sentence).collect::<Vec<_>>().join("; "))
}

/// A problem without its place in the rendered file, which the user has not written.
fn sentence(problem: &Problem) -> String {
    let Problem { key, message, hint, .. } = problem;
    let start = if key.is_empty() { message.clone() } else { format!("{key}: {message}") };
    if hint.is_empty() { start } else { format!("{start} ({hint})") }
}
