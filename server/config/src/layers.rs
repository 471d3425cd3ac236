//! Where values come from, and which one wins:
//! built-in default < `HARPER_DEFAULT_CONFIG` < file < environment < command line < `HARPER_SET_CONFIG`.

use crate::config::{ClientCertificates, Config, TlsListener};
use crate::keys::{self, Key, Kind, Support};
use crate::problem::{Problem, Severity};
use crate::shown::shown;
use crate::table::KEYS;
use crate::tls;
use crate::tree::{self, Node, Place, Scalar};
use crate::value;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

/// The texts that make up a configuration. All are optional.
#[derive(Clone, Debug, Default)]
pub struct Sources<'a> {
    /// Built-in defaults that the command changes, as `(key, value as in the file)`.
    pub defaults: &'a [(&'a str, &'a str)],
    /// Text of `HARPER_DEFAULT_CONFIG`.
    pub default_json: Option<&'a str>,
    /// Name and text of the configuration file.
    pub file: Option<(&'a str, &'a str)>,
    /// The environment, as `(name, value)`; variables that name no key are passed over.
    pub env: Vec<(String, String)>,
    /// The command line, as `(dotted key or environment name, value)`.
    pub cli: Vec<(String, String)>,
    /// Text of `HARPER_SET_CONFIG`.
    pub set_json: Option<&'a str>,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the built-in default.
    Default,
    /// In a text with lines.
    Text(String, Place),
    /// In the environment variable.
    Environment(String),
    /// On the command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Text(source, at) if at.line == 0 => f.write_str(source),
            Self::Text(source, at) => write!(f, "{source}:{}:{}", at.line, at.column),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// A key's value and where it came from.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The key.
    pub key: &'static Key,
    /// Its value in normal form; null when unset.
    pub value: Value,
    /// Where it was written.
    pub origin: Origin,
}

/// What came of reading all sources.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; none when a problem is an error.
    pub config: Option<Config>,
    /// Everything that is wrong, in the order of the sources.
    pub problems: Vec<Problem>,
    /// Every key that the server acts on, in table order.
    pub effective: Vec<Effective>,
    /// Sections that some source has, for those whose mere presence means something.
    pub(crate) sections: BTreeSet<String>,
}

/// Reads all sources, reporting every problem in one run.
#[must_use]
pub fn load(sources: &Sources<'_>) -> Loaded {
    let mut layers = Layers::default();
    layers.read_defaults(sources.defaults);
    if let Some(text) = sources.default_json {
        layers.read_text("HARPER_DEFAULT_CONFIG", text);
    }
    if let Some((name, text)) = sources.file {
        layers.read_text(name, text);
    }
    layers.read_env(&sources.env);
    layers.read_cli(&sources.cli);
    if let Some(text) = sources.set_json {
        layers.read_text("HARPER_SET_CONFIG", text);
    }
    layers.finish()
}

