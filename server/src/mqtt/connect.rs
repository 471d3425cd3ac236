//! CONNECT: who it is, whether the session is theirs, and what was left of it (§3.1, §3.2).

use super::authenticate::Proof;
use super::broker::Claim;
use super::client::{Client, Staging};
use super::drive::Context;
use super::publish;
use super::stored::{self, Session, Shelf, StoredError, StoredWill};
use crate::auth::Identity;
use crate::auth::cache::Ask;
use crate::error::Code;
use crate::metrics::{Protocol, Rejected, Resumed};
use crate::services::Services;
use bytes::BytesMut;
use harper_config::{CertificateUser, Mqtt};
use harper_mqtt::encode::passed_on;
use harper_mqtt::packet::{Connack, Connect, Packet};
use harper_mqtt::property::{
    ASSIGNED_CLIENT_ID, AUTHENTICATION_METHOD, MAXIMUM_PACKET_SIZE, RECEIVE_MAXIMUM,
    REQUEST_PROBLEM_INFORMATION, SERVER_KEEP_ALIVE, SESSION_EXPIRY, TOPIC_ALIAS_MAXIMUM,
    WILL_DELAY,
};
use harper_mqtt::session::{InAliases, Inbound, Lifetime, OutAliases, Outbound, Subscriptions};
use harper_mqtt::{Binary, Properties, Reason, Text, Version};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// What is known of a client that may come in.
pub(super) struct Admitted {
    identity: Identity,
    client_id: Text,
    is_assigned: bool,
    /// What CONNACK says of how it has authenticated itself.
    proof: Properties,
}

/// Finds out whether a client may come in, and when; `proof` is what its authentication method has found out.
///
/// # Errors
/// Why not.
pub(super) async fn admit(
    context: &Context,
    connect: &Connect,
    proof: Option<Proof>,
) -> Result<Admitted, Reason> {
    let services = context.host.services();
    let is_assigned = connect.client_id.is_empty();
    // before MQTT 5 only a clean session may be without a name (3.1.1: MQTT-3.1.3-8), in MQTT 3.1 none
    let may_be_assigned = match connect.version {
        Version::V5 => true,
        Version::V311 => connect.clean_start,
        Version::V31 => false,
    };
    if is_assigned && !may_be_assigned {
        return Err(Reason::ClientIdentifierNotValid);
    }
    let client_id = if is_assigned { assigned()? } else { connect.client_id.detached() };
    let (identity, proof) = match proof {
        Some(Proof { identity, properties }) => (identity, properties),
        None => (login(context, &services, connect).await?, Properties::default()),
    };
    if let Some(will) = &connect.will {
        publish::check_will(context, &identity, will)?;
    }
    wait_for_turn(context, &client_id).await?;
    Ok(Admitted { identity, client_id, is_assigned, proof })
}

/// Who it is: whoever the user name says, else whoever had logged in before, else the certificate's user, else one of this
/// machine who needs no login.
async fn login(
    context: &Context,
    services: &Services,
    connect: &Connect,
) -> Result<Identity, Reason> {
    // whatever else the client brings, it may come from whoever has stolen the certificate
    if context.certificate.as_ref().is_some_and(|certificate| certificate.distrust.is_some()) {
        return Err(Reason::NotAuthorized);
    }
    let ask = Ask {
        settings: &services.config.authentication,
        address: context.address,
        method: "CONNECT",
        path: "mqtt",
        now: context.host.now(),
        takes_refresh: false,
    };
    if let Some(name) = &connect.user_name {
        return by_password(services, name, connect.password.as_ref(), &ask).await;
    }
    if connect.password.is_some() {
        return Err(Reason::BadUserNameOrPassword);
    }
    if let Some(identity) = &context.identity {
        return Ok(identity.clone());
    }
    if let Some(identity) = certified(context, services, &ask)? {
        return Ok(identity);
    }
    let settings = &services.config;
    if settings.authentication.authorize_local && context.is_local {
        return Ok(Identity::User(Rc::clone(&services.local_user)));
    }
    match settings.mqtt.requires_authentication {
        true => Err(Reason::NotAuthorized),
        false => Ok(Identity::Anonymous),
    }
}

async fn by_password(
    services: &Services,
    name: &str,
    password: Option<&Binary>,
    ask: &Ask<'_>,
) -> Result<Identity, Reason> {
    let password = password.map_or(&[][..], |password| password.as_bytes());
    let password = std::str::from_utf8(password).map_err(|_| Reason::BadUserNameOrPassword)?;
    let login = services.credentials.login(name, password, ask).await;
    login.map_err(|failure| match failure.code {
        Code::TooManyRequests => Reason::ConnectionRateExceeded,
        Code::Overloaded => Reason::ServerBusy,
        Code::Internal => Reason::ServerUnavailable,
        _ => Reason::BadUserNameOrPassword,
    })
}

