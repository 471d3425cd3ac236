//! Which server refers to which ConfigMap, and what was read of it.
//!
//! Every ConfigMap of the watched namespaces passes by as metadata only and is not kept; those in this index wake
//! the servers that refer to them. No label is needed on a user's ConfigMap, and a thousand foreign ones cost nothing.

use crate::reconcile::dereference::ConfigMapContent;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Key = (String, String);

#[derive(Debug, Default)]
struct Entry {
    servers: BTreeSet<String>,
    epoch: u64,
    content: Option<Option<Arc<ConfigMapContent>>>,
}

#[derive(Debug, Default)]
struct State {
    maps: HashMap<Key, Entry>,
    by_server: HashMap<Key, BTreeSet<String>>,
    epoch: u64,
}

/// The index of all servers; as large as their specs.
#[derive(Debug, Default)]
pub struct ComponentIndex {
    state: Mutex<State>,
}

impl ComponentIndex {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a server refers to these ConfigMaps of its namespace and to no other.
    pub fn refer(&self, namespace: &str, server: &str, maps: &BTreeSet<&str>) {
        let mut state = self.lock();
        let key = (namespace.to_owned(), server.to_owned());
        let before = state.by_server.remove(&key).unwrap_or_default();
        for gone in before.iter().filter(|map| !maps.contains(map.as_str())) {
            let map = (namespace.to_owned(), gone.clone());
            if let Some(entry) = state.maps.get_mut(&map) {
                entry.servers.remove(server);
                if entry.servers.is_empty() {
                    state.maps.remove(&map);
                }
            }
        }
        for map in maps {
            let entry = state.maps.entry((namespace.to_owned(), (*map).to_owned())).or_default();
            entry.servers.insert(server.to_owned());
        }
        if !maps.is_empty() {
            state.by_server.insert(key, maps.iter().map(|map| (*map).to_owned()).collect());
        }
    }

    /// What was read of a ConfigMap (none: it does not exist).
    ///
    /// # Errors
    /// When it must be read; the number is to be given to [`ComponentIndex::store`] with what was read.
    pub fn lookup(&self, namespace: &str, map: &str) -> Result<Option<Arc<ConfigMapContent>>, u64> {
        let state = self.lock();
        match state.maps.get(&(namespace.to_owned(), map.to_owned())) {
            Some(Entry { content: Some(content), .. }) => Ok(content.clone()),
            Some(entry) => Err(entry.epoch),
            None => Err(state.epoch),
        }
    }

    /// Keeps what was read, unless the ConfigMap has changed since the read began.
    pub fn store(
        &self,
        namespace: &str,
        map: &str,
        epoch: u64,
        content: Option<Arc<ConfigMapContent>>,
    ) {
        let mut state = self.lock();
        if let Some(entry) = state.maps.get_mut(&(namespace.to_owned(), map.to_owned()))
            && entry.epoch == epoch
        {
            entry.content = Some(content);
        }
    }

    /// Notes that a ConfigMap was made, edited or deleted. Returns the servers that refer to it.
    pub fn touched(&self, namespace: &str, map: &str) -> Vec<String> {
        let mut state = self.lock();
        state.epoch += 1;
        let epoch = state.epoch;
        let Some(entry) = state.maps.get_mut(&(namespace.to_owned(), map.to_owned())) else {
            return Vec::new();
        };
        entry.epoch = epoch;
        entry.content = None;
        entry.servers.iter().cloned().collect()
    }

    /// Notes that changes may have been missed.
    pub fn touched_all(&self) {
        let mut state = self.lock();
        state.epoch += 1;
        let epoch = state.epoch;
        for entry in state.maps.values_mut() {
            entry.epoch = epoch;
            entry.content = None;
        }
    }

    /// Forgets servers of these names that are not among the living.
    pub fn retain(&self, living: impl Fn(&str, &str) -> bool) {
        let keys: Vec<Key> = self.lock().by_server.keys().cloned().collect();
        for (namespace, server) in keys.iter().filter(|(namespace, name)| !living(namespace, name))
        {
            self.refer(namespace, server, &BTreeSet::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(key: &str, hash: &str) -> Arc<ConfigMapContent> {
        Arc::new(ConfigMapContent::from([(key.to_owned(), hash.to_owned())]))
    }

    #[test]
    fn only_referring_servers_are_woken() {
        let index = ComponentIndex::default();
        index.refer("ns", "a", &BTreeSet::from(["files", "more"]));
        index.refer("ns", "b", &BTreeSet::from(["files"]));
        assert_eq!(index.touched("ns", "files"), ["a", "b"]);
        assert_eq!(index.touched("other", "files"), Vec::<String>::new());
        index.refer("ns", "a", &BTreeSet::new());
        assert_eq!(index.touched("ns", "files"), ["b"]);
        assert_eq!(index.touched("ns", "more"), Vec::<String>::new());
        index.retain(|_, name| name != "b");
        assert!(index.lock().maps.is_empty());
    }

    #[test]
    fn what_was_read_is_kept_until_it_changes() {
        let index = ComponentIndex::default();
        index.refer("ns", "a", &BTreeSet::from(["files"]));
        let epoch = index.lookup("ns", "files").unwrap_err();
        index.store("ns", "files", epoch, Some(content("k", "1")));
        assert_eq!(index.lookup("ns", "files").unwrap().unwrap()["k"], "1");
        index.touched("ns", "files");
        let epoch = index.lookup("ns", "files").unwrap_err();
        index.touched_all();
        index.store("ns", "files", epoch, None);
        assert!(index.lookup("ns", "files").is_err(), "it changed while it was read");
    }
}
