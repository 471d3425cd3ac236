//! What is due while no client is there: wills, and the ends of sessions.

use super::Broker;
use super::drive::{Context, Host};
use super::publish;
use super::stored::{self, Hash, Shelf, StoredError};
use crate::auth::Identity;
use crate::auth::users::User;
use harper_mqtt::Text;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often is looked.
const EVERY: Duration = Duration::from_millis(500);

/// Does what is due; never returns. Every worker does it: what one has begun no other finds.
pub(crate) async fn keep(host: Rc<dyn Host>, broker: Arc<Broker>) {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let context =
        Context { host, broker, address, is_local: false, certificate: None, identity: None };
    loop {
        tokio::time::sleep(EVERY).await;
        while let Some(session) = context.broker.next_due(stored::now_ms()) {
            if let Err(error) = look(&context, session).await {
                tracing::error!(%error, "a session of MQTT cannot be ended");
                context.broker.look_again(session);
            }
        }
    }
}

async fn look(context: &Context, session: Hash) -> Result<(), StoredError> {
    let broker = &context.broker;
    let shelf = Shelf::of(&broker.system, session);
    let Some(known) = shelf.session()? else { return Ok(()) };
    let Ok(client) = Text::try_from(known.client) else { return Ok(()) };
    let Some(_claim) = broker.take_if_free(&client) else {
        // once it is connected nothing is due; until then it may be refused
        broker.look_again(session);
        return Ok(());
    };
    end(context, &shelf).await
}

/// Publishes the will if it is due, and ends the session if that is.
async fn end(context: &Context, shelf: &Shelf) -> Result<(), StoredError> {
    let Some(mut session) = shelf.session()? else { return Ok(()) };
    let now_ms = stored::now_ms();
    let is_open = session.closed_ms.is_none();
    session.closed_ms.get_or_insert(now_ms);
    let (is_over, is_will_due) = (session.is_over(now_ms), session.is_will_due(now_ms));
    if let Some(will) = session.will.take_if(|_| is_will_due) {
        publish::will(context, &user(context, &session.user), shelf.number(), &will).await;
    }
    if is_over {
        shelf.clear(&context.broker.store).await?;
        context.broker.forget(&session, session.expiry_s > 0);
        return Ok(());
    }
    if is_will_due || is_open {
        stored::commit(&context.broker.system, vec![shelf.put_session(&session)?]).await?;
    }
    context.broker.wait_for(&session, now_ms);
    Ok(())
}

/// Who a session belongs to, as they are now.
fn user(context: &Context, name: &str) -> Identity {
    let services = context.host.services();
    let local = &services.local_user;
    if services.config.authentication.authorize_local && local.username == name {
        return Identity::User(Rc::clone(local));
    }
    let user = services.credentials.authority.users.get(name).filter(|user| user.active);
    match user {
        Some(user) => Identity::User(Rc::new(User::clone(&user))),
        None => Identity::Anonymous,
    }
}
