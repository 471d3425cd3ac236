//! The Unix socket of the Operations API: who may use it, and where it is.

use super::guarded;
use crate::harness::server::text;
use crate::harness::{Home, PATIENCE, Server, eventually};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey }";

fn path(server: &Server) -> PathBuf {
    server.home.path("root/operations-server")
}

/// An answer's status and body.
fn read_reply(stream: UnixStream) -> (u16, Vec<u8>) {
    let mut stream = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap_or_default().parse().unwrap_or(0);
    loop {
        let mut field = String::new();
        stream.read_line(&mut field).unwrap();
        if field.trim().is_empty() {
            break;
        }
        let (name, value) = field.split_once(':').unwrap();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (status, body)
}

/// Sends an operation over a socket, with further header lines.
fn operate(path: &Path, lines: &str, operation: &Value) -> (u16, Value) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = operation.to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{lines}\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let (status, body) = read_reply(stream);
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn info(path: &Path, lines: &str) -> (u16, Value) {
    operate(path, lines, &json!({ "operation": "user_info" }))
}

#[test]
fn the_servers_user_is_a_super_user_there_and_nowhere_else() {
    let server = guarded(&Home::with_schema(SCHEMA)).start();
    let path = path(&server);
    let metadata = std::fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    server.line("operations of this machine at");
    let (status, user) = info(&path, "");
    assert_eq!((status, &user["role"]["permission"]["super_user"]), (200, &json!(true)), "{user}");
    let add =
        json!({"operation": "add_user", "username": "ann", "password": "x", "role": "super_user"});
    assert_eq!(operate(&path, "", &add).0, 200);
    server.client().login("ann", "x").get("/Dog/").expect(200);
    server.client().get("/Dog/").expect(401);
    // who says who it is is that one
    let header =
        |login: &str| format!("Authorization: {}\r\n", crate::harness::client::basic(login));
    assert_eq!(info(&path, &header("ann:x")).1["username"], "ann");
    assert_eq!(info(&path, &header("ann:wrong")).0, 401);
    // what passes on the requests of others does not speak for itself
    for line in
        ["X-Forwarded-For: 203.0.113.9\r\n", "Forwarded: for=127.0.0.1\r\n", "Via: 1.1 p\r\n"]
    {
        assert_eq!(info(&path, line).0, 401, "{line}");
    }
    // a token of a user that is none would be good elsewhere, too
    let tokens = json!({ "operation": "create_authentication_tokens" });
    assert_eq!(operate(&path, "", &tokens).0, 401);
}

#[test]
fn it_is_removed_at_a_stop_and_replaced_when_it_is_stale() {
    let home = Home::with_schema(SCHEMA);
    let server = guarded(&home).set("threads.count=2").start();
    let path = path(&server);
    assert_eq!(info(&path, "").0, 200);
    server.stop();
    assert!(!path.exists());
    // as a process leaves it that is killed
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = guarded(&home).start();
    assert_eq!(info(&path, "").0, 200);
    drop(server);
    assert!(path.exists(), "killed");
    let server = guarded(&home).start();
    assert_eq!(info(&path, "").0, 200);
    server.stop();
    assert!(!path.exists());
}

#[test]
fn it_can_be_elsewhere_or_nowhere_and_a_path_that_cannot_be_is_named() {
    let home = Home::with_schema(SCHEMA);
    let key = "operationsApi.network.domainSocket";
    let server = guarded(&home).set(&format!("{key}=null")).start();
    assert!(!path(&server).exists());
    server.stop();
    let other = home.path("other");
    let server = guarded(&home).set(&format!("{key}={}", other.display())).start();
    assert_eq!(info(&other, "").0, 200);
    // one that another process listens on is not taken away from it
    let second = Home::with_schema(SCHEMA);
    let failed = guarded(&second).set(&format!("{key}={}", other.display())).fail();
    let said = text(&failed.stderr);
    assert!(!failed.status.success() && said.contains(key), "{said}");
    assert_eq!(info(&other, "").0, 200);
    server.stop();
    let kept = home.write("kept", "text");
    for (path, part) in [
        (home.path(&"x".repeat(120)), "107 at most"),
        (kept.clone(), "something else than a socket"),
        (home.path("nowhere/socket"), "No such file"),
    ] {
        let failed = guarded(&home).set(&format!("{key}={}", path.display())).fail();
        let said = text(&failed.stderr);
        assert!(!failed.status.success() && said.contains(part) && said.contains(key), "{said}");
    }
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "text");
}

#[test]
fn a_slow_client_of_the_socket_has_the_times_of_the_operations_api() {
    let launch = guarded(&Home::with_schema(SCHEMA)).set("http.headersTimeout=1m");
    let server = launch.set("operationsApi.network.headersTimeout=500").start();
    let mut silent = UnixStream::connect(path(&server)).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let begun = Instant::now();
    silent.write_all(b"POST / HT").unwrap();
    assert_eq!(read_reply(silent).0, 408);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

/// Needs root, to be somebody else for a moment, and curl.
#[test]
fn another_user_is_refused_even_where_the_files_mode_would_let_it_in() {
    if !rustix::process::geteuid().is_root() || Command::new("curl").arg("-V").output().is_err() {
        return;
    }
    let server = guarded(&Home::with_schema(SCHEMA)).start();
    let path = path(&server);
    let call = |uid: u32| {
        let mut command = Command::new("curl");
        command.args(["-s", "--unix-socket", &path.display().to_string()]);
        command.args([
            "-d",
            r#"{"operation":"user_info"}"#,
            "-H",
            "Content-Type: application/json",
        ]);
        command.arg("http://localhost/").uid(uid).gid(uid).stdin(Stdio::null());
        text(&command.output().unwrap().stdout)
    };
    assert!(call(0).contains("super_user"));
    // the folders above are open to everybody from here on, and so is the socket
    let mut folder = path.parent();
    while let Some(open) = folder.filter(|folder| *folder != std::env::temp_dir()) {
        std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o755)).unwrap();
        folder = open.parent();
    }
    assert_eq!(call(65_534), "", "the mode keeps it out");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let said = call(65_534);
    assert!(said.contains("Only the user of the server"), "{said}");
    eventually("the refusal to be counted", || {
        let count = server.metric(r#"harper_rejected_total{reason="socket_user"}"#);
        (count == 1.0).then_some(())
    });
}
