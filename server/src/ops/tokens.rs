//! `create_authentication_tokens` and `refresh_operation_token`.

use super::call::{Call, Done, missing};
use crate::auth::Identity;
use crate::auth::cache::{bad_token, failed};
use crate::auth::tokens::{Purpose, Refusal};
use crate::auth::users::User;
use crate::error::{Answer, Failure};
use crate::resource::guard;
use http::header;
use serde_json::json;
use std::sync::Arc;

/// `{username, password}`, or nothing for the caller → both tokens.
pub(super) async fn create(call: Call<'_>) -> Answer<Done> {
    let (username, password) = (call.optional_text("username")?, call.optional_text("password")?);
    let identity = match (username, password) {
        (None, None) => call.request.identity.clone(),
        (None, Some(_)) => return Err(missing("username")),
        (Some(_), None) => return Err(missing("password")),
        (Some(username), Some(password)) => {
            let ask = call.services.ask(call.request);
            call.services.credentials.login(username, password, &ask).await?
        }
    };
    let user = match &identity {
        // whose password was verified, and not whoever has the name by now
        Identity::User(user) if user.is_stored => Arc::new(User::clone(user)),
        // a client of this machine, or somebody else's user, cannot have a token of ours
        Identity::User(_) | Identity::Anonymous => {
            return Err(guard::refused(&Identity::Anonymous));
        }
    };
    let (operation, refresh) = (
        issue(&call, Arc::clone(&user), Purpose::Operation).await?,
        issue(&call, user, Purpose::Refresh).await?,
    );
    Done::with(json!({ "operation_token": operation, "refresh_token": refresh }))
}

/// `{refresh_token}`, or the token in the header `Authorization` → an operation token.
pub(super) async fn refresh(call: Call<'_>) -> Answer<Done> {
    let header = call.request.header(header::AUTHORIZATION).and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        // whoever has logged in with it has brought an operation token
        let is_bearer = scheme.eq_ignore_ascii_case("bearer")
            && matches!(call.request.identity, Identity::Anonymous);
        is_bearer.then_some(token.trim())
    });
    let token = call.optional_text("refresh_token")?.or(header);
    let token = token.ok_or_else(|| missing("refresh_token"))?;
    let authority = &call.services.credentials.authority;
    let verified = authority.tokens().verify(token, Purpose::Refresh);
    let verified = verified.map_err(|refusal| bad_token(refusal.sentence()))?;
    let user = authority.users.get(&verified.username).filter(|user| verified.is_of(user));
    let user = user.ok_or_else(|| bad_token(Refusal::Invalid.sentence()))?;
    let operation = issue(&call, user, Purpose::Operation).await?;
    Done::with(json!({ "operation_token": operation }))
}

async fn issue(call: &Call<'_>, user: Arc<User>, purpose: Purpose) -> Answer<String> {
    let settings = &call.services.config.authentication.tokens;
    let life = match purpose {
        Purpose::Operation => settings.operation_life,
        Purpose::Refresh => settings.refresh_life,
    };
    let token = call.block(move |authority| authority.token(&user, purpose, life)).await?;
    let token = token.map_err(|error| Failure::internal("a token could not be made", &error))?;
    token.ok_or_else(|| failed("Login failed"))
}
