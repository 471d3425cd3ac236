//! The pods and their volume claims.

use super::labels::{labels, metadata, selector};
use super::pod;
use crate::crd::{StorageSpec, StorageType};
use crate::reconcile::validate::ValidatedServer;
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::collections::BTreeMap;

/// Old templates kept for a look back.
const REVISIONS_MAX: i32 = 3;

pub(super) fn build(server: &ValidatedServer) -> StatefulSet {
    let retain = || Some("Retain".to_owned());
    StatefulSet {
        metadata: metadata(server, server.identity.name.clone()),
        spec: Some(StatefulSetSpec {
            replicas: Some(server.replicas),
            service_name: Some(super::headless_name(server)),
            selector: LabelSelector {
                match_labels: Some(selector(&server.identity.name)),
                ..LabelSelector::default()
            },
            // in order, a pod that cannot start would keep its mended template from being used
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            revision_history_limit: Some(REVISIONS_MAX),
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: retain(),
                    when_scaled: retain(),
                },
            ),
            volume_claim_templates: claim(server).map(|claim| vec![claim]),
            template: pod::template(server),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn claim(server: &ValidatedServer) -> Option<PersistentVolumeClaim> {
    let StorageSpec { type_, size, storage_class_name } = &server.storage;
    match type_ {
        StorageType::Ephemeral => None,
        StorageType::Persistent => Some(PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(pod::DATA.to_owned()),
                labels: Some(labels(server)),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                storage_class_name: storage_class_name.clone(),
                resources: Some(VolumeResourceRequirements {
                    requests: Some(BTreeMap::from([(
                        "storage".to_owned(),
                        Quantity(size.clone()),
                    )])),
                    ..VolumeResourceRequirements::default()
                }),
                ..PersistentVolumeClaimSpec::default()
            }),
            ..PersistentVolumeClaim::default()
        }),
    }
}