#[derive(Default)]
struct Layers {
    values: HashMap<&'static str, (Value, Origin)>,
    defaults: HashMap<&'static str, Value>,
    sections: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl Layers {
    fn read_defaults(&mut self, changed: &[(&str, &str)]) {
        let built_in = KEYS.iter().map(|key| (key.name, key.default));
        for (name, text) in
            built_in.chain(changed.iter().copied()).filter(|pair| !pair.1.is_empty())
        {
            if let Some(key) = keys::find(name).filter(|key| key.is_read()) {
                self.set(key, name, &Value::from(text), Origin::Default);
            }
        }
        let values = self.values.iter().map(|(name, (value, _))| (*name, value.clone()));
        self.defaults = values.collect();
    }

    fn read_text(&mut self, source: &str, text: &str) {
        match tree::parse(text) {
            Ok(Node::Map(members, _)) => self.read_members(source, "", &members),
            Ok(node) => self.unreadable(source, node.place(), "expected a mapping of keys"),
            Err((place, sentence)) => self.unreadable(source, place, &sentence),
        }
    }

    fn unreadable(&mut self, source: &str, place: Place, message: &str) {
        let origin = Origin::Text(source.to_owned(), place);
        self.problem(Severity::Error, "", &origin, message.to_owned(), String::new());
    }

    fn read_members(&mut self, source: &str, prefix: &str, members: &[(String, Place, Node)]) {
        for (name, place, node) in members {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            self.read_node(source, &path, *place, node);
        }
    }

    fn read_node(&mut self, source: &str, path: &str, place: Place, node: &Node) {
        let origin = Origin::Text(source.to_owned(), place);
        let section = keys::is_section(path);
        match (keys::find(path), node) {
            // what a template leaves unset does not switch a section on
            (Some(_), Node::Map(members, _)) if section && is_unset(path, node) => {
                self.read_members(source, path, members);
            }
            (key, Node::Map(members, _)) if section => {
                if let Some(key) = key.filter(|key| key.name == path) {
                    // its members are what counts; they switch it on, or take the place of a list
                    let value =
                        if key.kind == Kind::Bool { Value::from(true) } else { Value::Null };
                    self.set(key, path, &value, origin);
                }
                self.sections.insert(path.to_owned());
                self.read_members(source, path, members);
            }
            (Some(key), _) => self.set(key, path, &node.to_json(), origin),
            (None, Node::Scalar(Scalar::Null, _)) if section => {
                self.sections.insert(path.to_owned());
            }
            (None, _) if section => {
                let message = "expected a mapping of keys".to_owned();
                self.problem(Severity::Error, path, &origin, message, String::new());
            }
            (None, node) if !path.contains('.') && node.get("package").is_some() => {
                let message =
                    "components installed from a package are not supported yet".to_owned();
                self.problem(
                    Severity::Warning,
                    path,
                    &origin,
                    message,
                    "copy its folder below componentsRoot".into(),
                );
            }
            (None, _) => self.unknown(path, &origin),
        }
    }

    fn unknown(&mut self, path: &str, origin: &Origin) {
        let hint = keys::nearest(path).map(|known| format!("did you mean {known}?"));
        let message = "unknown key, ignored".to_owned();
        self.problem(Severity::Warning, path, origin, message, hint.unwrap_or_default());
    }

    fn read_env(&mut self, env: &[(String, String)]) {
        for (name, text) in env {
            let Some(key) = keys::find_by_env(name) else { continue };
            let origin = Origin::Environment(name.clone());
            let ignored = if text.is_empty() {
                "the variable is empty, ignored"
            } else if text.starts_with("tcp://") || text.starts_with("udp://") {
                "looks like a Kubernetes service link, ignored"
            } else {
                self.set(key, key.name, &from_word(key.kind, text), origin);
                continue;
            };
            self.problem(Severity::Warning, key.name, &origin, ignored.to_owned(), String::new());
        }
    }

    fn read_cli(&mut self, cli: &[(String, String)]) {
        for (name, text) in cli {
            match keys::find(name).or_else(|| keys::find_by_env(name)) {
                Some(key) => {
                    self.set(key, key.name, &from_word(key.kind, text), Origin::CommandLine)
                }
                None => self.unknown(name, &Origin::CommandLine),
            }
        }
    }

    /// Takes one value if its key and type are good, and says so if not.
    fn set(&mut self, key: &'static Key, path: &str, written: &Value, origin: Origin) {
        if let Support::Later(what) | Support::Never(what) = key.support {
            return self.not_acted_on(key, path, written, &origin, what);
        }
        if written.is_null() && !key.kind.has_null() {
            // it has its default again, and is no word of its section
            let default = self.defaults.get(key.name).cloned().unwrap_or_default();
            self.values.insert(key.name, (default, origin));
            return;
        }
        if let Some((section, _)) = key.name.rsplit_once('.').filter(|_| origin != Origin::Default)
        {
            self.sections.insert(section.to_owned());
        }
        if written.is_null() {
            self.values.insert(key.name, (Value::Null, origin));
            return;
        }
        if key.kind == Kind::Sections {
            return self.set_list(key, path, written, origin);
        }
        match value::normalize(key.kind, written) {
            Ok(value) => {
                self.values.insert(key.name, (value, origin));
            }
            Err(expected) => {
                let found = if key.is_secret { "a secret".into() } else { shortened(written) };
                let message = format!("{expected}, found {found}");
                self.problem(Severity::Error, path, &origin, message, String::new());
            }
        }
    }

    /// Takes a list of mappings with the members of the section of the same name.
    fn set_list(&mut self, key: &'static Key, path: &str, written: &Value, origin: Origin) {
        let Value::Array(items) = written else {
            let message =
                format!("expected a mapping or a list of mappings, found {}", shortened(written));
            return self.problem(Severity::Error, path, &origin, message, String::new());
        };
        let mut list = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let at = format!("{path}[{index}]");
            let Value::Object(members) = item else {
                let message = format!("expected a mapping of keys, found {}", shortened(item));
                self.problem(Severity::Error, &at, &origin, message, String::new());
                continue;
            };
            let members = members.iter().filter_map(|(member, value)| {
                self.list_member(key, &format!("{at}.{member}"), member, value, &origin)
            });
            list.push(Value::Object(members.collect()));
        }
        self.values.insert(key.name, (Value::Array(list), origin));
    }

