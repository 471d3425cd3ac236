//! Identity of the pods. It has no permissions and no token is mounted.

use super::labels::metadata;
use crate::reconcile::validate::ValidatedServer;
use k8s_openapi::api::core::v1::ServiceAccount;

pub(super) fn build(server: &ValidatedServer) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(server, server.identity.name.clone()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