/// For whom the client's certificate speaks, if it speaks for anybody. One that names no user is no login.
fn certified(
    context: &Context,
    services: &Services,
    ask: &Ask<'_>,
) -> Result<Option<Identity>, Reason> {
    let clients = services.config.mqtt.client_certificates.as_ref();
    let (Some(certificate), Some(clients)) = (&context.certificate, clients) else {
        return Ok(None);
    };
    let name = match &clients.user {
        CertificateUser::CommonName => certificate.common_name.as_deref(),
        CertificateUser::Named(name) => Some(name.as_str()),
        CertificateUser::Nobody => return Ok(None),
    };
    let identity = name.and_then(|name| services.credentials.certified(name, ask));
    identity.map(Some).ok_or(Reason::NotAuthorized)
}

/// A client identifier that nobody has: 128 random bits.
fn assigned() -> Result<Text, Reason> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Reason::ServerUnavailable)?;
    Text::try_from(format!("{:032x}", u128::from_be_bytes(bytes))).map_err(|error| error.reason)
}

/// Lets a client in, and answers it.
///
/// # Errors
/// The answer that refuses.
pub(super) async fn begin(
    context: Context,
    connect: &Connect,
    admitted: Admitted,
) -> Result<Box<Client>, (Context, Connack)> {
    let Admitted { identity, client_id, is_assigned, proof } = admitted;
    let user = match &identity {
        Identity::User(user) => user.username.clone(),
        Identity::Anonymous => String::new(),
    };
    let broker = Arc::clone(&context.broker);
    let Ok(claim) = broker.take(&client_id, &user).await else {
        return Err((context, Connack::refuse(Reason::NotAuthorized)));
    };
    let mut client = client(context, connect, identity, client_id, claim);
    match go_on(&mut client, connect, &user).await {
        Ok(session_present) => {
            let mut connack = accept(&client, connect, session_present, is_assigned);
            connack.properties.append(proof);
            client.send(&Packet::Connack(connack));
            client.send_again();
            broker.wait_no_more(client.shelf.hash());
            client.metrics.mqtt.connected.add(1);
            client.metrics.mqtt.connected_stored.add(i64::from(client.is_stored));
            Ok(client)
        }
        Err(reason) => {
            client.part_shares();
            Err((client.context, Connack::refuse(reason)))
        }
    }
}

/// Waits until it is the turn of a client that takes a session over, or goes on with one.
async fn wait_for_turn(context: &Context, client_id: &Text) -> Result<(), Reason> {
    let Context { broker, host, .. } = context;
    let shelf = Shelf::new(&broker.system, client_id);
    let is_new = !broker.is_connected(client_id)
        && shelf.session().map_err(|error| unavailable(&error))?.is_none();
    if is_new {
        return Ok(());
    }
    let services = host.services();
    let Mqtt { resumptions_per_second_max, timeout, .. } = services.config.mqtt;
    let wait = broker.pace.turn(Instant::now(), resumptions_per_second_max, timeout / 2);
    let Some(wait) = wait else {
        services.metrics.mqtt.resumed(Resumed::Refused);
        return Err(Reason::ConnectionRateExceeded);
    };
    if wait.is_zero() {
        services.metrics.mqtt.resumed(Resumed::AtOnce);
    } else {
        services.metrics.mqtt.resumed(Resumed::Later);
        tokio::time::sleep(wait).await;
    }
    Ok(())
}

/// A client at the beginning of its session.
fn client(
    context: Context,
    connect: &Connect,
    identity: Identity,
    client_id: Text,
    claim: Claim,
) -> Box<Client> {
    let services = context.host.services();
    let settings = &services.config.mqtt;
    let properties = &connect.properties;
    let shelf = Shelf::new(&context.broker.system, &client_id);
    let inflight_max = properties.get(&RECEIVE_MAXIMUM).copied().unwrap_or(u16::MAX);
    let aliases_max = properties.get(&TOPIC_ALIAS_MAXIMUM).copied().unwrap_or(0);
    let now = context.host.now();
    Box::new(Client {
        version: connect.version,
        claim,
        number: shelf.number(),
        shelf,
        identity,
        lifetime: Lifetime::of(connect, settings.session_expiry_max_s),
        will: connect.will.as_ref().map(|will| StoredWill {
            topic: will.topic.to_string(),
            payload: will.payload.as_bytes().to_vec(),
            qos: will.qos.bits(),
            retain: will.retain,
            expiry_s: will.properties.get(&harper_mqtt::property::MESSAGE_EXPIRY).copied(),
            properties: passed_on(&will.properties).to_vec(),
            delay_s: will.properties.get(&WILL_DELAY).copied().unwrap_or(0),
        }),
        keep_alive_s: keep_alive_s(connect, settings),
        bytes_max: properties.get(&MAXIMUM_PACKET_SIZE).copied().unwrap_or(u32::MAX),
        wants_problems: properties.get(&REQUEST_PROBLEM_INFORMATION) != Some(&0),
        in_aliases: InAliases::new(settings.topic_aliases_max),
        out_aliases: OutAliases::new(aliases_max.min(settings.topic_aliases_max)),
        inbound: Inbound::new(receive_maximum(connect.version, settings), HashSet::new()),
        held: HashMap::new(),
        outbound: Outbound::new(inflight_max.min(settings.inflight_max)),
        subscriptions: Subscriptions::default(),
        feeds: HashMap::new(),
        last_feed: 0,
        method: properties.get(&AUTHENTICATION_METHOD).map(Text::detached),
        dialogue: None,
        sys: None,
        metrics: Arc::clone(&services.metrics),
        generation: services.credentials.authority.users.generation(),
        outbox: services.subscriptions.outbox(Protocol::Mqtt),
        answers: VecDeque::new(),
        rows: BTreeMap::new(),
        kept: HashMap::new(),
        staging: Staging::default(),
        output: BytesMut::new(),
        is_kept_back: false,
        heard: now,
        taken: now,
        stored: now,
        is_dirty: false,
        is_stored: false,
        keeps: false,
        salt: Cell::new(0),
        client_id,
        context,
    })
}

