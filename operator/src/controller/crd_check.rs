//! Whether the API server serves the kind, and whether its schema is the operator's own.

use crate::crd;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use std::time::Duration;

const POLL: Duration = Duration::from_secs(1);

/// What the API server serves of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrdState {
    /// The operator's own schema.
    Same,
    /// Another schema: the definition and the operator are of different versions.
    Different,
    /// The operator may not look; with rules for single namespaces this is as it should be.
    Unknown,
}

/// Waits until the kind is served.
pub async fn wait_until_served(client: &Client) -> CrdState {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut told = false;
    loop {
        match api.get_opt(crd::CRD_NAME).await {
            Ok(Some(served)) if is_established(&served) => return compare(&served),
            Ok(_) if told => {}
            Ok(_) => tracing::warn!(crd = crd::CRD_NAME, "waiting for the definition to be served"),
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                return CrdState::Unknown;
            }
            Err(error) => tracing::warn!(%error, "the API server does not answer"),
        }
        told = true;
        tokio::time::sleep(POLL).await;
    }
}

fn is_established(served: &CustomResourceDefinition) -> bool {
    let conditions = served.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    conditions.into_iter().any(|one| one.type_ == "Established" && one.status == "True")
}

fn compare(served: &CustomResourceDefinition) -> CrdState {
    let schemas = |crd: &CustomResourceDefinition| {
        crd.spec.versions.iter().map(|version| version.schema.clone()).collect::<Vec<_>>()
    };
    if schemas(served) == schemas(&crd::definition()) {
        return CrdState::Same;
    }
    tracing::warn!(
        crd = crd::CRD_NAME,
        "the definition served is of another version of the operator"
    );
    CrdState::Different
}
