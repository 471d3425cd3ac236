//! The Service for clients, which has exactly the listeners that exist and never the admin port, and the headless
//! Service that gives each pod of the StatefulSet its name.

use super::labels::{metadata, selector};
use crate::crd;
use crate::reconcile::validate::ValidatedServer;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub(super) fn client(server: &ValidatedServer) -> Service {
    let crd::ServiceSpec { type_, annotations, labels } = &server.service;
    let mut metadata = metadata(server, server.identity.name.clone());
    metadata.annotations = (!annotations.is_empty()).then(|| annotations.clone());
    let own = metadata.labels.take().unwrap_or_default();
    metadata.labels = Some(labels.clone().into_iter().chain(own).collect());
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(format!("{type_:?}")),
            ports: Some(vec![http_port(server)]),
            selector: Some(selector(&server.identity.name)),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

pub(super) fn headless(server: &ValidatedServer) -> Service {
    Service {
        metadata: metadata(server, super::headless_name(server)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            ports: Some(vec![http_port(server)]),
            selector: Some(selector(&server.identity.name)),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn http_port(server: &ValidatedServer) -> ServicePort {
    ServicePort {
        name: Some("http".to_owned()),
        port: i32::from(server.config.http_port),
        target_port: Some(IntOrString::String("http".to_owned())),
        protocol: Some("TCP".to_owned()),
        app_protocol: Some("http".to_owned()),
        ..ServicePort::default()
    }
}