    /// One member of a mapping in a list, under its first name.
    fn list_member(
        &mut self,
        list: &Key,
        path: &str,
        member: &str,
        written: &Value,
        origin: &Origin,
    ) -> Option<(String, Value)> {
        let name = format!("{}.{member}", list.name);
        let Some(key) = keys::find(&name) else {
            let hint = keys::nearest(&name).map(|known| format!("did you mean {known}?"));
            let message = "unknown key, ignored".to_owned();
            self.problem(Severity::Warning, path, origin, message, hint.unwrap_or_default());
            return None;
        };
        if let Support::Later(what) | Support::Never(what) = key.support {
            self.not_acted_on(key, path, written, origin, what);
            return None;
        }
        let value = match value::normalize(key.kind, written) {
            _ if written.is_null() => return None,
            Ok(value) => value,
            Err(expected) => {
                let message = format!("{expected}, found {}", shortened(written));
                self.problem(Severity::Error, path, origin, message, String::new());
                return None;
            }
        };
        let (_, first_name) = key.name.rsplit_once('.')?;
        Some((first_name.to_owned(), value))
    }

    fn not_acted_on(
        &mut self,
        key: &Key,
        path: &str,
        written: &Value,
        origin: &Origin,
        what: &str,
    ) {
        let as_default = value::normalize(key.kind, &Value::from(key.default)).ok();
        if written.is_null() || value::normalize(key.kind, written).ok() == as_default {
            return;
        }
        let message = match key.support {
            Support::Later(_) => format!("not supported yet, ignored: needs {what}"),
            _ => format!("has no effect: {what}"),
        };
        self.problem(Severity::Warning, path, origin, message, String::new());
    }

    fn problem(
        &mut self,
        severity: Severity,
        key: &str,
        origin: &Origin,
        message: String,
        hint: String,
    ) {
        let key = key.to_owned();
        self.problems.push(Problem { severity, key, origin: origin.to_string(), message, hint });
    }

    fn finish(mut self) -> Loaded {
        let effective: Vec<_> =
            KEYS.iter().filter(|key| key.is_read()).map(|key| self.effective(key)).collect();
        self.check_together(&effective);
        let config = Config::from_effective(&effective, &self.sections);
        if config.http.proxies.use_proxy_protocol && config.http.proxies.trusted.is_empty() {
            let origin = self.effective_origin("http.proxyProtocol");
            let message = "has no effect: no proxy is trusted".to_owned();
            let hint = "name the load balancers in http.trustedProxies".to_owned();
            self.problem(Severity::Warning, "http.proxyProtocol", &origin, message, hint);
        }
        self.check_certificates(&config);
        let failed = self.problems.iter().any(|problem| problem.severity == Severity::Error);
        self.problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
        Loaded {
            config: (!failed).then_some(config),
            problems: self.problems,
            effective,
            sections: self.sections,
        }
    }

