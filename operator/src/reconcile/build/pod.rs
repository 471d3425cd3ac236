//! The pod: one container without privileges, a read-only root, and everything it reads in directories (a file
//! mounted with `subPath` would never be updated).

mod volumes;

pub(super) use volumes::DATA;

use super::labels::labels;
use crate::crd::{ResourcesSpec, TolerationSpec};
use crate::reconcile::validate::{Image, ValidatedServer};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, HTTPGetAction, LocalObjectReference,
    PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile,
    SecurityContext, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Requests of a container that asks for nothing else.
const DEFAULT_REQUESTS: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "128Mi")];
/// User and group of the image.
const UID: i64 = 65532;
/// Annotation that changes, and so rolls the pods, with everything they read at their start.
const CONFIG_HASH: &str = "harper.dev/config-hash";
/// Annotation that rolls the pods when their admin Secret had to be made again.
const ADMIN_SECRET_UID: &str = "harper.dev/admin-secret-uid";

pub(super) fn template(server: &ValidatedServer) -> PodTemplateSpec {
    let own = [
        (CONFIG_HASH.to_owned(), super::config_hash(server)),
        ("prometheus.io/scrape".to_owned(), "true".to_owned()),
        ("prometheus.io/port".to_owned(), server.config.admin_port.to_string()),
        ("prometheus.io/path".to_owned(), "/metrics".to_owned()),
    ];
    let annotations = server.pod_annotations.clone().into_iter().chain(own).collect();
    let labels = server.pod_labels.clone().into_iter().chain(labels(server)).collect();
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(server)),
    }
}

/// Marks the pods with the Secret that was made in place of a deleted one, so that they start with its password.
pub fn restart_for_secret(set: &mut StatefulSet, remade_uid: Option<&str>) {
    if let (Some(uid), Some(spec)) = (remade_uid, set.spec.as_mut()) {
        let annotations =
            spec.template.metadata.get_or_insert_default().annotations.get_or_insert_default();
        annotations.insert(ADMIN_SECRET_UID.to_owned(), uid.to_owned());
    }
}

fn spec(server: &ValidatedServer) -> PodSpec {
    let pull_secrets = server.image.pull_secrets.iter();
    let pull_secrets: Vec<_> =
        pull_secrets.map(|name| LocalObjectReference { name: name.clone() }).collect();
    let scheduling = &server.scheduling;
    let selector = &scheduling.node_selector;
    let tolerations: Vec<_> = scheduling.tolerations.iter().map(toleration).collect();
    PodSpec {
        service_account_name: Some(server.identity.name.clone()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(server.termination_grace_period_seconds),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(UID),
            run_as_group: Some(UID),
            fs_group: Some(UID),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(runtime_default()),
            ..PodSecurityContext::default()
        }),
        image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
        node_selector: (!selector.is_empty()).then(|| selector.clone()),
        tolerations: (!tolerations.is_empty()).then_some(tolerations),
        containers: vec![container(server)],
        volumes: Some(volumes::volumes(server)),
        ..PodSpec::default()
    }
}

fn container(server: &ValidatedServer) -> Container {
    let Image { reference, is_default: _, pull_policy, pull_secrets: _ } = &server.image;
    Container {
        name: "harper-server".to_owned(),
        image: Some(reference.clone()),
        image_pull_policy: pull_policy.map(|policy| format!("{policy:?}")),
        args: Some(["run", "--config", volumes::CONFIG_PATH].map(str::to_owned).to_vec()),
        env: Some(vec![
            variable("ROOTPATH", volumes::DATA_DIR),
            variable("HDB_ADMIN_USERNAME_FILE", &format!("{}/username", volumes::ADMIN_DIR)),
            variable("HDB_ADMIN_PASSWORD_FILE", &format!("{}/password", volumes::ADMIN_DIR)),
        ]),
        ports: Some(vec![
            port("http", server.config.http_port),
            port("metrics", server.config.admin_port),
        ]),
        startup_probe: Some(probe("/startupz", 1, 300)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        resources: Some(resources(server.resources.as_ref())),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(volumes::mounts()),
        ..Container::default()
    }
}

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), ..EnvVar::default() }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// A probe of the admin listener, which has its own thread and so answers for stuck workers too.
fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("metrics".to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(3),
        ..Probe::default()
    }
}

/// What was asked for. What has neither request nor limit gets a small request: without any, the pod would be the first
/// to go when its node runs out of memory. Kubernetes takes a limit without a request as the request.
fn resources(spec: Option<&ResourcesSpec>) -> ResourceRequirements {
    let ResourcesSpec { mut requests, limits } = spec.cloned().unwrap_or_default();
    for (name, amount) in DEFAULT_REQUESTS {
        if !limits.contains_key(name) {
            requests.entry(name.to_owned()).or_insert_with(|| Quantity(amount.to_owned()));
        }
    }
    ResourceRequirements {
        requests: (!requests.is_empty()).then_some(requests),
        limits: (!limits.is_empty()).then_some(limits),
        ..ResourceRequirements::default()
    }
}

fn toleration(spec: &TolerationSpec) -> Toleration {
    let TolerationSpec { key, operator, value, effect, toleration_seconds } = spec.clone();
    Toleration { key, operator, value, effect, toleration_seconds }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }
}
