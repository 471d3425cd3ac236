//! Enhanced authentication (§4.12): a client names a method, and says and hears as much as that needs.
//!
//! What knows a method is attached to the broker as an [`Authenticator`]. Rounds and time are bounded here.

#[cfg(test)]
mod tests;

use super::Broker;
use super::client::{Client, Stop};
use crate::auth::Identity;
use crate::services::Services;
use bytes::Bytes;
use harper_mqtt::packet::{Auth, Packet};
use harper_mqtt::property::{AUTHENTICATION_DATA, AUTHENTICATION_METHOD};
use harper_mqtt::{Binary, Properties, Reason, Text};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout;

/// Rounds of one authentication.
const ROUNDS_MAX: usize = 16;

/// What knows an authentication method.
pub(crate) trait Authenticator: Send + Sync {
    /// The method's name, as clients send it.
    fn method(&self) -> &str;

    /// Begins to find out who this client is.
    fn begin(&self, client_id: &str) -> Box<dyn Exchange>;
}

/// One authentication that is going on.
pub(crate) trait Exchange {
    /// Takes what the client says, if it says anything.
    fn step<'a>(&'a mut self, services: &'a Services, data: Option<&'a [u8]>) -> Stepping<'a>;
}

/// What an authenticator is making of what a client says.
pub(crate) type Stepping<'a> = Pin<Box<dyn Future<Output = Step> + 'a>>;

/// What an authenticator makes of what a client says.
#[cfg_attr(not(test), allow(dead_code, reason = "handlers of applications will make them"))]
pub(crate) enum Step {
    /// The client is told this, and is to say more.
    Continue(Option<Bytes>),
    /// This is who it is; with a last word for the client.
    Accepted(Identity, Option<Bytes>),
    /// It is nobody who may come in, with the reason for CONNACK.
    Refused(Reason),
}

/// An authentication that is going on, as MQTT sees it.
pub(super) struct Dialogue {
    method: Text,
    exchange: Box<dyn Exchange>,
    rounds: usize,
    /// When it began.
    begun: Instant,
}

/// What follows for the client.
pub(super) enum Said {
    /// It is to say more.
    Continue(Auth),
    /// It has proved this.
    Proved(Proof),
}

/// Who a client has proved to be.
pub(super) struct Proof {
    pub(super) identity: Identity,
    /// What CONNACK, or the last AUTH, tells the client.
    pub(super) properties: Properties,
}

impl Broker {
    /// Has clients that name its method authenticated by this; an earlier one for the method is forgotten.
    #[cfg_attr(not(test), allow(dead_code, reason = "handlers of applications will be attached"))]
    pub(crate) fn attach(&self, authenticator: &Arc<dyn Authenticator>) {
        self.authenticators.rcu(|known| {
            let others = known.iter().filter(|one| one.method() != authenticator.method());
            others.chain([authenticator]).cloned().collect::<Vec<_>>()
        });
    }
}

impl Dialogue {
    /// Begins one.
    ///
    /// # Errors
    /// Nothing knows the method (MQTT-4.12.0-1).
    pub(super) fn begin(broker: &Broker, method: &Text, client_id: &str) -> Result<Self, Reason> {
        let known = broker.authenticators.load();
        let knows = known.iter().find(|one| one.method() == &**method);
        let exchange = knows.ok_or(Reason::BadAuthenticationMethod)?.begin(client_id);
        Ok(Self { method: method.detached(), exchange, rounds: 0, begun: Instant::now() })
    }

    /// Goes one step on.
    ///
    /// # Errors
    /// Why the client is refused (MQTT-4.12.0-4).
    pub(super) async fn step(
        &mut self,
        services: &Services,
        data: Option<&Binary>,
    ) -> Result<Said, Reason> {
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX {
            return Err(Reason::NotAuthorized);
        }
        let data = data.map(|data| &data.as_bytes()[..]);
        match self.exchange.step(services, data).await {
            Step::Continue(data) => {
                let properties = self.properties(data)?;
                Ok(Said::Continue(Auth { reason: Reason::ContinueAuthentication, properties }))
            }
            Step::Accepted(identity, data) => {
                Ok(Said::Proved(Proof { identity, properties: self.properties(data)? }))
            }
            Step::Refused(reason) => Err(reason),
        }
    }

    /// The method, in every packet (MQTT-4.12.0-5), and what there is to say.
    fn properties(&self, data: Option<Bytes>) -> Result<Properties, Reason> {
        let mut properties = Properties::default();
        properties.push(&AUTHENTICATION_METHOD, self.method.clone());
        if let Some(data) = data {
            let data = Binary::new(data).map_err(|_| Reason::UnspecifiedError)?;
            properties.push(&AUTHENTICATION_DATA, data);
        }
        Ok(properties)
    }
}

impl Client {
    /// AUTH: the client authenticates anew, while everything else goes on (§4.12.1).
    pub(super) async fn auth(&mut self, auth: &Auth) -> Result<(), Stop> {
        let wrong = |sentence: &str| Err(Stop::refuse(Reason::ProtocolError, sentence));
        let Some(method) = &self.method else {
            return wrong("AUTH without an authentication method");
        };
        if auth.properties.get(&AUTHENTICATION_METHOD) != Some(method) {
            return wrong("AUTH with another method than CONNECT");
        }
        let mut dialogue = match (auth.reason, self.dialogue.take()) {
            (Reason::ReAuthenticate, None) => {
                let begun = Dialogue::begin(&self.context.broker, method, &self.client_id);
                Box::new(begun.map_err(no_proof)?)
            }
            (Reason::ContinueAuthentication, Some(dialogue)) => dialogue,
            _ => return wrong("AUTH that does not belong here"),
        };
        let services = self.context.host.services();
        let step = dialogue.step(&services, auth.properties.get(&AUTHENTICATION_DATA));
        let step = timeout(services.config.mqtt.timeout, step).await;
        // not every reason of CONNACK may stand in DISCONNECT
        let step = step.ok().and_then(Result::ok);
        match step.ok_or_else(|| no_proof(Reason::NotAuthorized))? {
            Said::Continue(auth) => {
                self.dialogue = Some(dialogue);
                self.send(&Packet::Auth(auth));
                Ok(())
            }
            Said::Proved(proof) => self.proved(proof),
        }
    }

    fn proved(&mut self, proof: Proof) -> Result<(), Stop> {
        let Proof { identity, properties } = proof;
        let is_same = match (&identity, &self.identity) {
            (Identity::User(now), Identity::User(then)) => now.username == then.username,
            (Identity::Anonymous, Identity::Anonymous) => true,
            _ => false,
        };
        if !is_same {
            return Err(no_proof(Reason::NotAuthorized));
        }
        self.identity = identity;
        self.send(&Packet::Auth(Auth { reason: Reason::Success, properties }));
        Ok(())
    }

    /// When an authentication that is going on has taken too long.
    pub(super) fn dialogue_deadline(&self) -> Option<Instant> {
        let limit = self.context.host.services().config.mqtt.timeout;
        self.dialogue.as_ref().map(|dialogue| dialogue.begun + limit)
    }

    /// Ends a client whose authentication takes too long.
    pub(super) fn check_dialogue(&self, now: Instant) -> Result<(), Stop> {
        match self.dialogue_deadline() {
            Some(deadline) if deadline <= now => Err(no_proof(Reason::NotAuthorized)),
            _ => Ok(()),
        }
    }
}

/// An authentication has failed (MQTT-4.12.1-2).
fn no_proof(reason: Reason) -> Stop {
    Stop::refuse(reason, "the authentication has failed")
}
