//! What is due while no client is there: wills, and the ends of sessions.

use super::Broker;
use super::drive::{Context, Host};
use super::publish;
use super::stored::{self, Shelf, StoredError};
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
        while let Some(client) = context.broker.next_due(stored::now_ms()) {
            if let Err(error) = look(&context, &client).await {
                tracing::error!(%error, "a session of MQTT cannot be ended");
            }
        }
    }
}

async fn look(context: &Context, client: &str) -> Result<(), StoredError> {
    let broker = &context.broker;
    let Ok(name) = Text::try_from(client) else { return Ok(()) };
    // a client that is connected is looked at when it leaves
    let Some(_claim) = broker.take_if_free(&name) else { return Ok(()) };
    end(context, client).await
}

/// Publishes the will if it is due, and ends the session if that is.
async fn end(context: &Context, client: &str) -> Result<(), StoredError> {
    let shelf = Shelf::new(&context.broker.system, client);
    let Some(mut session) = shelf.session()? else { return Ok(()) };
    let now_ms = stored::now_ms();
    let is_over = session.ends_ms(now_ms).is_some_and(|end| end <= now_ms);
    let is_will_due = session.will_due_ms(now_ms).is_some_and(|due| due <= now_ms);
    if let Some(will) = session.will.take_if(|_| is_will_due) {
        publish::will(context, &user(context, &session.user), shelf.number(), &will).await;
    }
    if is_over {
        shelf.clear(&context.broker.store).await?;
        context.broker.forget(&session, session.expiry_s > 0);
    } else if is_will_due {
        session.closed_ms = Some(session.closed_ms.unwrap_or(now_ms));
        stored::commit(&context.broker.system, vec![shelf.put_session(&session)?]).await?;
    }
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
