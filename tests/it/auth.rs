//! Who may do what, and where the administrator's password comes from.

pub(crate) mod oidc;
mod operations;
mod roles;
mod sessions;
mod socket;
mod throttle;
mod tokens;

use crate::harness::client::basic;
use crate::harness::server::{PASSWORD, USERNAME, text};
use crate::harness::{Home, Launch, Reply, Server};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey name: String }";

/// A server that trusts nobody, with one worker: each worker verifies a password for itself, which takes time.
fn guarded(home: &Arc<Home>) -> Launch {
    home.launch_as("run").set("threads.count=1")
}

fn authorized(server: &Server, value: &str) -> Reply {
    let client = server.client();
    client.request("GET", "/Dog/").header("authorization", value).send()
}

#[test]
fn tables_are_closed_to_those_who_do_not_log_in() {
    let server = guarded(&Home::with_schema(SCHEMA)).start();
    let (nobody, admin) = (server.client(), server.client().login(USERNAME, PASSWORD));
    for (method, path) in [
        ("GET", "/Dog"),
        ("GET", "/Dog/"),
        ("GET", "/Dog/1"),
        ("HEAD", "/Dog/1"),
        ("PUT", "/Dog/1"),
        ("PATCH", "/Dog/1"),
        ("POST", "/Dog/"),
        ("DELETE", "/Dog/1"),
        ("DELETE", "/Dog/?id=1"),
    ] {
        let ask = nobody.request(method, path);
        let ask = if method.starts_with('P') { ask.json("{}") } else { ask };
        let refused = ask.send().expect(401);
        assert!(refused.header("www-authenticate").starts_with("Basic"), "{method}: {refused}");
        if method != "HEAD" {
            assert_eq!(refused.error(), "Must login", "{method} {path}");
        }
    }
    nobody.request("OPTIONS", "/Dog/1").send().expect(204);
    nobody.get("/Nope").expect(404);
    assert_eq!(admin.get("/Dog/").expect(200).text(), "[]", "nothing was written");
    admin.put("/Dog/1", "{}").expect(204);
    admin.get("/Dog/1").expect(200);
}

#[test]
fn wrong_credentials_are_refused_with_a_reason_and_blank_ones_are_none() {
    let server = guarded(&Home::with_schema(SCHEMA)).start();
    let right = format!("{USERNAME}:{PASSWORD}");
    let login_failed = "Login failed";
    let cases = [
        (basic(&format!("{USERNAME}:wrong")), login_failed),
        (basic(&format!("nobody:{PASSWORD}")), login_failed),
        (basic(&format!("{USERNAME}:")), login_failed),
        (basic(&format!("{USERNAME}:{PASSWORD} ")), login_failed),
        (basic(&right.to_uppercase()), login_failed),
        (basic("no colon"), "colon"),
        ("Basic %%%".to_owned(), "Invalid character"),
        ("Bearer abc".to_owned(), "invalid token"),
        ("Nonsense".to_owned(), "Only Basic"),
    ];
    for (value, part) in cases {
        let refused = authorized(&server, &value).expect(401);
        assert!(refused.error().contains(part), "{value}: {refused}");
        // the wrong ones are wrong everywhere, also where nobody needs to log in
        let nope = server.client();
        nope.request("GET", "/Nope").header("authorization", &value).send().expect(401);
    }
    let blank = authorized(&server, &basic(":")).expect(401);
    assert_eq!(blank.error(), "Must login");
    authorized(&server, &basic(&right)).expect(200);
    authorized(&server, &basic(&right).replace("Basic", "bAsIc")).expect(200);
    let log = server.log();
    assert!(!log.contains(PASSWORD) && !log.contains(&basic(&right)), "{log}");
}

