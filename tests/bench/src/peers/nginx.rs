//! nginx as a peer: one worker, the body from a file, everything off that costs and is not needed.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use anyhow::Result;

use super::{Sample, installed};
use crate::secure::Identity;

/// Headers that nginx writes by itself.
pub(super) const OWN_HEADERS: [&str; 5] =
    ["date", "content-length", "connection", "keep-alive", "server"];

/// The command that starts nginx; `None` when it is not installed.
pub(super) fn command(
    sample: &Sample,
    directory: &Path,
    addr: SocketAddr,
    identity: Option<&Identity>,
) -> Result<Option<Command>> {
    let Some(nginx) = installed("nginx") else { return Ok(None) };
    write_body(sample, directory)?;
    let configuration = directory.join("nginx.conf");
    fs::write(&configuration, text(sample, directory, addr, identity))?;
    let mut command = Command::new(nginx);
    command.arg("-p").arg(directory).arg("-c").arg(configuration);
    command.arg("-e").arg(directory.join("error.log"));
    Ok(Some(command))
}

/// Writes the body to be served below `directory/html`.
pub(super) fn write_body(sample: &Sample, directory: &Path) -> Result<()> {
    let file = directory.join("html").join(sample.path.trim_start_matches('/'));
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(&file, &sample.answer.body)?)
}

fn text(
    sample: &Sample,
    directory: &Path,
    addr: SocketAddr,
    identity: Option<&Identity>,
) -> String {
    // The worker of an nginx that root starts would otherwise be another user, who may not read our files.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let root = directory.display();
    let (protocols, secure) = match identity {
        None => ("", String::new()),
        Some(Identity { certificate, key }) => {
            let (certificate, key) = (certificate.display(), key.display());
            let files = format!("ssl_certificate {certificate};\n    ssl_certificate_key {key};\n");
            (" ssl http2", format!("    {files}    ssl_protocols TLSv1.3;\n"))
        }
    };
    let mut headers = String::new();
    let mut media_type = "application/octet-stream";
    for (name, value) in &sample.answer.headers {
        match name.to_ascii_lowercase().as_str() {
            "content-type" => media_type = value,
            own if OWN_HEADERS.contains(&own) => {}
            _ => headers.push_str(&format!("    add_header {name} {};\n", quoted(value))),
        }
    }
    let media_type = quoted(media_type);
    format!(
        "{user}daemon off;
worker_processes 1;
pid {root}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {root}/body;
  proxy_temp_path {root}/proxy;
  fastcgi_temp_path {root}/fastcgi;
  uwsgi_temp_path {root}/uwsgi;
  scgi_temp_path {root}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  open_file_cache max=16 inactive=1h;
  open_file_cache_valid 1h;
  etag off;
  types {{ }}
  default_type {media_type};
  server {{
    listen {addr}{protocols};
    root {root}/html;
{secure}{headers}  }}
}}
"
    )
}

/// A value as nginx reads it; `$` would start a variable, and no escape exists for it.
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "");
    format!("\"{escaped}\"")
}
