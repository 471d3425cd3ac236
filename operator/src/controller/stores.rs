//! What the watches keep: of a child little more than its metadata.

use crate::crd::Guarded;
use crate::memory::prune;
use crate::reconcile::apply::Child;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Resource;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, Store};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use tokio::sync::watch;

pub(super) use kube::runtime::reflector::store::Writer;

/// What the watches of a scope have shown.
#[derive(Clone)]
#[allow(missing_docs, reason = "one for each kind that is watched")]
pub struct Stores {
    pub servers: Store<Guarded>,
    pub config_maps: Store<PartialObjectMeta<ConfigMap>>,
    pub service_accounts: Store<PartialObjectMeta<ServiceAccount>>,
    pub services: Store<PartialObjectMeta<Service>>,
    pub stateful_sets: Store<StatefulSet>,
    pub disruption_budgets: Store<PartialObjectMeta<PodDisruptionBudget>>,
}

/// Counts the watches that have not yet shown what there is.
///
/// The stores' own `wait_until_ready` wakes only the last of several who wait.
#[derive(Debug)]
pub struct Synced {
    remaining: watch::Sender<usize>,
}

impl Synced {
    /// So many watches have to show what there is.
    #[must_use]
    pub fn new(watches: usize) -> Self {
        Self { remaining: watch::Sender::new(watches) }
    }

    /// Notes that one of them has.
    pub(super) fn one_more(&self) {
        self.remaining.send_modify(|remaining| *remaining = remaining.saturating_sub(1));
    }

    /// Waits until all of them have.
    pub async fn wait(&self) {
        // the sender lives as long as self, so the channel is not closed
        let _ = self.remaining.subscribe().wait_for(|remaining| *remaining == 0).await;
    }
}

/// The writing ends of [`Stores`].
pub(super) struct Writers {
    pub(super) servers: Writer<Guarded>,
    pub(super) config_maps: Writer<PartialObjectMeta<ConfigMap>>,
    pub(super) service_accounts: Writer<PartialObjectMeta<ServiceAccount>>,
    pub(super) services: Writer<PartialObjectMeta<Service>>,
    pub(super) stateful_sets: Writer<StatefulSet>,
    pub(super) disruption_budgets: Writer<PartialObjectMeta<PodDisruptionBudget>>,
}

pub(super) fn new() -> (Stores, Writers) {
    let servers = reflector::store();
    let config_maps = reflector::store();
    let service_accounts = reflector::store();
    let services = reflector::store();
    let stateful_sets = reflector::store();
    let disruption_budgets = reflector::store();
    let stores = Stores {
        servers: servers.0,
        config_maps: config_maps.0,
        service_accounts: service_accounts.0,
        services: services.0,
        stateful_sets: stateful_sets.0,
        disruption_budgets: disruption_budgets.0,
    };
    let writers = Writers {
        servers: servers.1,
        config_maps: config_maps.1,
        service_accounts: service_accounts.1,
        services: services.1,
        stateful_sets: stateful_sets.1,
        disruption_budgets: disruption_budgets.1,
    };
    (stores, writers)
}

/// A kind of child as it is watched.
pub(super) trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + DeserializeOwned
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
    /// Name of the kind.
    const CHILD: &'static str;

    /// Drops what need not be kept.
    fn prune(&mut self);
}

impl<K: Child> Watched for PartialObjectMeta<K> {
    const CHILD: &'static str = K::KIND;

    fn prune(&mut self) {
        prune(&mut self.metadata);
    }
}

impl Watched for StatefulSet {
    const CHILD: &'static str = <Self as Child>::KIND;

    fn prune(&mut self) {
        prune(&mut self.metadata);
        if let Some(spec) = self.spec.as_mut() {
            spec.template = PodTemplateSpec::default();
            spec.volume_claim_templates = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_who_waits_is_woken() {
        let synced = Synced::new(2);
        let show = async {
            synced.one_more();
            tokio::task::yield_now().await;
            synced.one_more();
        };
        tokio::join!(synced.wait(), synced.wait(), show);
        synced.wait().await;
    }
}
