//! `user_info`, `list_users`, `add_user`, `alter_user`, `drop_user`. No answer holds a password or its hash.

use super::call::{Call, Done};
use super::users_failure;
use crate::auth::Identity;
use crate::auth::users::{NewUser, User, UserChange};
use crate::error::{Answer, Code, Failure};
use serde_json::{Value, json};

fn shown(user: &User) -> Value {
    let role = super::roles::shown(&user.role);
    json!({ "username": user.username, "active": user.active, "role": role })
}

/// `{}` → the caller.
pub(super) async fn info(call: Call<'_>) -> Answer<Done> {
    match &call.request.identity {
        Identity::User(user) => Done::with(shown(user)),
        Identity::Anonymous => Done::with(Value::Null),
    }
}

/// `{}` → every user.
pub(super) async fn list(call: Call<'_>) -> Answer<Done> {
    let users = call.services.credentials.authority.users.users();
    Done::with(users.iter().map(|user| shown(user)).collect())
}

/// `{username, password, role, active = true}`
pub(super) async fn add(call: Call<'_>) -> Answer<Done> {
    let username = call.text("username")?.to_owned();
    let new = NewUser {
        username: username.clone(),
        password: call.text("password")?.to_owned(),
        role: call.text("role")?.to_owned(),
        active: call.optional_flag("active")?.unwrap_or(true),
    };
    call.block(|authority| authority.users.add_user(new))
        .await?
        .map_err(|error| users_failure(&error))?;
    Done::message(format!("{username} successfully added"))
}

/// `{username, password, role, active}`, of which one besides the name is given.
pub(super) async fn alter(call: Call<'_>) -> Answer<Done> {
    let username = call.text("username")?.to_owned();
    let change = UserChange {
        username: username.clone(),
        password: call.optional_text("password")?.map(str::to_owned),
        role: call.optional_text("role")?.map(str::to_owned),
        active: call.optional_flag("active")?,
    };
    if change.password.is_none() && change.role.is_none() && change.active.is_none() {
        let sentence = "Nothing to change: expected 'password', 'role' or 'active'";
        return Err(Failure::new(Code::InvalidBody, sentence));
    }
    call.block(|authority| authority.users.alter_user(change))
        .await?
        .map_err(|error| users_failure(&error))?;
    Done::with(json!({
        "message": "updated 1 of 1 records",
        "update_hashes": [username],
        "skipped_hashes": [],
    }))
}

/// `{username}`
pub(super) async fn drop(call: Call<'_>) -> Answer<Done> {
    let username = call.text("username")?.to_owned();
    let name = username.clone();
    let dropped = call.block(move |authority| authority.users.drop_user(&name)).await?;
    dropped.map_err(|error| users_failure(&error))?;
    Done::message(format!("{username} successfully deleted"))
}
