//! `mqtt.*`

use super::{ClientCertificates, Reader};
use crate::value::Port;
use std::time::Duration;

/// The MQTT broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Mqtt {
    /// The plain-text listener, if any.
    pub port: Option<Port>,
    /// The TLS listener, if any.
    pub secure_port: Option<Port>,
    /// Clients' certificates on the TLS listener; none when they are not asked for.
    pub client_certificates: Option<ClientCertificates>,
    /// Whether it is spoken over WebSocket, too.
    pub web_socket: bool,
    /// Whether who has not logged in is refused.
    pub requires_authentication: bool,
    /// Time for CONNECT to come, and for what was sent to be taken.
    pub timeout: Duration,
    /// The greatest Keep Alive, seconds; a client that asks for more, or for none, is told; 0 lets each have its own.
    pub keep_alive_max_s: u16,
    /// Bytes of a packet of a client.
    pub packet_bytes_max: u32,
    /// Messages above QoS 0 that one client may have unanswered.
    pub receive_maximum: u16,
    /// Messages above QoS 0 that one client is sent before it answers.
    pub inflight_max: u16,
    /// Topic aliases that one client may give, and is given.
    pub topic_aliases_max: u16,
    /// How often the broker tells of itself; zero for never.
    pub sys_interval: Duration,
    /// Subscriptions of one session.
    pub subscriptions_max: usize,
    /// Sessions that outlive their connection.
    pub sessions_max: usize,
    /// Sessions that are gone on with or taken over in a second; 0 for any number.
    pub resumptions_per_second_max: u32,
    /// For how many seconds a session may outlive its connection.
    pub session_expiry_max_s: u32,
}

impl Reader<'_> {
    pub(super) fn mqtt(&self) -> Mqtt {
        let small = |name: &str| u16::try_from(self.number(name)).unwrap_or(u16::MAX);
        let large = |name: &str| u32::try_from(self.number(name)).unwrap_or(u32::MAX);
        let secure_port = self.port("mqtt.network.securePort");
        let is_secure = |port: &Port| port.port != 0 && secure_port.as_ref() == Some(port);
        Mqtt {
            port: self.port("mqtt.network.port").filter(|port| !is_secure(port)),
            client_certificates: self.client_certificates("mqtt.network.mtls"),
            secure_port,
            web_socket: self.flag("mqtt.webSocket"),
            requires_authentication: self.flag("mqtt.requireAuthentication"),
            timeout: self.millis("mqtt.timeout"),
            keep_alive_max_s: small("mqtt.keepAliveMax"),
            packet_bytes_max: large("mqtt.packetBytesMax"),
            receive_maximum: small("mqtt.receiveMaximum"),
            inflight_max: small("mqtt.inflightMax"),
            topic_aliases_max: small("mqtt.topicAliasesMax"),
            sys_interval: self.millis("mqtt.sysInterval"),
            subscriptions_max: self.size("mqtt.subscriptionsMax"),
            sessions_max: self.size("mqtt.sessionsMax"),
            resumptions_per_second_max: large("mqtt.resumptionsPerSecondMax"),
            session_expiry_max_s: large("mqtt.sessionExpiryMax"),
        }
    }
}
