//! WebSocket on the wire: who is let in, who is told what, and how it ends. Frames are tested where they are read, too.

mod carried;
pub(crate) mod client;
mod ending;
mod events;
mod opening;
mod secure;

use crate::harness::{Home, Launch, Server};

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey name: String @indexed age: Int born: Date tag: Bytes }";

fn launch() -> Launch {
    Home::with_schema(SCHEMA).launch().set("threads.count=2")
}

fn start() -> Server {
    launch().start()
}
