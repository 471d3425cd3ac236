//! Starts the server under test with an application and a root of its own, and waits until it is ready.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{Process, free_address},
    secure::Identity,
    wire,
};

/// The administrator of every server that the benchmark starts.
pub(crate) const USERNAME: &str = "bench";
pub(crate) const PASSWORD: &str = "a password of the benchmark";

/// The most that one request of the harness itself may take.
pub(crate) const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// More than any benchmark opens.
const CONNECTIONS_MAX: usize = 100_000;
const READY_TIMEOUT: Duration = Duration::from_secs(30);
const READY_INTERVAL: Duration = Duration::from_millis(1);

/// How a server is started.
pub(crate) struct Settings<'a> {
    pub(crate) binary: &'a Path,
    /// Holds the root of the server and its log.
    pub(crate) directory: &'a Path,
    pub(crate) application: &'a Application,
    pub(crate) workers: usize,
    /// Added to each sync of the store.
    pub(crate) sync_delay_ms: u64,
    /// The core to hold the process to; anywhere when `None`.
    pub(crate) core: Option<usize>,
    /// The certificate of a TLS listener with HTTP/2; without one there is none.
    pub(crate) identity: Option<&'a Identity>,
}

/// A ready server; dropping it ends the process.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) http: SocketAddr,
    /// Where TLS is spoken, when it is.
    pub(crate) secure: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) mqtt: SocketAddr,
    /// From the start of the process to the first 200 of `/readyz`.
    pub(crate) start_time: Duration,
}

/// The files of an application, written to a directory.
pub(crate) struct Application {
    path: PathBuf,
}

impl Application {
    /// An application that serves nothing.
    pub(crate) fn empty(directory: &Path) -> Result<Self> {
        Self::write(directory, "rest: true\n", None)
    }

    /// One table, exported at `/Item/`, with one index.
    pub(crate) fn one_table(directory: &Path) -> Result<Self> {
        let config = "rest: true\ngraphqlSchema:\n  files: schema.graphql\n";
        let schema = "type Item @table @export {\n  id: ID @primaryKey\n  \
                      group: String @indexed\n  text: String\n}\n";
        Self::write(directory, config, Some(schema))
    }

    fn write(directory: &Path, config: &str, schema: Option<&str>) -> Result<Self> {
        let path = directory.join("application");
        fs::create_dir_all(&path)?;
        fs::write(path.join("config.yaml"), config)?;
        if let Some(schema) = schema {
            fs::write(path.join("schema.graphql"), schema)?;
        }
        Ok(Self { path })
    }
}

impl Server {
    /// Starts the server and waits until `/readyz` answers 200.
    pub(crate) fn start(settings: &Settings<'_>) -> Result<Self> {
        let Settings { binary, directory, application, workers, sync_delay_ms, core, identity } =
            *settings;
        let (http, secure) = (free_address()?, free_address()?);
        let (admin, mqtt) = (free_address()?, free_address()?);
        let mut command = Command::new(binary);
        command
            .arg("run")
            .arg(&application.path)
            .arg("--root")
            .arg(directory.join("root"))
            .args(["--set", &format!("http.port={http}")])
            .args(["--set", &format!("admin.port={admin}")])
            .args(["--set", "operationsApi.network.port=null"])
            .args(["--set", &format!("mqtt.network.port={mqtt}")])
            .args(["--set", &format!("http.connectionsMax={CONNECTIONS_MAX}")])
            .args(["--set", &format!("threads.count={workers}")])
            .env("HDB_ADMIN_USERNAME", USERNAME)
            .env("HDB_ADMIN_PASSWORD", PASSWORD);
        if sync_delay_ms > 0 {
            command.args(["--set", &format!("storage.syncDelayForTests={sync_delay_ms}")]);
        }
        if let Some(Identity { certificate, key }) = identity {
            let (certificate, key) = (certificate.display(), key.display());
            command
                .args(["--set", &format!("http.securePort={secure}"), "--set", "http.http2=true"])
                .args(["--set", &format!("tls.certificate={certificate}")])
                .args(["--set", &format!("tls.privateKey={key}")]);
        }
        let begun = Instant::now();
        let mut process = Process::start(command, core, &directory.join("server.log"))?;
        let request = wire::request("GET", "/readyz", "", b"");
        process
            .wait_until(READY_TIMEOUT, READY_INTERVAL, || {
                wire::ask(admin, &request, ASK_TIMEOUT).is_ok_and(|answer| answer.status == 200)
            })
            .with_context(|| format!("{} did not start", binary.display()))?;
        Ok(Self { process, http, secure, admin, mqtt, start_time: begun.elapsed() })
    }

    /// The sum of a metric over its labels; `None` when the server does not have it.
    pub(crate) fn metric(&self, name: &str) -> Result<Option<f64>> {
        let request = wire::request("GET", "/metrics", "", b"");
        let answer = wire::ask(self.admin, &request, ASK_TIMEOUT)?;
        if answer.status != 200 {
            bail!("/metrics answered {}", answer.status);
        }
        Ok(metric_sum(&String::from_utf8(answer.body)?, name))
    }
}

/// The release binary beside the running one, unless a path is given.
pub(crate) fn binary(given: Option<&Path>) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("harper-server"),
    };
    if !path.is_file() {
        bail!(
            "no server at {}: build it with `cargo build --release`, or name one with --server",
            path.display()
        );
    }
    Ok(path)
}

fn metric_sum(text: &str, name: &str) -> Option<f64> {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value =
            rest.strip_prefix(' ').or_else(|| Some(rest.strip_prefix('{')?.split_once("} ")?.1))?;
        value.split(' ').next()?.parse::<f64>().ok()
    });
    samples.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# TYPE a_total counter\na_total{db=\"x y\"} 2\na_total{db=\"z\"} 3 1700000000\n\
                    a_total_more 9\nb 1.5\n";
        assert_eq!(metric_sum(text, "a_total"), Some(5.0));
        assert_eq!(metric_sum(text, "b"), Some(1.5));
        assert_eq!(metric_sum(text, "c"), None);
    }
}
