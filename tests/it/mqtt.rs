//! The MQTT broker, from its socket: what a packet is answered with, who hears of what, and what a session survives. The
//! form of packets is tested where they are read, in `harper-mqtt`.

pub(crate) mod client;
mod connect;
mod normative;
mod publish;
mod secure;
mod session;
mod shared;
mod statements;
mod sys;
mod tools;
mod will;

use crate::harness::{Home, Launch, Server};
use client::Mqtt;
use harper_mqtt::Version;
use std::sync::Arc;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey name: String age: Int }\n\
    type Cat @table @export(name: \"nice/cats\") { id: ID @primaryKey name: String secret: String }\n";

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// A server with MQTT and two workers, on which everybody local may do everything.
fn launch(home: &Arc<Home>) -> Launch {
    home.launch().set("threads.count=2").set("mqtt.network.port=127.0.0.1:0")
}

fn start() -> Server {
    launch(&Home::with_schema(SCHEMA)).start()
}

/// A client with a clean session.
fn connected(server: &Server, id: &str) -> Mqtt {
    Mqtt::version(server, Version::V5).clean(id)
}