#[test]
fn a_generated_password_goes_to_a_file_that_only_the_owner_reads() {
    let home = Home::with_schema(SCHEMA);
    let server =
        guarded(&home).without_env("HDB_ADMIN_PASSWORD").without_env("HDB_ADMIN_USERNAME").start();
    let path = home.path("root/admin-password");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let password = std::fs::read_to_string(&path).unwrap().trim().to_owned();
    assert!(password.len() >= 20, "{}", password.len());
    let line = server.line("admin-password");
    assert!(line.contains("notify") && line.contains("admin"), "{line}");
    let client = server.client().login("admin", &password);
    client.get("/Dog/").expect(200);
    for known in ["admin", "password", "harper", "HDB_ADMIN", ""] {
        server.client().login("admin", known).get("/Dog/").expect(401);
    }
    assert!(!server.log().contains(&password));
    server.stop();
    let server = guarded(&home).without_env("HDB_ADMIN_PASSWORD").start();
    assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), password, "made once");
    server.client().login("admin", &password).get("/Dog/").expect(200);
    let other = Home::with_schema(SCHEMA);
    let _server = guarded(&other).without_env("HDB_ADMIN_PASSWORD").start();
    let different = std::fs::read_to_string(other.path("root/admin-password")).unwrap();
    assert_ne!(different.trim(), password);
}

#[test]
fn a_password_given_at_a_restart_takes_effect_and_the_old_one_is_refused() {
    let home = Home::with_schema(SCHEMA);
    let server = guarded(&home).start();
    server.client().login(USERNAME, PASSWORD).put("/Dog/1", "{}").expect(204);
    server.stop();
    let server = guarded(&home).env("HDB_ADMIN_PASSWORD", "another one").start();
    server.client().login(USERNAME, PASSWORD).get("/Dog/1").expect(401);
    server.client().login(USERNAME, "another one").get("/Dog/1").expect(200);
    server.stop();
    let server = guarded(&home).without_env("HDB_ADMIN_PASSWORD").start();
    server.client().login(USERNAME, "another one").get("/Dog/1").expect(200);
    server.client().login(USERNAME, PASSWORD).get("/Dog/1").expect(401);
}

#[test]
fn the_password_may_come_from_a_file() {
    let home = Home::with_schema(SCHEMA);
    let file = home.write("secret", "from a file: with a colon\n");
    let name = home.write("name", "chef\n");
    let start = || {
        guarded(&home)
            .without_env("HDB_ADMIN_PASSWORD")
            .without_env("HDB_ADMIN_USERNAME")
            .env("HDB_ADMIN_PASSWORD_FILE", &file)
            .env("HDB_ADMIN_USERNAME_FILE", &name)
    };
    let server = start().start();
    server.client().login("chef", "from a file: with a colon").get("/Dog/").expect(200);
    server.client().login("admin", "from a file: with a colon").get("/Dog/").expect(401);
    server.stop();
    std::fs::remove_file(&file).unwrap();
    let failed = start().fail();
    let message = text(&failed.stderr);
    assert!(!failed.status.success() && message.contains("HDB_ADMIN_PASSWORD_FILE"), "{message}");
    std::fs::write(&file, "").unwrap();
    let failed = start().fail();
    let message = text(&failed.stderr);
    assert!(!failed.status.success() && message.contains("password is empty"), "{message}");
}

#[test]
fn a_loopback_client_is_trusted_only_where_the_configuration_says_so() {
    let home = Home::with_schema(SCHEMA);
    let server = guarded(&home).set("authentication.authorizeLocal=true").start();
    server.client().put("/Dog/1", "{}").expect(204);
    authorized(&server, &basic("admin:wrong")).expect(401);
    server.stop();
    let server = home.launch_as("dev").without_env("HDB_ADMIN_PASSWORD").start();
    server.client().put("/Dog/1", "{}").expect(204);
    assert!(home.path("app/.harper").is_dir(), "the data of dev lie below the application");
}

#[test]
fn a_verified_credential_is_remembered_for_its_time() {
    let home = Home::with_schema(SCHEMA);
    let count = |server: &Server, result: &str| {
        server.metric(&format!("harper_credentials_{result}_total"))
    };
    let server = guarded(&home).start();
    let client = server.client().login(USERNAME, PASSWORD);
    for _ in 0..20 {
        client.get("/Dog/").expect(200);
    }
    assert_eq!((count(&server, "verified"), count(&server, "cached")), (1.0, 19.0));
    server.stop();
    let server = guarded(&home).set("authentication.cacheTTL=0").start();
    let client = server.client().login(USERNAME, PASSWORD);
    for _ in 0..3 {
        client.get("/Dog/").expect(200);
    }
    assert_eq!(count(&server, "verified"), 3.0);
}
