//! Messages from clients: PUBLISH, and wills.

use super::answer::{Question, Refusal, Waiting, Write, Written, refusal};
use super::client::{Client, Stop};
use super::drive::Context;
use super::message::Extra;
use super::stored::{self, StoredWill};
use crate::auth::Identity;
use crate::auth::permission::Right;
use crate::resource::failure::store_failure;
use crate::resource::publish::Publication;
use crate::resource::table::TableResource;
use crate::services::Services;
use bytes::Bytes;
use harper_mqtt::encode::passed_on;
use harper_mqtt::packet::{Ack, Delivery, Publish, Will};
use harper_mqtt::property::{CONTENT_TYPE, MESSAGE_EXPIRY, TOPIC_ALIAS};
use harper_mqtt::session::Arrival;
use harper_mqtt::{Qos, Reason, Text};
use harper_store::{Event, Op, Operation, SideOp, Transaction};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A message on its way into a table.
struct Coming<'a> {
    topic: &'a str,
    payload: Bytes,
    content_type: Option<String>,
    is_retained: bool,
    expiry_s: Option<u32>,
    extra: Extra,
}

/// What a message waits for, or why it is refused.
type Begun = Result<Option<Write>, Box<Refusal>>;

impl Client {
    /// PUBLISH.
    pub(super) async fn publish(&mut self, publish: Publish) -> Result<(), Stop> {
        let services = self.context.host.services();
        self.metrics.mqtt.received.message(publish.delivery.qos(), publish.payload.len());
        let arrival = self.inbound.publish(publish.delivery)?;
        let topic = self.topic_of(&publish)?;
        let begun = match arrival {
            Arrival::Known => Ok(None),
            Arrival::New => self.carry_out(&services, &topic, &publish).await,
        };
        let (write, failure) = match begun {
            Ok(write) => (write, None),
            Err(failure) => (None, Some(failure)),
        };
        let question = Question::Publish(publish.delivery);
        self.answers.push_back(Waiting { question, write, failure });
        Ok(())
    }

    fn topic_of(&mut self, publish: &Publish) -> Result<Text, Stop> {
        match publish.properties.get(&TOPIC_ALIAS) {
            Some(alias) => Ok(self.in_aliases.resolve(&publish.topic, *alias)?),
            None => Ok(publish.topic.clone()),
        }
    }

    async fn carry_out(&mut self, services: &Services, topic: &Text, publish: &Publish) -> Begun {
        let properties = &publish.properties;
        let coming = Coming {
            topic,
            // a part of what was read at once would keep all of it, which nothing counts
            payload: Bytes::copy_from_slice(&publish.payload),
            content_type: properties.get(&CONTENT_TYPE).map(ToString::to_string),
            is_retained: publish.retain,
            expiry_s: properties.get(&MESSAGE_EXPIRY).copied(),
            extra: Extra {
                qos: publish.delivery.qos(),
                publisher: self.number,
                properties: passed_on(properties),
            },
        };
        let (resource, op) = operation(&self.context, services, &self.identity, coming).await?;
        let Some(op) = self.unless_transient(services, &resource, op) else { return Ok(None) };
        let mut side = Vec::new();
        if let Delivery::ExactlyOnce(id) = publish.delivery
            && self.is_durable(Qos::ExactlyOnce)
        {
            side.push(self.shelf.hold(id));
            self.held.insert(id, Arc::clone(&resource.database));
        }
        let written = submit(services, &resource, op, side)?;
        Ok(Some(Write { written, table: Some(resource.table.identity()) }))
    }

    /// Tells a message at once that has to go through no log.
    fn unless_transient(
        &self,
        services: &Services,
        resource: &TableResource,
        op: Op,
    ) -> Option<Op> {
        let table = resource.table.identity();
        // what a write is under way for would be told after it (MQTT-4.6.0-5, MQTT-4.6.0-6)
        let is_logged = self.context.broker.keeps(table) || self.is_writing(table);
        match op {
            Op::Message { table, key, message } if !is_logged => {
                services.subscriptions.publish(Event {
                    table: table.identity(),
                    sequence: 0,
                    version: stored::now_ms() << 16 | u64::from(self.outbound_salt()),
                    origin: 0,
                    operation: Operation::Message,
                    key,
                    body: Some(message.body),
                    is_content: false,
                    expires_ms: message.expires_ms,
                    extra: message.extra,
                });
                None
            }
            op => Some(op),
        }
    }

