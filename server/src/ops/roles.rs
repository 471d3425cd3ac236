//! `list_roles`, `add_role`, `alter_role`, `drop_role`.

use super::call::{Call, Done, missing};
use super::users_failure;
use crate::auth::users::Role;
use crate::error::{Answer, Code, Failure};
use serde_json::{Value, json};

/// A role as it is shown.
pub(super) fn shown(role: &Role) -> Value {
    json!({ "id": role.id, "role": role.name, "permission": role.shown })
}

/// `{}` → every role.
pub(super) async fn list(call: Call<'_>) -> Answer<Done> {
    let roles = call.services.credentials.authority.users.roles();
    Done::with(roles.iter().map(|role| shown(role)).collect())
}

/// `{role, permission}` → the role.
pub(super) async fn add(call: Call<'_>) -> Answer<Done> {
    let name = call.text("role")?.to_owned();
    let permission = call.optional_tree("permission")?.ok_or_else(|| missing("permission"))?;
    let added = call.block(move |authority| authority.users.add_role(&name, &permission)).await?;
    Done::with(shown(&*added.map_err(|error| users_failure(&error))?))
}

/// `{id, role, permission}`, of which one besides the id is given → the role.
pub(super) async fn alter(call: Call<'_>) -> Answer<Done> {
    let id = call.text("id")?.to_owned();
    let name = call.optional_text("role")?.map(str::to_owned);
    let permission = call.optional_tree("permission")?;
    if name.is_none() && permission.is_none() {
        let sentence = "Nothing to change: expected 'role' or 'permission'";
        return Err(Failure::new(Code::InvalidBody, sentence));
    }
    let altered = call.block(move |authority| {
        authority.users.alter_role(&id, name.as_deref(), permission.as_ref())
    });
    Done::with(shown(&*altered.await?.map_err(|error| users_failure(&error))?))
}

/// `{id}`
pub(super) async fn drop(call: Call<'_>) -> Answer<Done> {
    let id = call.text("id")?.to_owned();
    let dropped = call.block(move |authority| authority.users.drop_role(&id)).await?;
    Done::message(format!(
        "{} successfully deleted",
        dropped.map_err(|error| users_failure(&error))?
    ))
}
