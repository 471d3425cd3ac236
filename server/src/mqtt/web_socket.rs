//! MQTT over WebSocket (MQTT 5 §6): on the port of the applications, under any path.

use super::Broker;
use super::drive::{self, Context, Host};
use crate::auth::Identity;
use crate::error::Answer;
use crate::exchange::Request;
use crate::ws::{Bytestream, Handler, Layer, Offer, Opening, Serving, Socket};
use http::HeaderValue;
use std::future;
use std::rc::Weak;
use std::sync::Arc;

/// The sub-protocols that are MQTT: as the standards have it, and as MQTT 3.1 had it (MQTT-6.0.0-3).
const PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// Takes the sockets of clients that speak MQTT.
pub(crate) struct OverWebSocket {
    /// The worker.
    pub host: Weak<dyn Host>,
    /// The broker.
    pub broker: Arc<Broker>,
}

impl Layer for OverWebSocket {
    fn take(&self, request: &Request, offer: &Offer<'_>) -> Answer<Option<Opening>> {
        let protocol = PROTOCOLS.into_iter().find(|name| offer.protocols.contains(name));
        let (Some(protocol), Some(host)) = (protocol, self.host.upgrade()) else { return Ok(None) };
        if !host.services().config.mqtt.web_socket {
            return Ok(None);
        }
        let context = Context {
            host,
            broker: Arc::clone(&self.broker),
            address: request.client.address,
            // whoever is trusted for being here has that identity already
            is_local: false,
            // it is for HTTP to say whose it is
            certificate: None,
            identity: match &request.identity {
                Identity::Anonymous => None,
                identity @ Identity::User(_) => Some(identity.clone()),
            },
        };
        Ok(Some(Opening {
            handler: Box::new(Client(context)),
            protocol: Some(HeaderValue::from_static(protocol)),
            // packets are small, and often are compressed or encrypted payloads
            is_compressible: false,
        }))
    }
}

/// A client whose packets come in binary messages.
struct Client(Context);

impl Handler for Client {
    fn serve(self: Box<Self>, socket: &mut Socket) -> Serving<'_> {
        let ending = socket.take_ending().unwrap_or_else(|| Box::pin(future::pending()));
        Box::pin(async move {
            let mut stream = Bytestream::new(socket);
            drive::serve(&mut stream, self.0, ending).await;
            stream.close()
        })
    }
}
