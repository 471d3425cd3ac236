//! The clients of mosquitto, where they are installed.

use super::start;
use crate::harness::eventually;
use serde_json::json;
use std::process::{Command, Stdio};

/// Whether the tools are there; without them there is nothing to test.
fn are_there() -> bool {
    let found = Command::new("mosquitto_sub").arg("--help").output().is_ok();
    if !found {
        println!("mosquitto-clients are not installed: not tested");
    }
    found
}

#[test]
fn mosquitto_s_clients_publish_and_subscribe_in_every_version() {
    if !are_there() {
        return;
    }
    let server = start();
    let port = server.mqtt().port().to_string();
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let topic = format!("Dog/{version}-{qos}");
            server
                .client()
                .put(&format!("/{topic}"), &json!({"name": "first"}).to_string())
                .expect(204);
            let same = ["-h", "127.0.0.1", "-p", &port, "-V", version, "-q", qos, "-t", &topic];
            // the record, then the message
            let subscriber = Command::new("mosquitto_sub")
                .args(same)
                .args(["-C", "2", "-W", "20"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let series = "harper_realtime_subscriptions{protocol=\"mqtt\"}";
            eventually("the subscription", || (server.metric(series) == 1.0).then_some(()));
            let sent = Command::new("mosquitto_pub").args(same).args(["-m", "second"]).status();
            assert!(sent.unwrap().success());
            let output = subscriber.wait_with_output().unwrap();
            let told = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success(), "{version} {qos}: {told}");
            let lines: Vec<&str> = told.lines().collect();
            assert!(lines[0].contains("first") && lines[1] == "second", "{lines:?}");
            eventually("the end", || (server.metric(series) == 0.0).then_some(()));
        }
    }
}
