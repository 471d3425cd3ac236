//! Labels and metadata that all objects of a server share.

use crate::reconcile::validate::ValidatedServer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

/// Selects every object that the operator has made.
pub const MANAGED_SELECTOR: &str = "app.kubernetes.io/managed-by=harper-operator";

/// Label with the name of the server.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// Labels that select a server's pods. A StatefulSet cannot change them, so they hold no version.
#[must_use]
pub fn selector(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "harper-server".to_owned()),
        (INSTANCE.to_owned(), name.to_owned()),
        ("app.kubernetes.io/component".to_owned(), "server".to_owned()),
    ])
}

/// The same as text, as the scale subresource wants it.
#[must_use]
pub fn selector_text(name: &str) -> String {
    let pairs: Vec<_> =
        selector(name).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// Labels of every object of a server.
pub(super) fn labels(server: &ValidatedServer) -> BTreeMap<String, String> {
    let mut labels = selector(&server.identity.name);
    labels.insert("app.kubernetes.io/managed-by".to_owned(), "harper-operator".to_owned());
    labels
}

/// Metadata of a child with this name.
pub(super) fn metadata(server: &ValidatedServer, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(server.identity.namespace.clone()),
        labels: Some(labels(server)),
        owner_references: Some(vec![server.identity.owner.clone()]),
        ..ObjectMeta::default()
    }
}
