//! nginx as a peer: one worker, the body from a file, everything off that costs and is not needed.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use anyhow::Result;

use super::{Sample, installed};

/// Headers that nginx writes by itself.
const OWN_HEADERS: [&str; 5] = ["date", "content-length", "connection", "keep-alive", "server"];

/// The command that starts nginx; `None` when it is not installed.
pub(super) fn command(
    sample: &Sample,
    directory: &Path,
    addr: SocketAddr,
) -> Result<Option<Command>> {
    let Some(nginx) = installed("nginx") else { return Ok(None) };
    let file = directory.join("html").join(sample.path.trim_start_matches('/'));
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&file, &sample.answer.body)?;
    let configuration = directory.join("nginx.conf");
    fs::write(&configuration, text(sample, directory, addr))?;
    let mut command = Command::new(nginx);
    command.arg("-p").arg(directory).arg("-c").arg(configuration);
    command.arg("-e").arg(directory.join("error.log"));
    Ok(Some(command))
}

fn text(sample: &Sample, directory: &Path, addr: SocketAddr) -> String {
    // The worker of an nginx that root starts would otherwise be another user, who may not read our files.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let root = directory.display();
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
    listen {addr};
    root {root}/html;
{headers}  }}
}}
"
    )
}

/// A value as nginx reads it; `$` would start a variable, and no escape exists for it.
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "");
    format!("\"{escaped}\"")
}