    fn effective_origin(&self, name: &str) -> Origin {
        self.values.get(name).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// What is wrong with values that are good one by one.
    fn check_together(&mut self, effective: &[Effective]) {
        let find = |name: &str| effective.iter().find(|item| item.key.name == name);
        let (Some(min), Some(max)) = (find("threads.min"), find("threads.max")) else { return };
        if min.value.as_u64() > max.value.as_u64() {
            let message = format!("more than threads.max, which is {}", max.value);
            let origin = if min.origin == Origin::Default { &max.origin } else { &min.origin };
            self.problem(Severity::Error, "threads.min", origin, message, String::new());
        }
    }

    fn check_certificates(&mut self, config: &Config) {
        for listener in TlsListener::ALL {
            if config.certificates(listener).is_some_and(|entries| entries.is_empty()) {
                let message = format!("no certificate is for {}", listener.key());
                let origin = self.effective_origin("tls");
                let hint = "an entry without `uses` is for every listener".to_owned();
                self.problem(Severity::Error, "tls.uses", &origin, message, hint);
            }
        }
        self.check_verification("http.mtls", config.http.client_certificates.as_ref());
        self.check_verification("mqtt.network.mtls", config.mqtt.client_certificates.as_ref());
        let is_own_used = config.certificates(TlsListener::Operations).is_some();
        if !config.operations_api.tls.is_empty() && !is_own_used {
            let origin = self.effective_origin("operationsApi.tls");
            let message = "has no effect: the Operations API has no TLS port of its own".to_owned();
            let hint = "set operationsApi.network.securePort".to_owned();
            self.problem(Severity::Warning, "operationsApi.tls", &origin, message, hint);
        }
        for entry in config.tls.iter().chain(&config.operations_api.tls) {
            for finding in tls::findings(entry) {
                let tls::Finding { severity, member, message, hint } = finding;
                // a list has one place; a section has one for each member
                let section = entry.key.split('[').next().unwrap_or_default();
                let name = if section == entry.key {
                    format!("{section}.{member}")
                } else {
                    section.to_owned()
                };
                let written = self.values.get(name.as_str()).map(|(_, origin)| origin.clone());
                let origin = written.unwrap_or(Origin::Default);
                let key = format!("{}.{member}", entry.key);
                self.problem(severity, &key, &origin, message, hint.to_owned());
            }
        }
    }

    /// A section of client certificates that wants revoked ones found out, and names no way.
    fn check_verification(&mut self, section: &str, clients: Option<&ClientCertificates>) {
        let verification = format!("{section}.certificateVerification");
        let is_unchecked = clients.is_some_and(|clients| clients.revocation.is_none());
        let enabled = self.values.get(format!("{verification}.enabled").as_str());
        let is_off = enabled.is_some_and(|(value, _)| value == &Value::from(false));
        if is_unchecked && self.sections.contains(&verification) && !is_off {
            let origin = self.effective_origin(&format!("{verification}.failureMode"));
            let message = "has no effect: neither lists nor OCSP are to be used".to_owned();
            let hint = format!("set {verification}.crl.file, or crl or ocsp to true");
            self.problem(Severity::Warning, &verification, &origin, message, hint);
        }
    }

    fn effective(&self, key: &'static Key) -> Effective {
        let (value, origin) =
            self.values.get(key.name).cloned().unwrap_or((Value::Null, Origin::Default));
        Effective { key, value, origin }
    }
}

/// Whether a section is written with nothing in it but what means "unset".
fn is_unset(path: &str, node: &Node) -> bool {
    match node {
        Node::Map(members, _) => {
            !members.is_empty()
                && members.iter().all(|(name, _, node)| is_unset(&format!("{path}.{name}"), node))
        }
        Node::Scalar(Scalar::Null, _) => !keys::find(path).is_some_and(|key| key.kind.has_null()),
        _ => false,
    }
}

/// A word of the environment or the command line; structured values are written as JSON.
fn from_word(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::TextList
        | Kind::Networks
        | Kind::Issuers
        | Kind::SecurityHeaders
        | Kind::Sections
        | Kind::Pairs
        | Kind::Any => tree::parse(text).map_or_else(|_| Value::from(text), |node| node.to_json()),
        _ if text == "null" => Value::Null,
        _ => Value::from(text),
    }
}

