//! The command line. An option that is not given is looked for in the environment.

use crate::telemetry::LogFormat;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;

/// Image of servers that name none, when the operator is told none either.
pub const DEFAULT_SERVER_IMAGE: &str = concat!("harper-server:", env!("CARGO_PKG_VERSION"));
const DEFAULT_ADMIN_ADDRESS: &str = "0.0.0.0:8080";

/// Runs Harper servers on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "harper-operator", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reconcile HarperServers until told to stop.
    Run(RunArgs),
    /// Print the CustomResourceDefinition as YAML.
    Crd,
    /// Print the rules of the operator's role as YAML.
    Rbac,
    /// Check an installed operator; used by `helm test`.
    SmokeTest(SmokeTestArgs),
}

/// Options of `run`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Namespace to look at; repeatable; all when absent [env: HARPER_OPERATOR_NAMESPACE, separated by commas].
    #[arg(long = "namespace", value_name = "NS")]
    pub namespaces: Vec<String>,
    /// Address of /livez, /readyz and /metrics [default: 0.0.0.0:8080] [env: HARPER_OPERATOR_ADMIN_ADDRESS].
    #[arg(long, value_name = "ADDRESS")]
    pub admin_address: Option<SocketAddr>,
    /// Image of servers that name none [env: HARPER_OPERATOR_SERVER_IMAGE].
    #[arg(long, value_name = "IMAGE")]
    pub server_image: Option<String>,
    /// Form of the log [default: text] [env: HARPER_OPERATOR_LOG_FORMAT].
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
}

/// Options of `smoke-test`.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub struct SmokeTestArgs {
    /// An http:// URL that must answer 200, such as the operator's /readyz.
    #[arg(long, group = "what")]
    pub url: Option<String>,
    /// The kind must be served, and a minimal HarperServer accepted (nothing is stored).
    #[arg(long, group = "what")]
    pub expect_crd: bool,
}

/// A value of the environment that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: invalid value {value:?}: {message}")]
pub struct EnvError {
    name: &'static str,
    value: String,
    message: String,
}

/// The options of `run` with nothing left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Namespaces to look at, sorted, each once; all when empty.
    pub namespaces: Vec<String>,
    /// Address of the admin listener.
    pub admin_address: SocketAddr,
    /// Image of servers that name none.
    pub server_image: String,
    /// Form of the log.
    pub log_format: LogFormat,
}

impl RunArgs {
    /// Completes the options from the environment and the defaults. An empty variable counts as not set.
    ///
    /// # Errors
    /// The first variable with a value that cannot be used.
    pub fn resolve(self, env: impl Fn(&str) -> Option<String>) -> Result<RunOptions, EnvError> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let mut namespaces = self.namespaces;
        if namespaces.is_empty() {
            let list = env("HARPER_OPERATOR_NAMESPACE").unwrap_or_default();
            namespaces.extend(list.split(',').map(|name| name.trim().to_owned()));
        }
        namespaces.retain(|name| !name.is_empty());
        namespaces.sort();
        namespaces.dedup();
        let address = match self.admin_address {
            Some(address) => address,
            None => {
                const NAME: &str = "HARPER_OPERATOR_ADMIN_ADDRESS";
                let value = env(NAME).unwrap_or_else(|| DEFAULT_ADMIN_ADDRESS.to_owned());
                value.parse().map_err(|error: std::net::AddrParseError| EnvError {
                    name: NAME,
                    message: error.to_string(),
                    value,
                })?
            }
        };
        let log_format = match self.log_format {
            Some(format) => format,
            None => log_format(env("HARPER_OPERATOR_LOG_FORMAT"))?,
        };
        let server_image = self.server_image.or_else(|| env("HARPER_OPERATOR_SERVER_IMAGE"));
        let server_image = server_image.unwrap_or_else(|| DEFAULT_SERVER_IMAGE.to_owned());
        Ok(RunOptions { namespaces, admin_address: address, server_image, log_format })
    }
}

fn log_format(value: Option<String>) -> Result<LogFormat, EnvError> {
    let Some(value) = value else { return Ok(LogFormat::Text) };
    clap::ValueEnum::from_str(&value, true).map_err(|message| EnvError {
        name: "HARPER_OPERATOR_LOG_FORMAT",
        value,
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> RunArgs {
        let all = ["harper-operator", "run"].iter().chain(args);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Run(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_win_over_the_environment_and_defaults_fill_up() {
        let none = run(&[]).resolve(|_| None).unwrap();
        assert_eq!(none.namespaces, Vec::<String>::new());
        assert_eq!(none.admin_address.to_string(), DEFAULT_ADMIN_ADDRESS);
        assert_eq!(none.server_image, DEFAULT_SERVER_IMAGE);
        let env = |name: &str| {
            let value = match name {
                "HARPER_OPERATOR_NAMESPACE" => "b, a,b",
                "HARPER_OPERATOR_SERVER_IMAGE" => "from-env",
                "HARPER_OPERATOR_LOG_FORMAT" => "json",
                _ => "",
            };
            Some(value.to_owned())
        };
        let some = run(&["--server-image", "from-line"]).resolve(env).unwrap();
        assert_eq!(some.namespaces, ["a", "b"]);
        assert_eq!(some.server_image, "from-line");
        assert_eq!(some.log_format, LogFormat::Json);
        let bad = run(&[]).resolve(|_| Some("nonsense".to_owned())).unwrap_err();
        assert!(bad.to_string().starts_with("HARPER_OPERATOR_ADMIN_ADDRESS"), "{bad}");
    }

    #[test]
    fn a_smoke_test_tests_something() {
        let parse = |args: &[&str]| {
            Cli::try_parse_from(["harper-operator", "smoke-test"].iter().chain(args)).is_ok()
        };
        assert!(!parse(&[]));
        assert!(parse(&["--url", "http://op:8080/readyz"]));
        assert!(parse(&["--url", "http://op:8080/readyz", "--expect-crd"]));
    }
}
