//! Step three: the Kubernetes objects of a server. Pure, and one file for each object.

mod config_map;
mod disruption_budget;
mod labels;
mod pod;
mod secret;
mod service;
mod service_account;
mod stateful_set;
#[cfg(test)]
mod tests;

pub use labels::{INSTANCE, MANAGED_SELECTOR, selector, selector_text};
pub use pod::restart_for_secret;

use super::validate::{AdminSecret, ValidatedServer};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

/// Every object of a server. `None` is an object that must not exist.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Identity of the pods.
    pub service_account: ServiceAccount,
    /// The configuration file.
    pub config_map: ConfigMap,
    /// The administrator's credentials, without the password, which only exists when it is created; none when the
    /// user has made the Secret.
    pub admin_secret: Option<Secret>,
    /// Names of the single pods.
    pub headless_service: Service,
    /// What clients use.
    pub service: Service,
    /// The pods.
    pub stateful_set: StatefulSet,
    /// Limits evictions; only above one replica, where it cannot block the drain of a node for good.
    pub disruption_budget: Option<PodDisruptionBudget>,
}

/// Builds every object of a server.
#[must_use]
pub fn build(server: &ValidatedServer) -> Resources {
    let secret = match &server.admin {
        AdminSecret::Created(name) => Some(secret::build(server, name)),
        AdminSecret::Existing(_) => None,
    };
    Resources {
        service_account: service_account::build(server),
        config_map: config_map::build(server),
        admin_secret: secret,
        headless_service: service::headless(server),
        service: service::client(server),
        stateful_set: stateful_set::build(server),
        disruption_budget: (server.replicas > 1).then(|| disruption_budget::build(server)),
    }
}

/// A hash over everything that a pod reads at its start alone: every file of every application, and the configuration
/// but for the keys that a running server follows by itself. Of another release's image it is not known which those are:
/// any change of the configuration counts.
#[must_use]
pub fn config_hash(server: &ValidatedServer) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &str| {
        // the length keeps neighbours apart
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    add(if server.image.is_default { &server.config.restart_text } else { &server.config.text });
    for component in &server.components {
        add(&component.name);
        for file in &component.files {
            add(&file.path);
            add(&file.hash);
        }
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// Name of the ConfigMap with the configuration file.
fn config_map_name(server: &ValidatedServer) -> String {
    format!("{}-config", server.identity.name)
}

/// Name of the Service that names the single pods.
fn headless_name(server: &ValidatedServer) -> String {
    format!("{}-headless", server.identity.name)
}
