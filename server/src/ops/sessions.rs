//! `login` and `logout`: sessions that a cookie carries.

use super::call::{Call, Done};
use crate::auth::Identity;
use crate::auth::sessions::SessionsError;
use crate::auth::users::User;
use crate::error::{Answer, Code, Failure};
use crate::metrics::Rejected;
use http::{HeaderName, HeaderValue, header};
use serde_json::json;
use std::time::Duration;

/// Tells a page that its session's cookie goes over encrypted connections alone.
const SESSION: HeaderName = HeaderName::from_static("x-hdb-session");

/// `{username, password}` → a session with a new id, whatever the request carried.
pub(super) async fn login(call: Call<'_>) -> Answer<Done> {
    let settings = &call.services.config.authentication.sessions;
    if !settings.enabled {
        let sentence = "Sessions are switched off (authentication.enableSessions)";
        return Err(Failure::new(Code::BadRequest, sentence));
    }
    let (username, password) = (call.text("username")?, call.text("password")?);
    let scope = call.request.cookie_scope();
    let is_listed =
        call.services.config.cors(call.request.interface.is_operations()).lists(scope.origin());
    if scope.is_foreign() && !is_listed {
        return Err(Failure::new(Code::Forbidden, "A page of this origin may not log in"));
    }
    let ask = call.services.ask(call.request);
    let identity = call.services.credentials.login(username, password, &ask).await?;
    let Identity::User(user) = identity else {
        return Err(crate::auth::cache::failed("Login failed"));
    };
    let old = scope.id().map(str::to_owned);
    // whose password was verified, and not whoever has the name by now
    let (user, limits) = (User::clone(&user), settings.clone());
    let begun = call.block(move |authority| {
        let id = authority.sessions.begin(&user, &authority.users, &limits)?;
        if let Some(old) = old {
            authority.sessions.end(&old)?;
        }
        Ok(id)
    });
    let id = begun.await?.map_err(|error| failure(&call, error))?;
    let mut done = Done::with(json!({ "message": "Login successful" }))?;
    let cookie = scope.set(&id, settings.life, &settings.domains, scope.is_foreign());
    done.headers.extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    if call.request.client.is_secure {
        done.headers.push((SESSION, HeaderValue::from_static("Secure")));
    }
    Ok(done)
}

/// `{}` → the request's session, if it carries one, is over.
pub(super) async fn logout(call: Call<'_>) -> Answer<Done> {
    let settings = &call.services.config.authentication.sessions;
    let scope = call.request.cookie_scope();
    let mut done = Done::with(json!({ "message": "Logout successful" }))?;
    if let Some(id) = scope.id().map(str::to_owned) {
        let ended = call.block(move |authority| authority.sessions.end(&id)).await?;
        ended.map_err(|error| Failure::internal("a session could not be ended", &error))?;
        let cookie = scope.set("", Duration::ZERO, &settings.domains, scope.is_foreign());
        done.headers.extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    }
    Ok(done)
}

fn failure(call: &Call<'_>, error: SessionsError) -> Box<Failure> {
    match error {
        SessionsError::Full => {
            call.services.metrics.rejected(Rejected::Sessions);
            Failure::new(Code::Overloaded, "Too many sessions are open")
        }
        SessionsError::Outdated => crate::auth::cache::failed("Login failed"),
        other => Failure::internal("a session could not be begun", &other),
    }
}
