//! Step two: is this a server that can be built? Pure: no client, no clock.
//!
//! The answer is a [`ValidatedServer`], after which nobody reads the spec again, or a [`Refusal`], after which nothing
//! is applied and running pods keep what they have.

mod components;
mod config;
mod image;
#[cfg(test)]
mod tests;

pub use components::{Component, File};
pub use config::RenderedConfig;
pub use image::Image;

use super::dereference::Dereferenced;
use crate::crd::{
    AdminSpec, HarperServer, HarperServerSpec, ResourcesSpec, SchedulingSpec, ServiceSpec,
    StorageSpec,
};
use crate::reasons::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource as _;
use std::collections::BTreeMap;

/// Directory of the applications in the container.
pub const COMPONENTS_ROOT: &str = "/etc/harper/components";

/// Why a server cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason shown in the conditions.
    pub reason: Reason,
    /// What is wrong and where, for a person.
    pub message: String,
}

impl Refusal {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// A server that can be built.
#[derive(Clone, Debug)]
pub struct ValidatedServer {
    /// Who it is.
    pub identity: Identity,
    /// What its pods run.
    pub image: Image,
    /// How many pods.
    pub replicas: i32,
    /// The operator writes nothing.
    pub paused: bool,
    /// The configuration file and what follows from it.
    pub config: RenderedConfig,
    /// The applications.
    pub components: Vec<Component>,
    /// Where the databases live.
    pub storage: StorageSpec,
    /// The administrator's credentials.
    pub admin: AdminSecret,
    /// CPU and memory, if asked for.
    pub resources: Option<ResourcesSpec>,
    /// The Service for clients.
    pub service: ServiceSpec,
    /// Nodes.
    pub scheduling: SchedulingSpec,
    /// The user's pod labels.
    pub pod_labels: BTreeMap<String, String>,
    /// The user's pod annotations.
    pub pod_annotations: BTreeMap<String, String>,
    /// Time to stop, in seconds.
    pub termination_grace_period_seconds: i64,
}

/// Who a server is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name, also of most of its children.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What its children point to.
    pub owner: OwnerReference,
}

/// Where the administrator's credentials are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminSecret {
    /// The operator creates this Secret once.
    Created(String),
    /// The user has made this Secret.
    Existing(String),
}

impl AdminSecret {
    /// Name of the Secret.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Created(name) | Self::Existing(name) => name,
        }
    }
}

impl Identity {
    /// Reads the identity; none for an object that did not come from an API server.
    #[must_use]
    pub fn of(server: &HarperServer) -> Option<Self> {
        Some(Self {
            name: server.metadata.name.clone()?,
            namespace: server.metadata.namespace.clone()?,
            owner: server.controller_owner_ref(&())?,
        })
    }
}

/// Checks a server and everything it refers to.
///
/// # Errors
/// The first [`Refusal`]; within one part of the spec every problem is named.
pub fn validate(
    identity: Identity,
    spec: &HarperServerSpec,
    dereferenced: &Dereferenced,
    default_image: &str,
) -> Result<ValidatedServer, Refusal> {
    let HarperServerSpec {
        image,
        replicas,
        paused,
        components,
        http,
        threads,
        logging,
        config,
        storage,
        admin,
        resources,
        service,
        scheduling,
        pod_labels,
        pod_annotations,
        termination_grace_period_seconds,
    } = spec;
    if *replicas > 1 {
        return Err(Refusal::new(
            Reason::ReplicasUnsupported,
            format!(
                "spec.replicas is {replicas}: more than one replica needs the distributed engine, which does not exist yet"
            ),
        ));
    }
    let config = config::render(&config::Written {
        free: config.as_ref(),
        http: http.as_ref(),
        threads: threads.as_ref(),
        logging: logging.as_ref(),
        has_components: !components.is_empty(),
    })?;
    Ok(ValidatedServer {
        image: image::resolve(default_image, image.as_ref()),
        replicas: *replicas,
        paused: *paused,
        config,
        components: components::resolve(components, dereferenced)?,
        storage: storage.clone(),
        admin: admin_secret(&identity.name, admin.as_ref()),
        resources: resources.clone(),
        service: service.clone().unwrap_or_default(),
        scheduling: scheduling.clone().unwrap_or_default(),
        pod_labels: pod_labels.clone(),
        pod_annotations: pod_annotations.clone(),
        termination_grace_period_seconds: *termination_grace_period_seconds,
        identity,
    })
}

fn admin_secret(name: &str, admin: Option<&AdminSpec>) -> AdminSecret {
    match admin.and_then(|admin| admin.secret_ref.as_ref()) {
        Some(reference) => AdminSecret::Existing(reference.name.clone()),
        None => AdminSecret::Created(format!("{name}-admin")),
    }
}