/// How many messages above QoS 0 a client may leave unanswered: before MQTT 5 it knows of no limit, and nothing but its
/// identifiers is one.
pub(super) const fn receive_maximum(version: Version, settings: &Mqtt) -> u16 {
    if version.is_v5() { settings.receive_maximum } else { u16::MAX }
}

/// What goes for Keep Alive: only a client of MQTT 5 can be told another one (MQTT-3.1.2-21).
fn keep_alive_s(connect: &Connect, settings: &Mqtt) -> u16 {
    let (asked, max) = (connect.keep_alive_s, settings.keep_alive_max_s);
    let is_too_long = max > 0 && (asked == 0 || asked > max);
    if is_too_long && connect.version.is_v5() { max } else { asked }
}

/// Goes on with what is stored of the session, or forgets it; whether there was one.
async fn go_on(client: &mut Client, connect: &Connect, user: &str) -> Result<bool, Reason> {
    let before = client.shelf.session().map_err(|error| unavailable(&error))?;
    let is_other_user = before.as_ref().is_some_and(|session| session.user != user);
    if is_other_user {
        return Err(Reason::NotAuthorized);
    }
    let (broker, now_ms) = (Arc::clone(&client.context.broker), stored::now_ms());
    let session_present = match before {
        Some(session)
            if connect.clean_start || session.expiry_s == 0 || session.is_over(now_ms) =>
        {
            client.publish_old_will(&session).await;
            client.forget(&session).await.map_err(|error| unavailable(&error))?;
            false
        }
        Some(session) => {
            if session.is_will_due(now_ms) {
                client.publish_old_will(&session).await;
            }
            client.is_stored = true;
            client.keeps = true;
            client.resume(&session).map_err(|error| unavailable(&error))?;
            true
        }
        None => false,
    };
    client.keeps |= client.lifetime.is_durable();
    if client.lifetime.is_durable() || client.will.is_some() {
        let services = client.context.host.services();
        if !client.is_stored && !broker.begin_session(services.config.mqtt.sessions_max) {
            services.metrics.rejected(Rejected::MqttSessions);
            return Err(Reason::QuotaExceeded);
        }
        client.is_stored = true;
        client.store().await.map_err(|error| unavailable(&error))?;
    } else if client.is_stored {
        // it goes on, and ends with this connection
        client.store().await.map_err(|error| unavailable(&error))?;
    }
    Ok(session_present)
}

fn unavailable(error: &StoredError) -> Reason {
    tracing::error!(%error, "a session of MQTT cannot be begun");
    Reason::ServerUnavailable
}

fn accept(client: &Client, connect: &Connect, session_present: bool, is_assigned: bool) -> Connack {
    let services = client.context.host.services();
    let settings = &services.config.mqtt;
    let mut properties = Properties::default();
    if connect.version.is_v5() {
        let asked = connect.properties.get(&SESSION_EXPIRY).copied().unwrap_or(0);
        if asked != client.lifetime.seconds() {
            properties.push(&SESSION_EXPIRY, client.lifetime.seconds());
        }
        properties.push(&RECEIVE_MAXIMUM, settings.receive_maximum);
        properties.push(&MAXIMUM_PACKET_SIZE, settings.packet_bytes_max);
        if is_assigned {
            properties.push(&ASSIGNED_CLIENT_ID, client.client_id.clone());
        }
        if settings.topic_aliases_max > 0 {
            properties.push(&TOPIC_ALIAS_MAXIMUM, settings.topic_aliases_max);
        }
        if client.keep_alive_s != connect.keep_alive_s {
            properties.push(&SERVER_KEEP_ALIVE, client.keep_alive_s);
        }
    }
    Connack { session_present, reason: Reason::Success, properties }
}

impl Client {
    /// Publishes the will of the connection before, which is due: its delay is over, or the session is (MQTT-3.1.2-8). One
    /// that still waits is withdrawn by the client that comes back (MQTT-3.1.3-9).
    async fn publish_old_will(&self, session: &Session) {
        if let Some(will) = &session.will {
            publish::will(&self.context, &self.identity, self.number, will).await;
        }
    }

    /// Forgets a session.
    async fn forget(&self, session: &Session) -> Result<(), StoredError> {
        self.shelf.clear(&self.context.broker.store).await?;
        self.context.broker.forget(session, session.expiry_s > 0);
        Ok(())
    }
}
