//! Whose a child is, and whole ownership of what it is for.
//!
//! Server-side apply puts back the fields that the operator sets, but leaves what someone else has added: a second
//! port of a Service, a second key of a ConfigMap, a variable of the container. Such an addition to a list or map that
//! the operator owns is drift too. Its entries in the managed fields are moved to the operator's own, and the apply
//! that follows removes them, because the operator then owns them and does not want them. Labels, annotations and
//! fields that the operator leaves open stay with whoever has set them.

use crate::memory::{APPLIED_HASH, MANAGER, is_foreign};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use serde_json::{Map, Value};

/// A part of an object, as the managed fields name it.
pub(super) type FieldPath = &'static [&'static str];

/// Whether an object belongs to the server of this uid. One that nobody controls does if the server has applied it
/// before, or if the operator's mark on it says that it was made for a server of this name.
pub(super) fn is_ours(found: &ObjectMeta, uid: &str, applied: bool) -> bool {
    let owners = found.owner_references.as_deref().unwrap_or_default();
    if owners.iter().any(|owner| owner.uid == uid) {
        return true;
    }
    let is_controlled = owners.iter().any(|owner| owner.controller == Some(true));
    let is_marked = found.annotations.as_ref().is_some_and(|all| all.contains_key(APPLIED_HASH));
    !is_controlled && (applied || is_marked)
}

/// Moves foreign ownership of these parts to the operator's entry. None when there is nothing to move.
pub(super) fn absorb(
    mut entries: Vec<ManagedFieldsEntry>,
    parts: &[FieldPath],
) -> Option<Vec<ManagedFieldsEntry>> {
    let mut taken = Value::Object(Map::new());
    for entry in entries.iter_mut().filter(|entry| is_foreign(entry)) {
        let Some(FieldsV1(fields)) = entry.fields_v1.as_mut() else { continue };
        for part in parts {
            if let Some(subtree) = remove(fields, part) {
                merge(&mut taken, nested(part, subtree));
            }
        }
    }
    if taken.as_object().is_none_or(Map::is_empty) {
        return None;
    }
    let own = entries.iter_mut().find(|entry| {
        entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some("Apply")
    })?;
    merge(&mut own.fields_v1.as_mut()?.0, taken);
    let empty = |fields: &FieldsV1| fields.0.as_object().is_some_and(Map::is_empty);
    entries.retain(|entry| !entry.fields_v1.as_ref().is_some_and(empty));
    Some(entries)
}

/// Takes a subtree out, and with it every parent that it leaves empty: an empty parent would mean the parent itself.
fn remove(fields: &mut Value, path: &[&str]) -> Option<Value> {
    let fields = fields.as_object_mut()?;
    let (first, rest) = path.split_first()?;
    if rest.is_empty() {
        return fields.remove(*first);
    }
    let child = fields.get_mut(*first)?;
    let taken = remove(child, rest)?;
    if child.as_object().is_some_and(Map::is_empty) {
        fields.remove(*first);
    }
    Some(taken)
}

fn nested(path: &[&str], leaf: Value) -> Value {
    let wrap = |inner, name: &&str| Value::Object(Map::from_iter([((*name).to_owned(), inner)]));
    path.iter().rev().fold(leaf, wrap)
}

fn merge(into: &mut Value, from: Value) {
    let (Value::Object(into), Value::Object(from)) = (into, from) else { return };
    for (name, value) in from {
        match into.get_mut(&name) {
            Some(present) => merge(present, value),
            None => drop(into.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PORTS: &[FieldPath] = &[&["f:spec", "f:ports"]];

    fn entry(manager: &str, operation: &str, fields: Value) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        }
    }

    fn own() -> ManagedFieldsEntry {
        entry(
            MANAGER,
            "Apply",
            json!({"f:spec": {"f:ports": {"k:1": {"f:name": {}}}, "f:type": {}}}),
        )
    }

    fn fields(entry: &ManagedFieldsEntry) -> &Value {
        &entry.fields_v1.as_ref().unwrap().0
    }

    #[test]
    fn an_object_of_someone_else_is_not_ours() {
        let ours = |meta: Value, applied| {
            is_ours(&serde_json::from_value(meta).unwrap(), "uid-1", applied)
        };
        let owned = |uid: &str, controller: bool| {
            let owner = json!({
                "apiVersion": "v1", "kind": "K", "name": "n", "uid": uid, "controller": controller,
            });
            json!({"ownerReferences": [owner], "annotations": {APPLIED_HASH: "h"}})
        };
        assert!(ours(owned("uid-1", true), false));
        assert!(!ours(owned("uid-2", true), true), "another server's, though we once had it");
        assert!(ours(owned("uid-2", false), false), "an owner that does not control it");
        assert!(!ours(json!({}), false), "only of the same name");
        assert!(ours(json!({}), true), "its marks were removed");
        assert!(ours(json!({"annotations": {APPLIED_HASH: "h"}}), false), "orphaned");
    }

    #[test]
    fn an_added_port_is_taken_over() {
        let added = entry("kubectl", "Update", json!({"f:spec": {"f:ports": {"k:2": {".": {}}}}}));
        let entries = absorb(vec![own(), added], PORTS).unwrap();
        assert_eq!(entries.len(), 1, "nothing is left to the other manager");
        let expected = json!({"f:spec": {
            "f:ports": {"k:1": {"f:name": {}}, "k:2": {".": {}}}, "f:type": {},
        }});
        assert_eq!(fields(&entries[0]), &expected);
    }

    #[test]
    fn everything_else_is_left() {
        let foreign = json!({
            "f:metadata": {"f:annotations": {"f:note": {}}},
            "f:spec": {"f:externalTrafficPolicy": {}},
        });
        assert_eq!(absorb(vec![own(), entry("kubectl", "Update", foreign.clone())], PORTS), None);
        let mut both = foreign.clone();
        both["f:spec"]["f:ports"] = json!({"k:2": {}});
        let entries = absorb(vec![own(), entry("kubectl", "Update", both)], PORTS).unwrap();
        assert_eq!(fields(&entries[1]), &foreign);
    }

    #[test]
    fn without_an_entry_of_our_own_nothing_moves() {
        let foreign = entry("kubectl", "Update", json!({"f:spec": {"f:ports": {"k:2": {}}}}));
        assert_eq!(absorb(vec![foreign], PORTS), None);
    }
}
