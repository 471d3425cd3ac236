//! Everything that the server listens on.

use super::StartError;
use crate::exchange::Interface;
use crate::listen::{Endpoint, Reach};
use crate::tls::{self, Tls};
use harper_config::{Config, Port, TlsListener};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is bound; none where the configuration asks for none.
pub(super) struct Listeners {
    http: Option<Endpoint>,
    https: Option<Endpoint>,
    operations: Option<Endpoint>,
    operations_secure: Option<Endpoint>,
    operations_socket: Option<Endpoint>,
    mqtt: Option<Endpoint>,
    mqtts: Option<Endpoint>,
    admin: Option<Endpoint>,
}

/// Where the server listens.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// The application; none when `http.port` is null.
    pub http: Option<SocketAddr>,
    /// The application with TLS; none without `http.securePort`.
    pub https: Option<SocketAddr>,
    /// The Operations API, where it has listeners of its own.
    pub operations: Vec<SocketAddr>,
    /// The Unix socket of the Operations API; none when it is switched off.
    pub operations_socket: Option<PathBuf>,
    /// MQTT; none when `mqtt.network.port` is null.
    pub mqtt: Option<SocketAddr>,
    /// MQTT with TLS; none without `mqtt.network.securePort`.
    pub mqtts: Option<SocketAddr>,
    /// Metrics and probes; none when `admin.port` is null.
    pub admin: Option<SocketAddr>,
}

impl Listeners {
    /// Binds the ports of the application, of the Operations API and of MQTT, each plain and secure, the Unix socket of the
    /// Operations API, and the admin's port.
    ///
    /// # Errors
    /// The first that cannot be bound.
    pub(super) fn bind(
        config: &Config,
        root: &Path,
        reach: Reach,
        certificates: Option<&tls::Followed>,
    ) -> Result<Self, StartError> {
        use Interface::{Admin, Application, Mqtt, Operations};
        let (http, operations) = (&config.http, &config.operations_api);
        let if_secure = |port: &'_ Option<Port>| port.clone().filter(|_| certificates.is_some());
        let tls = |listener| certificates.map(|all| all.tls(listener));
        // a port that both have is the application's: there the two are told apart by the request
        let own = |port: &Option<Port>, taken: &Option<Port>| {
            port.clone().filter(|port| port.port == 0 || taken.as_ref() != Some(port))
        };
        let operations_port = own(&operations.port, &http.port);
        let operations_secure = own(&if_secure(&operations.secure_port), &http.secure_port);
        let (secure, mqtts) = (if_secure(&http.secure_port), if_secure(&config.mqtt.secure_port));
        let bind = |key, port: &Option<Port>, interface, tls| {
            port.as_ref().map(|port| bind(key, port, reach, interface, tls)).transpose()
        };
        let operations_tls = tls(TlsListener::Operations);
        Ok(Self {
            http: bind("http.port", &http.port, Application, None)?,
            https: bind("http.securePort", &secure, Application, tls(TlsListener::Application))?,
            operations: bind("operationsApi.network.port", &operations_port, Operations, None)?,
            operations_secure: bind(
                "operationsApi.network.securePort",
                &operations_secure,
                Operations,
                operations_tls,
            )?,
            operations_socket: operations
                .domain_socket
                .as_ref()
                .map(|path| bind_file(&root.join(path)))
                .transpose()?,
            mqtt: bind("mqtt.network.port", &config.mqtt.port, Mqtt, None)?,
            mqtts: bind("mqtt.network.securePort", &mqtts, Mqtt, tls(TlsListener::Mqtt))?,
            admin: bind("admin.port", &config.admin.port, Admin, None)?,
        })
    }

    /// Where they are bound.
    #[must_use]
    pub(super) fn addresses(&self) -> Addresses {
        let address = |endpoint: &Option<Endpoint>| endpoint.as_ref().and_then(Endpoint::address);
        let operations = [address(&self.operations), address(&self.operations_secure)];
        let socket = self.operations_socket.as_ref().and_then(Endpoint::file);
        Addresses {
            http: address(&self.http),
            https: address(&self.https),
            operations: operations.into_iter().flatten().collect(),
            operations_socket: socket.map(Path::to_owned),
            mqtt: address(&self.mqtt),
            mqtts: address(&self.mqtts),
            admin: address(&self.admin),
        }
    }

    /// The socket of metrics and probes.
    #[must_use]
    pub(super) fn admin(&self) -> Option<Arc<TcpListener>> {
        self.admin.as_ref().and_then(Endpoint::tcp)
    }

    /// What the workers accept connections on.
    #[must_use]
    pub(super) fn of_workers(self) -> Vec<Endpoint> {
        let Self {
            http,
            https,
            operations,
            operations_secure,
            operations_socket,
            mqtt,
            mqtts,
            admin: _,
        } = self;
        let all = [http, https, operations, operations_secure, operations_socket, mqtt, mqtts];
        all.into_iter().flatten().collect()
    }
}

fn bind(
    key: &'static str,
    port: &Port,
    reach: Reach,
    interface: Interface,
    tls: Option<Arc<Tls>>,
) -> Result<Endpoint, StartError> {
    Endpoint::bind(port, reach, interface, tls).map_err(|error| StartError::Bind {
        port: port.to_string(),
        key,
        error,
    })
}

fn bind_file(path: &Path) -> Result<Endpoint, StartError> {
    Endpoint::bind_file(path, Interface::Operations).map_err(|error| StartError::File {
        path: format!("operationsApi.network.domainSocket: {}", path.display()),
        error,
    })
}
