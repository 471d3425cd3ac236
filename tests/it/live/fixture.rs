//! A server whose configuration file a test rewrites.

use crate::harness::{Client, Home, Server, Wire, eventually};
use rustix::process::Signal;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// Dotted keys and their values.
pub(crate) type Pairs<'a> = &'a [(&'a str, Value)];

/// What every file of these tests holds. The control groups are a directory that a test can write.
fn base(home: &Home) -> Value {
    json!({
        "authentication": { "authorizeLocal": true },
        // whoever shows a certificate is asked for one that is known; nobody has to
        "http": { "securePort": "127.0.0.1:0", "mtls": true },
        "operationsApi": { "network": { "securePort": "127.0.0.1:0" } },
        "threads": { "count": 1, "cgroupRootForTests": home.path("cgroup") },
    })
}

/// A home with three tables.
pub(crate) fn home() -> Arc<Home> {
    let home = Home::with_schema(
        "type Dog @table @export { id: ID @primaryKey name: String motherId: ID pups: [Dog] @relationship(to: motherId) }\n\
         type Brief @table(expiration: 0.2) @export { id: ID @primaryKey }\n\
         type Made @table @export { id: ID @primaryKey n: Int\n\
         work: Int @computed(from: \"(() => { for (let n = 0; n < 1e6; n++); return 1 })()\")\n\
         hold: Int @computed(from: \"'x'.repeat(4 << 20).length\")\n\
         long: String @computed(from: \"'x'.repeat(20)\") }",
    );
    let config =
        "rest: true\ngraphqlSchema:\n  files: schema.graphql\nstatic:\n  files: 'web/**'\n";
    home.write("app/config.yaml", config);
    home
}

/// A running server and its configuration file.
pub(crate) struct Live {
    pub(crate) server: Server,
    pub(crate) home: Arc<Home>,
}

impl Live {
    /// A server with one worker, one table and a file with nothing special.
    pub(crate) fn start() -> Self {
        let home = home();
        Self::start_with(home, &[])
    }

    /// A server that starts with these keys.
    pub(crate) fn start_with(home: Arc<Home>, pairs: Pairs<'_>) -> Self {
        limit_cpu(&home, "max");
        write(&home, pairs);
        let file = path(&home).display().to_string();
        let launch = home.launch_as("run").args(&["--config", &file]);
        let server = launch
            .set("operationsApi.network.port=127.0.0.1:0")
            .set("mqtt.network.port=127.0.0.1:0")
            .start();
        Self { server, home }
    }

    pub(crate) fn client(&self) -> Client {
        self.server.client()
    }

    pub(crate) fn wire(&self) -> Wire {
        self.server.wire()
    }

    /// Rewrites the file to these keys and the base, and has the server read it.
    #[track_caller]
    pub(crate) fn set(&self, pairs: Pairs<'_>) {
        let before = self.reloads();
        write(&self.home, pairs);
        self.server.signal(Signal::HUP);
        eventually("the reload", || (self.reloads() > before).then_some(()));
    }

    /// Reloads so far, taken and refused.
    pub(crate) fn reloads(&self) -> f64 {
        self.server.metric("harper_config_reloads_total")
            + self.server.metric("harper_config_reload_failures_total")
    }
}

/// Limits the CPU of the server as cgroup v2 shows it: `max`, or microseconds in 100 ms.
pub(crate) fn limit_cpu(home: &Home, quota: &str) {
    home.write("cgroup/cpu.max", format!("{quota} 100000\n"));
}

/// Where the file is.
pub(crate) fn path(home: &Home) -> PathBuf {
    home.path("harperdb-config.yaml")
}

/// Exchanges the file for one with these keys and the base, as a careful editor does.
pub(crate) fn write(home: &Home, pairs: Pairs<'_>) {
    let new = home.write("new-config.yaml", text(home, pairs));
    std::fs::rename(new, path(home)).unwrap();
}

/// The text of such a file: JSON, which is YAML.
pub(crate) fn text(home: &Home, pairs: Pairs<'_>) -> String {
    let mut root = base(home);
    for (name, value) in pairs {
        let mut node = &mut root;
        for part in name.split('.') {
            if !node.is_object() {
                *node = Value::Object(Map::new());
            }
            node = node.as_object_mut().unwrap().entry(part).or_insert(Value::Null);
        }
        *node = value.clone();
    }
    format!("{root:#}\n")
}
