//! Certificates that change while the server runs.

use super::certificates::{Authority, Pair};
use super::client::{Tls, der};
use crate::harness::{Home, Server, eventually};
use serde_json::json;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// A directory as Kubernetes mounts a Secret: files are links into `..data`, which is exchanged whole.
struct Mounted<'a> {
    home: &'a Home,
    version: usize,
}

impl<'a> Mounted<'a> {
    fn new(home: &'a Home, pair: &Pair) -> Self {
        let mut mounted = Self { home, version: 0 };
        mounted.exchange(pair);
        for name in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), home.path(&format!("secret/{name}"))).unwrap();
        }
        mounted
    }

    fn exchange(&mut self, pair: &Pair) {
        self.version += 1;
        let folder = format!("..v{}", self.version);
        self.home.write(&format!("secret/{folder}/tls.crt"), &pair.certificate);
        self.home.write(&format!("secret/{folder}/tls.key"), &pair.key);
        let fresh = self.home.path("secret/..data_tmp");
        symlink(&folder, &fresh).unwrap();
        std::fs::rename(&fresh, self.home.path("secret/..data")).unwrap();
        if self.version > 1 {
            let old = format!("secret/..v{}", self.version - 1);
            std::fs::remove_dir_all(self.home.path(&old)).unwrap();
        }
    }
}

fn start(home: &Arc<Home>) -> (Server, SocketAddr) {
    let path = |name: &str| home.path(name).display().to_string();
    let tls = json!({"certificate": path("secret/tls.crt"), "privateKey": path("secret/tls.key")});
    let config = json!({"tls": tls, "http": {"securePort": "127.0.0.1:0"}});
    let server = home.launch().set("threads.count=2").configured(&config).start();
    let address = server.https();
    (server, address)
}

#[test]
fn an_exchanged_secret_is_used_without_a_failed_handshake() {
    let (home, authority) = (Home::empty(), Authority::new("test authority"));
    let pairs: Vec<Pair> = (0..5).map(|_| authority.server(&["localhost"])).collect();
    let mut mounted = Mounted::new(&home, &pairs[0]);
    let (server, address) = start(&home);
    let client = Tls::trusting(&authority.pem);
    let (stop, connected) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // a client of its own each time, so that every handshake is a full one
                while !stop.load(Relaxed) {
                    let client = Tls::trusting(&authority.pem);
                    let mut secure = client.connect(address, "localhost").unwrap();
                    secure.get("/").reply().expect(404);
                    connected.fetch_add(1, Relaxed);
                }
            });
        }
        let all = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for pair in &pairs[1..] {
                mounted.exchange(pair);
                eventually("the new certificate is used", || {
                    let used = client.certificate_for(address, "localhost");
                    (used == der(&pair.certificate)).then_some(())
                });
            }
        }));
        stop.store(true, Relaxed);
        all.unwrap();
    });
    assert!(connected.load(Relaxed) > 20);
    assert_eq!(server.metric("harper_tls_reloads_total"), 4.0);
    assert_eq!(server.metric("harper_tls_reload_failures_total"), 0.0);
}

#[test]
fn a_bad_certificate_is_refused_and_the_one_before_goes_on() {
    let (home, authority) = (Home::empty(), Authority::new("test authority"));
    let (good, other) = (authority.server(&["localhost"]), authority.server(&["localhost"]));
    let mut mounted = Mounted::new(&home, &good);
    let (server, address) = start(&home);
    let client = Tls::trusting(&authority.pem);
    mounted.exchange(&Pair { key: other.key.clone(), ..good.clone() });
    server.line("the new certificates are refused");
    assert_eq!(client.certificate_for(address, "localhost"), der(&good.certificate));
    assert_eq!(server.metric("harper_tls_reload_failures_total"), 1.0);
    let ready = server.admin().get("/readyz?verbose").expect(200).text();
    assert!(ready.contains("certificates") && ready.contains("not that of"), "{ready}");
    assert!(!server.log().contains("PRIVATE KEY"), "no key in a log");
    mounted.exchange(&other);
    eventually("the good one is used", || {
        (client.certificate_for(address, "localhost") == der(&other.certificate)).then_some(())
    });
    let ready = server.admin().get("/readyz?verbose").expect(200).text();
    assert!(!ready.contains("not that of"), "{ready}");
}

#[test]
fn renewed_self_signed_certificates_are_used_by_a_running_server() {
    let home = Home::empty();
    let server = home.launch().set("http.securePort=127.0.0.1:0").start();
    let address = server.https();
    let authority = || std::fs::read_to_string(home.path("root/keys/ca.pem")).unwrap();
    let first = authority();
    let root = home.path("root").display().to_string();
    let output = home.output(&["renew-certs", "--root", &root]);
    assert!(output.status.success(), "{output:?}");
    assert_ne!(first, authority());
    let client = Tls::trusting(&authority());
    eventually("the new certificate is used", || client.connect(address, "localhost").ok());
    let expires = server.metric(
        "harper_tls_certificate_not_after_timestamp_seconds{entry=\"tls\",name=\"localhost\"}",
    );
    assert!(expires > 2e9, "{expires}");
}

#[test]
fn configured_certificates_are_not_renewed_here() {
    let home = Home::empty();
    let output =
        home.output(&["renew-certs", "--set", "tls.certificate=/x", "--set", "tls.privateKey=/y"]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
}
