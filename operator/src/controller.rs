//! The watches, and what they wake.
//!
//! One scope is all namespaces or a single one. It watches the servers, their children by the operator's label (as
//! metadata, but for the StatefulSet, whose status is needed), and every other ConfigMap as metadata that is looked at
//! and thrown away. No stream has a predicate: those drop deletions, and a deleted child would not be put back.

mod components;
mod crd_check;
mod related;
mod stores;
#[cfg(test)]
pub(crate) mod testing;

pub use components::ComponentIndex;
pub use crd_check::{CrdState, wait_until_served};
pub(crate) use related::forget_if_gone;
pub use stores::{Stores, Synced};

use crate::crd::Guarded;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::reconcile::reconcile;
use futures_util::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, future, stream};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action, Config, Controller, Error};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use related::{deleted, forget, referring, retain, servers_of};
use std::convert::Infallible;
use std::sync::Arc;
use stores::Writers;
use tokio::sync::watch::Sender;

/// Reconciles under way at once in a scope.
const CONCURRENCY: u16 = 16;
/// Longest time of a watch request, in seconds. The client's own limit for a silent connection must be longer.
pub const WATCH_SECONDS: u32 = 75;

/// Completes when the process is told to stop.
pub type Stop = future::Shared<future::BoxFuture<'static, ()>>;

/// Watches of a scope: the servers, five kinds of children, and all other ConfigMaps.
const WATCHES: usize = 7;

/// What the operator was started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Image of servers that name none.
    pub server_image: String,
    /// Namespaces to look at; all when empty.
    pub namespaces: Vec<String>,
}

/// What all scopes share.
pub struct Shared {
    /// What the operator was started with.
    pub settings: Settings,
    /// What is counted.
    pub metrics: Metrics,
    /// The one publisher of events: its memory of what was published lives in it.
    pub recorder: Recorder,
}

impl Shared {
    /// What all scopes share, new.
    ///
    /// # Errors
    /// When a metric cannot be registered.
    pub fn new(client: Client, settings: Settings) -> Result<Self, prometheus::Error> {
        let reporter = Reporter::from("harper-operator");
        Ok(Self { settings, metrics: Metrics::new()?, recorder: Recorder::new(client, reporter) })
    }
}

/// All namespaces, or a single one.
pub struct Scope {
    /// The API server.
    pub client: Client,
    /// What the watches have shown.
    pub stores: Stores,
    /// Whether they have shown everything that there is.
    pub synced: Synced,
    /// What was applied.
    pub memory: Memory,
    /// Who refers to which ConfigMap.
    pub components: ComponentIndex,
    /// Told when a watch had to list again: what was deleted meanwhile is in no event.
    relisted: Sender<()>,
    /// What all scopes share.
    pub shared: Arc<Shared>,
}

impl Scope {
    /// A scope that has seen nothing yet.
    #[must_use]
    pub fn new(client: Client, stores: Stores, shared: Arc<Shared>) -> Self {
        Self {
            client,
            stores,
            synced: Synced::new(WATCHES),
            memory: Memory::default(),
            components: ComponentIndex::default(),
            relisted: Sender::new(()),
            shared,
        }
    }
}

/// The controllers of every scope, and their stores.
pub struct Controllers {
    runs: Vec<future::BoxFuture<'static, ()>>,
    scopes: Vec<Arc<Scope>>,
}

impl Controllers {
    /// Prepares the controllers; nothing is watched until [`Controllers::run`].
    #[must_use]
    pub fn new(client: &Client, shared: &Arc<Shared>, stop: &Stop) -> Self {
        let namespaces: Vec<Option<&str>> = match shared.settings.namespaces.as_slice() {
            [] => vec![None],
            some => some.iter().map(|namespace| Some(namespace.as_str())).collect(),
        };
        let mut controllers = Self { runs: Vec::new(), scopes: Vec::new() };
        for namespace in namespaces {
            let (stores, writers) = stores::new();
            let shared = Arc::clone(shared);
            shared.metrics.count_servers_of(stores.servers.clone());
            let scope = Arc::new(Scope::new(client.clone(), stores, shared));
            controllers.runs.push(run(&scope, writers, namespace, stop.clone()).boxed());
            controllers.scopes.push(scope);
        }
        controllers
    }

    /// The scopes, for the admin listener.
    #[must_use]
    pub fn scopes(&self) -> Vec<Arc<Scope>> {
        self.scopes.clone()
    }

    /// Watches and reconciles until told to stop; reconciles under way are finished.
    pub async fn run(self) {
        future::join_all(self.runs).await;
    }
}

