//! Step one: fetch what the spec refers to. Reads the ConfigMaps of the applications, and of them keeps only the hash
//! of each key: that is enough to list the files and to roll the pods when one is edited.

use super::error::StepError;
use crate::controller::Scope;
use crate::crd::HarperServerSpec;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Hash of the content of each key of a ConfigMap.
pub type ConfigMapContent = BTreeMap<String, String>;

/// What a spec refers to.
#[derive(Clone, Debug, Default)]
pub struct Dereferenced {
    /// The ConfigMaps of the applications by name; none for one that does not exist.
    pub config_maps: BTreeMap<String, Option<Arc<ConfigMapContent>>>,
}

/// Fetches what the spec of this server refers to, from memory where the watch has shown no change.
///
/// # Errors
/// When the API server does not answer or refuses.
pub async fn dereference(
    scope: &Scope,
    namespace: &str,
    name: &str,
    spec: &HarperServerSpec,
) -> Result<Dereferenced, StepError> {
    let maps: BTreeSet<&str> =
        spec.components.iter().map(|component| component.config_map_ref.name.as_str()).collect();
    // before the reads, so that no edit falls between a read and the interest in it
    let index = &scope.components;
    index.refer(namespace, name, &maps);
    let mut config_maps = BTreeMap::new();
    for map in maps {
        let content = match index.lookup(namespace, map) {
            Ok(content) => content,
            Err(epoch) => {
                let content = fetch(scope, namespace, map).await?.map(Arc::new);
                index.store(namespace, map, epoch, content.clone());
                content
            }
        };
        config_maps.insert(map.to_owned(), content);
    }
    Ok(Dereferenced { config_maps })
}

async fn fetch(
    scope: &Scope,
    namespace: &str,
    name: &str,
) -> Result<Option<ConfigMapContent>, StepError> {
    let api: Api<ConfigMap> = Api::namespaced(scope.client.clone(), namespace);
    let map = api
        .get_opt(name)
        .await
        .map_err(|source| StepError::ReadComponent { name: name.to_owned(), source })?;
    Ok(map.map(|map| content(&map)))
}

fn content(map: &ConfigMap) -> ConfigMapContent {
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex()[..32].to_owned();
    let text = map.data.iter().flatten().map(|(key, text)| (key.clone(), hash(text.as_bytes())));
    let binary = map.binary_data.iter().flatten().map(|(key, data)| (key.clone(), hash(&data.0)));
    text.chain(binary).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_covers_text_and_bytes() {
        let map = |value: &str| -> ConfigMapContent {
            content(
                &serde_json::from_value(serde_json::json!({
                    "data": {"config.yaml": value}, "binaryData": {"logo.png": "AAEC"},
                }))
                .unwrap(),
            )
        };
        let one = map("rest: true");
        assert_eq!(one.keys().collect::<Vec<_>>(), ["config.yaml", "logo.png"]);
        assert_ne!(one["config.yaml"], map("rest: false")["config.yaml"]);
        assert_eq!(one["logo.png"], map("rest: false")["logo.png"]);
    }
}
