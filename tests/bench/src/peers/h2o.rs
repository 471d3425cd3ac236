//! h2o as a peer: one thread, the body from a file, no access log.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use anyhow::Result;

use super::{Sample, installed, nginx};
use crate::secure::Identity;

/// The command that starts h2o; `None` when it is not installed.
pub(super) fn command(
    sample: &Sample,
    directory: &Path,
    addr: SocketAddr,
    identity: Option<&Identity>,
) -> Result<Option<Command>> {
    let Some(h2o) = installed("h2o") else { return Ok(None) };
    nginx::write_body(sample, directory)?;
    let configuration = directory.join("h2o.conf");
    fs::write(&configuration, text(sample, directory, addr, identity))?;
    let mut command = Command::new(h2o);
    command.arg("--mode=worker").arg("--conf").arg(configuration);
    Ok(Some(command))
}

fn text(
    sample: &Sample,
    directory: &Path,
    addr: SocketAddr,
    identity: Option<&Identity>,
) -> String {
    let user = if rustix::process::geteuid().is_root() { "user: root\n" } else { "" };
    let secure = identity.map_or_else(String::new, |identity| {
        let (certificate, key) = (identity.certificate.display(), identity.key.display());
        format!("  ssl:\n    certificate-file: {certificate}\n    key-file: {key}\n    minimum-version: TLSv1.2\n")
    });
    let mut headers = String::new();
    let mut media_type = "application/octet-stream";
    for (name, value) in &sample.answer.headers {
        match name.to_ascii_lowercase().as_str() {
            "content-type" => media_type = value,
            own if nginx::OWN_HEADERS.contains(&own) => {}
            _ => {
                headers.push_str(&format!("header.add: '{name}: {}'\n", value.replace('\'', "''")))
            }
        }
    }
    format!(
        "{user}num-threads: 1
http1-request-timeout: 3600
http2-idle-timeout: 3600
listen:
  host: {host}
  port: {port}
{secure}{headers}file.mime.setdefaulttype: '{media_type}'
file.etag: off
hosts:
  default:
    paths:
      /:
        file.dir: {root}/html
",
        host = addr.ip(),
        port = addr.port(),
        root = directory.display(),
    )
}
