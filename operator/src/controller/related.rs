//! Which servers an object belongs to, and what is forgotten with a server.

use super::{Scope, stores::Watched};
use crate::crd::{Guarded, HarperServer};
use crate::reconcile::build::INSTANCE;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt as _};
use std::collections::{BTreeSet, HashSet};

/// Servers that a child belongs to: by its owner references and by its label, since either may have been edited.
pub(super) fn servers_of<K: Resource>(child: &K) -> Vec<ObjectRef<Guarded>> {
    let namespace = child.namespace().unwrap_or_default();
    let (kind, owners) = (HarperServer::kind(&()), child.owner_references());
    let owners = owners.iter().filter(|owner| owner.kind == kind).map(|owner| owner.name.as_str());
    let label = child.labels().get(INSTANCE).map(String::as_str);
    let names: BTreeSet<&str> = owners.chain(label).collect();
    names.into_iter().map(|name| ObjectRef::new(name).within(&namespace)).collect()
}

/// Notes the deletion of a child with its owners. One without any is its server's by its label.
pub(super) fn deleted<K: Watched>(scope: &Scope, child: &K) {
    let name = child.name_any();
    let note = |uid: &str| scope.memory.deleted(uid, (K::CHILD, &name));
    let owners = child.owner_references();
    owners.iter().for_each(|owner| note(&owner.uid));
    if owners.is_empty() {
        let servers = servers_of(child);
        let servers = servers.iter().filter_map(|server| scope.stores.servers.get(server));
        servers.filter_map(|server| server.uid()).for_each(|uid| note(&uid));
    }
}

/// Servers that refer to a ConfigMap which is not the operator's own.
pub(super) fn referring(
    scope: &Scope,
    map: &PartialObjectMeta<ConfigMap>,
) -> Vec<ObjectRef<Guarded>> {
    let namespace = map.namespace().unwrap_or_default();
    let servers = scope.components.touched(&namespace, &map.name_any());
    servers.iter().map(|server| ObjectRef::new(server).within(&namespace)).collect()
}

/// Forgets a server that is gone.
pub(super) fn forget(scope: &Scope, server: &Guarded) {
    if let Some(uid) = server.uid() {
        scope.memory.forget(&uid);
    }
    let namespace = server.namespace().unwrap_or_default();
    scope.components.refer(&namespace, &server.name_any(), &Default::default());
}

/// Forgets what a reconcile has noted of a server that went away meanwhile.
pub(crate) fn forget_if_gone(scope: &Scope, server: &Guarded) {
    let key = ObjectRef::new(&server.name_any()).within(&server.namespace().unwrap_or_default());
    match scope.stores.servers.get(&key) {
        Some(present) if present.uid() == server.uid() => {}
        // another one has taken its name, and with it what is kept by name
        Some(_) => drop(server.uid().map(|uid| scope.memory.forget(&uid))),
        None => forget(scope, server),
    }
}

/// After a list from scratch: whoever is not in it is gone, and its deletion was not told.
pub(super) fn retain(scope: &Scope) {
    let servers = scope.stores.servers.state();
    let living: HashSet<String> = servers.iter().filter_map(|server| server.uid()).collect();
    scope.memory.retain(&living);
    scope.components.retain(|namespace, name| {
        let key = ObjectRef::<Guarded>::new(name).within(namespace);
        scope.stores.servers.get(&key).is_some()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::with_writers;
    use k8s_openapi::api::core::v1::Service;
    use kube::runtime::watcher;
    use serde_json::json;
    use std::time::Instant;

    fn names(metadata: &serde_json::Value) -> Vec<String> {
        let child: Service = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        servers_of(&child).into_iter().map(|server| server.name).collect()
    }

    #[tokio::test]
    async fn what_a_late_reconcile_notes_is_forgotten() {
        let (scope, mut writers) = with_writers("http://127.0.0.1:1");
        let server = |uid: &str| -> Guarded {
            serde_json::from_value(json!({
                "apiVersion": "harper.dev/v1alpha1", "kind": "HarperServer", "spec": {},
                "metadata": {"name": "a", "namespace": "ns", "uid": uid},
            }))
            .unwrap()
        };
        let note = || {
            scope.memory.failed("old", None, Instant::now());
            scope.components.refer("ns", "a", &BTreeSet::from(["files"]));
        };
        let kept = || {
            let memory = scope.memory.held("old", None, Instant::now()).is_some();
            (memory, !scope.components.touched("ns", "files").is_empty())
        };
        writers.servers.apply_watcher_event(&watcher::Event::Apply(server("old")));
        note();
        forget_if_gone(&scope, &server("old"));
        assert_eq!(kept(), (true, true), "it is there");
        writers.servers.apply_watcher_event(&watcher::Event::Apply(server("new")));
        forget_if_gone(&scope, &server("old"));
        assert_eq!(kept(), (false, true), "another one of its name refers to the same");
        note();
        writers.servers.apply_watcher_event(&watcher::Event::Delete(server("new")));
        forget_if_gone(&scope, &server("old"));
        assert_eq!(kept(), (false, false));
    }

    #[test]
    fn a_child_wakes_its_owner_and_the_server_of_its_label() {
        let owner =
            |kind: &str| json!([{"apiVersion": "v1", "kind": kind, "name": "a", "uid": "1"}]);
        let labels = json!({INSTANCE: "b"});
        assert_eq!(names(&json!({"ownerReferences": owner("HarperServer")})), ["a"]);
        assert_eq!(names(&json!({"labels": labels})), ["b"], "removed owner references");
        let both = json!({"ownerReferences": owner("HarperServer"), "labels": labels});
        assert_eq!(names(&both), ["a", "b"]);
        assert_eq!(names(&json!({"ownerReferences": owner("Deployment")})), Vec::<String>::new());
    }
}