fn run(
    scope: &Arc<Scope>,
    writers: Writers,
    namespace: Option<&str>,
    stop: Stop,
) -> impl Future<Output = ()> + Send + use<> {
    let Writers {
        servers,
        config_maps,
        service_accounts,
        services,
        stateful_sets,
        disruption_budgets,
    } = writers;
    let reader = scope.stores.servers.clone();
    let api = Apis { client: scope.client.clone(), namespace: namespace.map(str::to_owned) };
    let index = Arc::clone(scope);
    let controller = Controller::for_stream(watch_servers(scope, &api, servers), reader)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .watches_stream(watch::<PartialObjectMeta<ConfigMap>>(scope, &api, config_maps), |map| {
            servers_of(&map)
        })
        .watches_stream(
            watch::<PartialObjectMeta<ServiceAccount>>(scope, &api, service_accounts),
            |child| servers_of(&child),
        )
        .watches_stream(watch::<PartialObjectMeta<Service>>(scope, &api, services), |service| {
            servers_of(&service)
        })
        .watches_stream(watch::<StatefulSet>(scope, &api, stateful_sets), |set| servers_of(&set))
        .watches_stream(
            watch::<PartialObjectMeta<PodDisruptionBudget>>(scope, &api, disruption_budgets),
            |child| servers_of(&child),
        )
        .watches_stream(watch_components(scope, &api), move |map: PartialObjectMeta<ConfigMap>| {
            referring(&index, &map)
        })
        .reconcile_all_on(relists(scope))
        .graceful_shutdown_on(stop);
    let scope = Arc::clone(scope);
    let on_error = |_, error: &Infallible, _| -> Action { match *error {} };
    controller.run(reconcile, on_error, Arc::clone(&scope)).for_each(move |result| {
        match result {
            // a child outlives its server for a moment: its events find nobody
            Ok(_) | Err(Error::ObjectNotFound(_)) => {}
            Err(error) => {
                scope.shared.metrics.watch_failed();
                tracing::warn!(%error, "a watch ended and is started again");
            }
        }
        future::ready(())
    })
}

struct Apis {
    client: Client,
    namespace: Option<String>,
}

impl Apis {
    fn of<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

fn watch_config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

fn watch_servers(
    scope: &Arc<Scope>,
    api: &Apis,
    writer: stores::Writer<Guarded>,
) -> impl Stream<Item = Result<Guarded, watcher::Error>> + Send + use<> {
    let (scope, mut lists) = (Arc::clone(scope), Lists::default());
    watcher(api.of::<Guarded>(), watch_config())
        .default_backoff()
        .modify(|server| server.meta_mut().managed_fields = None)
        .reflect(writer)
        .inspect_ok(move |event| match event {
            watcher::Event::Delete(server) => forget(&scope, server),
            watcher::Event::InitDone => {
                retain(&scope);
                lists.done(&scope);
            }
            _ => {}
        })
        .applied_objects()
}

/// Tells when a watch has shown all that there is, for the first time and again.
#[derive(Default)]
struct Lists {
    first_is_done: bool,
}

impl Lists {
    fn done(&mut self, scope: &Scope) {
        if std::mem::replace(&mut self.first_is_done, true) {
            // every server looks at what has changed in between; at rest that costs no call
            scope.relisted.send_replace(());
        } else {
            scope.synced.one_more();
        }
    }
}

/// An item for each time that watches had to list again, or for several such times together.
fn relists(scope: &Scope) -> impl Stream<Item = ()> + Send + use<> {
    stream::unfold(scope.relisted.subscribe(), async |mut relisted| {
        relisted.changed().await.ok().map(|()| ((), relisted))
    })
}

/// The children of one kind: kept as metadata, and their deletions noted.
fn watch<K: stores::Watched>(
    scope: &Arc<Scope>,
    api: &Apis,
    writer: stores::Writer<K>,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send + use<K> {
    let (scope, mut lists) = (Arc::clone(scope), Lists::default());
    let labels = crate::reconcile::build::MANAGED_SELECTOR;
    watcher(api.of::<K>(), watch_config().labels(labels))
        .default_backoff()
        .modify(K::prune)
        .reflect(writer)
        .inspect_ok(move |event| match event {
            watcher::Event::Delete(child) => deleted(&scope, child),
            watcher::Event::InitDone => lists.done(&scope),
            _ => {}
        })
        .touched_objects()
}

/// Every ConfigMap that is not the operator's own.
fn watch_components(
    scope: &Arc<Scope>,
    api: &Apis,
) -> impl Stream<Item = Result<PartialObjectMeta<ConfigMap>, watcher::Error>> + Send + use<> {
    let (scope, mut lists) = (Arc::clone(scope), Lists::default());
    let labels = "app.kubernetes.io/managed-by!=harper-operator";
    watcher(api.of::<PartialObjectMeta<ConfigMap>>(), watch_config().labels(labels))
        .default_backoff()
        .inspect_ok(move |event| {
            if matches!(event, watcher::Event::InitDone) {
                scope.components.touched_all();
                lists.done(&scope);
            }
        })
        .touched_objects()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_list_wakes_every_server() {
        let scope = testing::scope("http://127.0.0.1:1");
        let mut relists = std::pin::pin!(relists(&scope));
        let mut lists = Lists::default();
        lists.done(&scope);
        assert_eq!(relists.next().now_or_never(), None, "the first list wakes by itself");
        lists.done(&scope);
        assert_eq!(relists.next().now_or_never(), Some(Some(())));
        assert_eq!(relists.next().now_or_never(), None);
    }
}