fn shortened(value: &Value) -> String {
    let text = shown(value).to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(yaml: &str) -> Vec<String> {
        crate::from_text(yaml).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_source_beats_the_one_before() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut sources =
            Sources { default_json: Some(r#"{"http":{"port":1}}"#), ..Sources::default() };
        let port = |sources: &Sources<'_>| load(sources).config.unwrap().http.port.unwrap().port;
        assert_eq!(load(&Sources::default()).config.unwrap().http.port.unwrap().port, 9926);
        assert_eq!(port(&sources), 1);
        sources.file = Some(("f", "http: {port: 2}"));
        assert_eq!(port(&sources), 2);
        sources.env = vec![pair("HTTP_PORT", "3")];
        assert_eq!(port(&sources), 3);
        sources.cli = vec![pair("http.port", "4")];
        assert_eq!(port(&sources), 4);
        sources.cli = vec![pair("HTTP_PORT", "5")];
        assert_eq!(port(&sources), 5);
        sources.set_json = Some(r#"{"http":{"port":6}}"#);
        assert_eq!(port(&sources), 6);
    }

    #[test]
    fn every_problem_is_named_at_once_with_its_place() {
        let found =
            problems("http:\n  prot: 1\n  port: lots\nmqtt: {logging: 1}\nthreads: 0\nbogus: 1\n");
        assert_eq!(
            found,
            [
                "error: harperdb-config.yaml:3:3: http.port: expected a port from 0 to 65535, or address:port, found \"lots\"",
                "error: harperdb-config.yaml:5:1: threads: expected a whole number from 1 to 1024 or `auto`, found 0",
                "warning: harperdb-config.yaml:2:3: http.prot: unknown key, ignored (did you mean http.port?)",
                "warning: harperdb-config.yaml:4:8: mqtt.logging: has no effect: logs go to standard output, one line each",
                "warning: harperdb-config.yaml:6:1: bogus: unknown key, ignored",
            ]
        );
    }

    #[test]
    fn a_minimum_above_the_maximum_is_refused() {
        assert_eq!(
            problems("threads: {min: 5, max: 4}"),
            ["error: harperdb-config.yaml:1:11: threads.min: more than threads.max, which is 4"]
        );
        assert!(problems("threads: {min: 4, max: 4}").is_empty());
    }

    #[test]
    fn a_service_link_and_an_empty_variable_are_warnings() {
        let env = vec![
            ("HTTP_PORT".to_owned(), "tcp://10.0.0.1:80".to_owned()),
            ("ADMIN_PORT".to_owned(), String::new()),
            ("PATH".to_owned(), "/bin".to_owned()),
        ];
        let loaded = load(&Sources { env, ..Sources::default() });
        assert_eq!(loaded.config.unwrap().http.port.unwrap().port, 9926);
        let messages: Vec<_> = loaded.problems.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(
            messages,
            ["looks like a Kubernetes service link, ignored", "the variable is empty, ignored",]
        );
    }

    #[test]
    fn a_null_port_opens_no_listener_and_other_nulls_keep_the_default() {
        let config = crate::from_text("http: {port: null, timeout: null}").0.unwrap();
        assert_eq!(config.http.port, None);
        assert_eq!(config.http.timeouts.request.as_millis(), 120_000);
    }

    #[test]
    fn null_in_a_higher_source_gives_the_default_back() {
        let file = Some(("f", "http: {timeout: 5, corsAccessList: [a]}"));
        let set_json = Some(r#"{"http": {"timeout": null, "corsAccessList": null}}"#);
        let config = load(&Sources { file, set_json, ..Sources::default() }).config.unwrap();
        assert_eq!(config.http.timeouts.request.as_millis(), 120_000);
        assert_eq!(config.http.cors.access_list, None);
    }

    #[test]
    fn unsupported_keys_at_their_default_are_not_worth_a_word() {
        assert!(
            problems("http: {http2: false, securePort: null}\nlogging: {file: false}").is_empty()
        );
    }

    #[test]
    fn the_proxy_protocol_without_a_trusted_proxy_is_a_warning() {
        assert_eq!(
            problems("http:\n  proxyProtocol: true\n"),
            [
                "warning: harperdb-config.yaml:2:3: http.proxyProtocol: has no effect: no proxy is trusted (name the load balancers in http.trustedProxies)"
            ]
        );
        assert!(problems("http: {proxyProtocol: true, trustedProxies: 10.0.0.0/8}").is_empty());
    }

    #[test]
    fn a_secret_is_not_in_the_problem_about_it() {
        let found = problems("telemetry: {otlp: {headers: [api-key]}}");
        assert_eq!(found.len(), 1);
        assert!(!found[0].contains("api-key") && found[0].contains("name=value"), "{found:?}");
    }

    #[test]
    fn the_request_log_exists_only_with_its_block() {
        let logging = |yaml| crate::from_text(yaml).0.unwrap().http.logging.is_some();
        assert!(!logging("http: {port: 1}"));
        assert!(logging("http:\n  logging:\n"));
        assert!(logging("http: {logging: {timing: true}}"));
    }
}
