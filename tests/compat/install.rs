//! Starting, files, defaults.

use crate::harness::{Home, Wire, server};
use crate::{Row, differs, same};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    differs(
        "size",
        "211 MB of modules",
        "one static binary of a few megabytes; no install step",
        |_| {
            let help = Home::empty().output(&["--help"]);
            assert!(help.status.success());
        },
    ),
    same("ROOTPATH, HDB_ADMIN_USERNAME, HDB_ADMIN_PASSWORD, NODE_HOSTNAME, DEFAULTS_MODE", |_| {
        let home = Home::empty();
        let launch = home.launch().env("NODE_HOSTNAME", "localhost").env("DEFAULTS_MODE", "prod");
        let server = launch.set("authentication.authorizeLocal=false").start();
        let admin = server.client().login(server::USERNAME, server::PASSWORD);
        admin.get("/nothing").expect(404);
        assert!(home.path("root").is_dir());
    }),
    same("a key in the environment", |_| {
        let home = Home::empty();
        let output =
            home.command(&["config", "effective"]).env("HTTP_TIMEOUT", "7000").output().unwrap();
        assert!(server::text(&output.stdout).contains("7000"), "{output:?}");
    }),
    differs(
        "THREADS=1 in the environment",
        "replaces every setting of `threads`",
        "means `threads.count`",
        |_| {
            let home = Home::empty();
            let output =
                home.command(&["config", "effective"]).env("THREADS", "1").output().unwrap();
            assert!(output.status.success(), "{output:?}");
        },
    ),
    differs(
        "time to the first answer",
        "4 to 10 seconds",
        "well under one; `cargo xtask bench start`",
        |_| {
            let begun = Instant::now();
            let server = Home::empty().start();
            server.client().get("/").expect(404);
            assert!(begun.elapsed() < Duration::from_secs(10));
        },
    ),
    differs(
        "memory at rest",
        "245 MB with one thread",
        "a few megabytes; `cargo xtask bench start`",
        |w| {
            let page = w.server.admin().get("/metrics").expect(200).text();
            assert!(page.contains("process_resident_memory_bytes"));
        },
    ),
    differs(
        "files below the root",
        "configuration, databases, keys, logs, components, a socket, and a file in the home directory",
        "databases, keys and a socket; logs go to standard output; nothing outside the root",
        |w| {
            let root = w.server.home.path("root");
            assert!(root.join("database").is_dir());
            assert!(!w.server.home.path(".harperdb").exists());
        },
    ),
    same("threads share every port", |w| {
        for _ in 0..20 {
            w.anyone().get("/").expect(200);
        }
        assert_eq!(w.server.metric("harper_workers_running"), 2.0);
    }),
    same("a port as host:port", |_| {
        Home::empty().launch().set("http.port=127.0.0.1:0").start();
    }),
    differs(
        "production mode",
        "HTTPS alone",
        "what the configuration says; plain HTTP on 9926 as documented",
        |w| {
            w.anyone().get("/").expect(200);
        },
    ),
    same("development mode", |_| {
        let home = Home::with_schema("type T @table @export { id: ID @primaryKey }");
        let server = home.launch_as("dev").start();
        server.client().put("/T/1", "{}").expect(204);
    }),
    differs("an extra listener on a random port", "one for each thread", "none", |w| {
        let fd = format!("/proc/{}/net/tcp", w.server.pid());
        assert!(std::fs::read_to_string(fd).is_ok());
        let mut wire = Wire::connect(w.server.http);
        wire.get("/").reply().expect(200);
    }),
    differs("compressionThreshold", "0 in the installed file: off", "1200, as documented", |_| {
        let output = Home::empty().output(&["config", "docs"]);
        let text = server::text(&output.stdout);
        let row = text.lines().find(|line| line.contains("http.compressionThreshold")).unwrap();
        assert!(row.contains("1200"), "{row}");
    }),
    differs(
        "the Operations API's socket",
        "whoever can open it is a super user",
        "the server's own user and root alone, as the kernel says; mode 0600; never for a request that says that it was forwarded; removed at a stop",
        |w| {
            let path = w.server.home.path("root/operations-server");
            let mode = std::fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        },
    ),
];
