//! The `HarperServer` kind: its types, and the `CustomResourceDefinition` made of them.
//!
//! Every rule that a single object can be checked against is in the schema (as a range, a pattern or a CEL rule), so
//! that the API server refuses a bad object with a sentence before the operator sees it.

#[allow(unreachable_pub, reason = "the schema derive copies each type with its visibility")]
mod spec;
mod status;

pub use kube::core::DeserializeGuard;
pub use spec::{
    AdminSpec, Component, ComponentItem, ConfigMapReference, HarperServer, HarperServerSpec,
    HttpSpec, ImageSpec, LocalReference, LogFormat, LogLevel, LoggingSpec, PullPolicy,
    ResourcesSpec, SchedulingSpec, ServiceSpec, ServiceType, StorageSpec, StorageType, ThreadsSpec,
    TolerationSpec,
};
pub use status::{Endpoint, HarperServerStatus};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON,
};
use kube::CustomResourceExt;

/// API group of the kind.
pub const GROUP: &str = "harper.dev";
/// Group and version.
pub const API_VERSION: &str = "harper.dev/v1alpha1";
/// Plural name of the kind.
pub const PLURAL: &str = "harperservers";
/// Name of the `CustomResourceDefinition`.
pub const CRD_NAME: &str = "harperservers.harper.dev";

/// A `HarperServer` that may not fit the types: one unreadable object must not stop the watch for all others.
pub type Guarded = DeserializeGuard<HarperServer>;

/// The `CustomResourceDefinition` to install.
#[must_use]
pub fn definition() -> CustomResourceDefinition {
    let mut definition = HarperServer::crd();
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let spec = schema.and_then(|schema| schema.properties.as_mut()?.get_mut("spec"));
        if let Some(spec) = spec {
            // a server without a spec is a server with an empty one
            spec.default = Some(JSON(serde_json::json!({})));
        }
    }
    definition
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_stays_small() {
        let bytes = serde_json::to_vec(&definition()).unwrap().len();
        assert!(bytes <= 120 * 1024, "{bytes} bytes: kubectl apply has a limit of 256 KiB");
    }

    #[test]
    fn names_are_the_contract() {
        let crd = definition();
        assert_eq!(crd.metadata.name.as_deref(), Some(CRD_NAME));
        assert_eq!(crd.spec.group, GROUP);
        assert_eq!(crd.spec.names.plural, PLURAL);
        assert_eq!(crd.spec.names.short_names, Some(vec!["hs".to_owned()]));
        assert_eq!(crd.spec.names.categories, Some(vec!["harper".to_owned()]));
        assert_eq!(API_VERSION, format!("{GROUP}/{}", crd.spec.versions[0].name));
    }

    #[test]
    fn a_server_needs_no_spec() {
        let crd = serde_json::to_value(definition()).unwrap();
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/default";
        assert_eq!(crd.pointer(spec), Some(&serde_json::json!({})));
    }

    #[test]
    fn an_empty_spec_is_complete() {
        let spec: HarperServerSpec = serde_json::from_str("{}").unwrap();
        assert_eq!(spec.replicas, 1);
        assert_eq!(spec.termination_grace_period_seconds, 60);
        assert_eq!(spec.storage, StorageSpec::default());
        assert!(!spec.paused);
    }
}
