//! The configuration file.

use super::labels::metadata;
use crate::reconcile::validate::ValidatedServer;
use k8s_openapi::api::core::v1::ConfigMap;
use std::collections::BTreeMap;

/// Key of the file, and its name in the pod.
pub(super) const CONFIG_FILE: &str = "harperdb-config.yaml";

pub(super) fn build(server: &ValidatedServer) -> ConfigMap {
    ConfigMap {
        metadata: metadata(server, super::config_map_name(server)),
        data: Some(BTreeMap::from([(CONFIG_FILE.to_owned(), server.config.text.clone())])),
        ..ConfigMap::default()
    }
}
