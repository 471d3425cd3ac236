//! HTTP/2 on the wire: what it does, and what clients who mean harm cannot do with it. That every frame is understood as
//! the standard says is shown by h2spec (`cargo xtask h2`).

mod abuse;
mod exchange;
pub(crate) mod frames;
mod idle;

use crate::harness::{Home, Launch, Server};
use crate::tls::client::Tls;
use frames::Frames;
use std::net::SocketAddr;

/// A server of one table with HTTP/2 on its secure listener.
pub(crate) fn launch() -> Launch {
    Home::with_schema("type Dog @table @export { id: ID @primaryKey name: String }")
        .launch()
        .set("threads.count=1")
        .set("http.securePort=127.0.0.1:0")
        .set("http.http2=true")
}

/// Where such a server is, and how to connect to it.
pub(crate) struct Target {
    pub(crate) server: Server,
    tls: Tls,
    address: SocketAddr,
}

impl Target {
    #[track_caller]
    pub(crate) fn start(launch: Launch) -> Self {
        let server = launch.start();
        let authority = std::fs::read_to_string(server.home.path("root/keys/ca.pem")).unwrap();
        let address = server.https();
        Self { tls: Tls::trusting(&authority), address, server }
    }

    fn offering(&self, protocols: &[&[u8]]) -> Tls {
        let protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        self.tls.changed(|config| config.alpn_protocols = protocols)
    }

    /// A connection that has greeted and been greeted.
    #[track_caller]
    pub(crate) fn frames(&self) -> Frames {
        let mut frames = self.silent();
        frames.greet();
        frames
    }

    /// A connection that has agreed on HTTP/2 and said nothing yet.
    #[track_caller]
    pub(crate) fn silent(&self) -> Frames {
        Frames::over(self.offering(&[b"h2"]).connect(self.address, "localhost").unwrap())
    }
}
