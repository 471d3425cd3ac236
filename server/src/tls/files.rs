//! The files that certificates are made of, read in one pass: what is checked is what is used.

use super::Configured;
use super::path_or;
use harper_config::Pem;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Everything that one reading found; two readings are equal when nothing has changed between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files(BTreeMap<PathBuf, Result<Vec<u8>, String>>);

impl Files {
    /// Reads every file that is named; those that are not are in `keys`.
    #[must_use]
    pub(super) fn read(all: &[Configured], keys: &Path) -> Self {
        let mut files = Self::default();
        for configured in all {
            if let Some(lists) = configured.revocation_lists() {
                files.add(Some(lists), keys, "");
            }
            for entry in &configured.entries {
                files.add(entry.certificate.as_ref(), keys, "certificate.pem");
                files.add(entry.private_key.as_ref(), keys, "privateKey.pem");
                if configured.clients.is_some() {
                    files.add(configured.authority(entry), keys, "ca.pem");
                }
            }
        }
        files
    }

    fn add(&mut self, pem: Option<&Pem>, keys: &Path, default: &str) {
        let configured = match pem {
            Some(Pem::Inline(_)) => return,
            Some(Pem::Path(path)) => Some(path.as_path()),
            None => None,
        };
        let path = path_or(configured, keys, default);
        let read = |path: &PathBuf| std::fs::read(path).map_err(|error| error.to_string());
        self.0.entry(path).or_insert_with_key(read);
    }

    /// What a file held, or why it could not be read.
    ///
    /// # Errors
    /// The system's word.
    pub(super) fn get(&self, path: &Path) -> Result<&[u8], &str> {
        match self.0.get(path) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(error)) => Err(error),
            None => Err("the file was not read"),
        }
    }
}
