//! Which files each application has.

use super::Refusal;
use crate::crd;
use crate::reasons::Reason;
use crate::reconcile::dereference::{ConfigMapContent, Dereferenced};
use std::collections::BTreeSet;

/// An application whose files are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its folder under the components root.
    pub name: String,
    /// ConfigMap that holds its files.
    pub config_map: String,
    /// Its files.
    pub files: Vec<File>,
}

/// A file of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Key in the ConfigMap.
    pub key: String,
    /// Path in the application's folder.
    pub path: String,
    /// Hash of its content.
    pub hash: String,
}

pub(super) fn resolve(
    components: &[crd::Component],
    dereferenced: &Dereferenced,
) -> Result<Vec<Component>, Refusal> {
    let mut names = BTreeSet::new();
    for component in components {
        if !names.insert(&component.name) {
            let message = format!("spec.components: two are named {}", component.name);
            return Err(Refusal::new(Reason::SpecInvalid, message));
        }
    }
    components.iter().map(|component| resolve_one(component, dereferenced)).collect()
}

fn resolve_one(
    component: &crd::Component,
    dereferenced: &Dereferenced,
) -> Result<Component, Refusal> {
    let crd::Component { name, config_map_ref: crd::ConfigMapReference { name: map, items } } =
        component;
    let Some(content) = dereferenced.config_maps.get(map).and_then(Option::as_deref) else {
        let message = format!("spec.components: {name}: ConfigMap {map} does not exist");
        return Err(Refusal::new(Reason::ComponentNotFound, message));
    };
    let files = if items.is_empty() { every_key(content) } else { chosen(component, content)? };
    if files.is_empty() {
        let message = format!("spec.components: {name}: ConfigMap {map} is empty");
        return Err(Refusal::new(Reason::ComponentKeyNotFound, message));
    }
    check_paths(name, &files)?;
    Ok(Component { name: name.clone(), config_map: map.clone(), files })
}

fn every_key(content: &ConfigMapContent) -> Vec<File> {
    let file = |(key, hash): (&String, &String)| File {
        key: key.clone(),
        path: key.clone(),
        hash: hash.clone(),
    };
    content.iter().map(file).collect()
}

fn chosen(component: &crd::Component, content: &ConfigMapContent) -> Result<Vec<File>, Refusal> {
    let items = &component.config_map_ref.items;
    let missing: Vec<_> =
        items.iter().map(|item| &item.key).filter(|key| !content.contains_key(*key)).collect();
    if !missing.is_empty() {
        let (name, map) = (&component.name, &component.config_map_ref.name);
        let message = format!("spec.components: {name}: ConfigMap {map} has no {missing:?}");
        return Err(Refusal::new(Reason::ComponentKeyNotFound, message));
    }
    let file = |item: &crd::ComponentItem| {
        Some(File {
            key: item.key.clone(),
            path: item.path.clone().unwrap_or_else(|| item.key.clone()),
            hash: content.get(&item.key)?.clone(),
        })
    };
    Ok(items.iter().filter_map(file).collect())
}

/// Kubernetes checks paths too, but its message names an object the user has not written.
fn check_paths(name: &str, files: &[File]) -> Result<(), Refusal> {
    let refuse = |path: &str, what: &str| {
        let message = format!("spec.components: {name}: path {path}: {what}");
        Err(Refusal::new(Reason::SpecInvalid, message))
    };
    let mut paths = BTreeSet::new();
    for File { path, .. } in files {
        let parts: Vec<_> = path.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || *part == "." || *part == "..") {
            return refuse(path, "a path is relative and has no empty, '.' or '..' part");
        }
        if !paths.insert(path.as_str()) {
            return refuse(path, "two files have it");
        }
    }
    for File { path, .. } in files {
        let parents = path.match_indices('/').map(|(end, _)| &path[..end]);
        if let Some(parent) = parents.into_iter().find(|parent| paths.contains(parent)) {
            return refuse(path, &format!("{parent} is a file"));
        }
    }
    Ok(())
}