    /// PUBREL: the identifier is free once that is durable.
    pub(super) fn pubrel(&mut self, ack: &Ack) -> Result<(), Stop> {
        let is_known = self.inbound.held().contains(&ack.id);
        let write = match self.held.remove(&ack.id) {
            Some(database) => {
                let side = vec![self.shelf.let_go(ack.id)];
                let outcome = stored::submit(&database, side);
                let written = outcome.map_err(|error| super::client::not_stored(&error))?;
                Some(Write { written, table: None })
            }
            None => None,
        };
        let question = Question::Release(ack.id, is_known);
        self.answers.push_back(Waiting { question, write, failure: None });
        Ok(())
    }

    /// A number that tells this client's messages of one millisecond apart.
    fn outbound_salt(&self) -> u16 {
        self.salt.replace(self.salt.get().wrapping_add(1))
    }
}

/// The write that a message is, and where.
async fn operation(
    context: &Context,
    services: &Services,
    identity: &Identity,
    coming: Coming<'_>,
) -> Result<(Arc<TableResource>, Op), Box<Refusal>> {
    let routes = context.host.routes();
    let Some((resource, key)) = routes.0.topic(coming.topic) else {
        let sentence = format!("no table is at {}", coming.topic);
        let reason = Reason::TopicNameInvalid;
        return Err(Box::new(Refusal { reason, sentence, is_passing: false }));
    };
    let resource = Arc::clone(resource);
    let lifetime_ms = coming.expiry_s.map(|seconds| u64::from(seconds) * 1000);
    let publication = Publication {
        key: key.to_owned(),
        payload: coming.payload,
        content_type: coming.content_type,
        is_retained: coming.is_retained,
        extra: coming.extra.encode(),
        expires_ms: lifetime_ms.map_or(0, |ms| stored::now_ms() + ms),
        lifetime_ms,
    };
    let op = resource.publication(services, identity, publication).await;
    let op = op.map_err(|failure| refusal(&failure))?;
    Ok((resource, op))
}

fn submit(
    services: &Services,
    resource: &TableResource,
    op: Op,
    side: Vec<SideOp>,
) -> Result<oneshot::Receiver<Written>, Box<Refusal>> {
    // what this client said before must not be overtaken on other workers (MQTT-4.6.0-5, MQTT-4.6.0-6)
    services.subscriptions.pass_on();
    let (done, written) = oneshot::channel();
    let answer = Box::new(move |result: Result<Vec<_>, _>| {
        // the client may have gone away
        let _ = done.send(result.map(drop));
    });
    let transaction = Transaction { ops: vec![op], side };
    let submitted = resource.database.submit_transaction(transaction, answer);
    submitted.map_err(|error| refusal(&store_failure(&services.metrics, error)))?;
    Ok(written)
}

/// Whether a will can be published: that is found out while its client can be told.
pub(super) fn check_will(
    context: &Context,
    identity: &Identity,
    will: &Will,
) -> Result<(), Reason> {
    let routes = context.host.routes();
    let (resource, _) = routes.0.topic(&will.topic).ok_or(Reason::TopicNameInvalid)?;
    let access = identity.access(&resource.schema);
    let rights = match (will.retain, will.payload.as_bytes().is_empty()) {
        (false, _) => &[Right::Insert][..],
        (true, false) => &[Right::Insert, Right::Update],
        (true, true) => &[Right::Delete],
    };
    let is_allowed = rights.iter().any(|right| access.allows(*right));
    if is_allowed { Ok(()) } else { Err(Reason::NotAuthorized) }
}

/// Publishes a will.
pub(super) async fn will(context: &Context, identity: &Identity, client: u64, will: &StoredWill) {
    let services = context.host.services();
    services.metrics.mqtt.wills.add(1);
    let coming = Coming {
        topic: &will.topic,
        payload: Bytes::copy_from_slice(&will.payload),
        content_type: None,
        is_retained: will.retain,
        expiry_s: will.expiry_s,
        extra: Extra {
            qos: Qos::from_bits(will.qos).unwrap_or(Qos::AtMostOnce),
            publisher: client,
            properties: Bytes::copy_from_slice(&will.properties),
        },
    };
    let written = async {
        let (resource, op) = operation(context, &services, identity, coming).await?;
        // it goes through the log, whoever listens: it may be the last that is heard of the client
        let written = submit(&services, &resource, op, Vec::new())?.await;
        let written = written.unwrap_or(Err(harper_store::Error::Stopped));
        written.map_err(|error| refusal(&store_failure(&services.metrics, error)))
    };
    if let Err(refused) = written.await {
        tracing::warn!(reason = %refused.reason, "a will is not published: {}", refused.sentence);
    }
}
