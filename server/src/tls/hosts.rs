//! Which certificate is for the name that a client asks for (SNI, RFC 6066 §3).

use std::collections::HashMap;

/// Names and the numbers of the entries that they choose.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<String, usize>,
    /// By what follows the `*.`, which stands for one label (RFC 6125 §6.4.3).
    wildcard: HashMap<String, usize>,
}

impl Hosts {
    /// Takes each entry's configured names, or when there are none the names of its certificate. A configured name beats one of
    /// a certificate, and an earlier entry a later one.
    pub(super) fn new<'a>(
        entries: impl Iterator<Item = (&'a [String], &'a [String])> + Clone,
    ) -> Self {
        let mut hosts = Self::default();
        for (index, (configured, _)) in entries.clone().enumerate() {
            hosts.add(configured, index);
        }
        for (index, (configured, own)) in entries.enumerate() {
            if configured.is_empty() {
                hosts.add(own, index);
            }
        }
        hosts
    }

    fn add(&mut self, names: &[String], index: usize) {
        for name in names {
            let name = normal(name);
            match name.strip_prefix("*.") {
                Some(parent) => self.wildcard.entry(parent.to_owned()).or_insert(index),
                None => self.exact.entry(name).or_insert(index),
            };
        }
    }

    /// The entry for a name.
    #[must_use]
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let name = normal(name);
        let parent = || name.split_once('.').map(|(_, parent)| parent);
        self.exact.get(&name).or_else(|| self.wildcard.get(parent()?)).copied()
    }
}

/// Names are compared without case, and without the dot of the root.
fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(entries: &[(&[&str], &[&str])]) -> Hosts {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let entries: Vec<(Vec<String>, Vec<String>)> =
            entries.iter().map(|(configured, own)| (owned(configured), owned(own))).collect();
        Hosts::new(entries.iter().map(|(configured, own)| (&configured[..], &own[..])))
    }

    #[test]
    fn exact_before_wildcard_and_configured_before_own() {
        let hosts = hosts(&[
            (&[], &["default.example", "*.a.example"]),
            (&["*.a.example"], &["unused.example"]),
            (&["x.a.example"], &[]),
            (&[], &["default.example", "127.0.0.1"]),
        ]);
        for (name, expected) in [
            ("default.example", Some(0)),
            ("y.a.example", Some(1)),
            ("X.A.Example.", Some(2)),
            ("a.example", None),
            ("z.y.a.example", None),
            ("unused.example", None),
            ("127.0.0.1", Some(3)),
            ("", None),
        ] {
            assert_eq!(hosts.find(name), expected, "{name}");
        }
    }
}
