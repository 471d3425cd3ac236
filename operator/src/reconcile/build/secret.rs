//! The administrator's credentials. The password is added when the Secret is created, and never again: the operator
//! cannot read Secrets and does not overwrite them.

use super::labels::metadata;
use crate::reconcile::validate::ValidatedServer;
use k8s_openapi::api::core::v1::Secret;
use std::collections::BTreeMap;

/// The administrator's name.
const USERNAME: &str = "admin";

pub(super) fn build(server: &ValidatedServer, name: &str) -> Secret {
    Secret {
        metadata: metadata(server, name.to_owned()),
        string_data: Some(BTreeMap::from([("username".to_owned(), USERNAME.to_owned())])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}
