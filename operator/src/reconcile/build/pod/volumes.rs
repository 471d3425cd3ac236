//! What is mounted where.

use crate::crd::StorageType;
use crate::reconcile::build::config_map::CONFIG_FILE;
use crate::reconcile::validate::{Component, ValidatedServer};
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, EmptyDirVolumeSource, KeyToPath, ProjectedVolumeSource,
    SecretVolumeSource, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Volume of the databases, and name of its claim.
pub(crate) const DATA: &str = "data";
const CONFIG: &str = "config";
const ADMIN: &str = "admin";
const TMP: &str = "tmp";
/// The server keeps nothing in /tmp; the disk of the node is not its own.
const TMP_SIZE_MAX: &str = "256Mi";

/// Root of the server.
pub(super) const DATA_DIR: &str = "/var/lib/harper";
/// Directory of the administrator's credentials; not below [`CONFIG_DIR`], which is a read-only volume.
pub(super) const ADMIN_DIR: &str = "/run/harper/admin";
const CONFIG_DIR: &str = "/etc/harper";
/// The configuration file.
pub(super) const CONFIG_PATH: &str = "/etc/harper/harperdb-config.yaml";

/// Readable by the group, which is the pod's `fsGroup`, and by nobody else.
const SECRET_MODE: i32 = 0o440;

pub(super) fn mounts() -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    vec![
        mount(DATA, DATA_DIR, false),
        mount(CONFIG, CONFIG_DIR, true),
        mount(ADMIN, ADMIN_DIR, true),
        mount(TMP, "/tmp", false),
    ]
}

pub(super) fn volumes(server: &ValidatedServer) -> Vec<Volume> {
    let ephemeral = (server.storage.type_ == StorageType::Ephemeral).then(|| Volume {
        name: DATA.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(server.storage.size.clone())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    });
    let tmp = Volume {
        name: TMP.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(TMP_SIZE_MAX.to_owned())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    };
    [config(server), admin(server), tmp].into_iter().chain(ephemeral).collect()
}

/// The configuration file and the applications in one volume, so that they change together.
fn config(server: &ValidatedServer) -> Volume {
    let name = super::super::config_map_name(server);
    let file = item(CONFIG_FILE, CONFIG_FILE.to_owned());
    let own = projection(name, vec![file]);
    let components = server.components.iter().map(component);
    Volume {
        name: CONFIG.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(std::iter::once(own).chain(components).collect()),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn component(component: &Component) -> VolumeProjection {
    let Component { name, config_map, files } = component;
    let items =
        files.iter().map(|file| item(&file.key, format!("components/{name}/{}", file.path)));
    projection(config_map.clone(), items.collect())
}

fn item(key: &str, path: String) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path, mode: None }
}

fn projection(name: String, items: Vec<KeyToPath>) -> VolumeProjection {
    VolumeProjection {
        config_map: Some(ConfigMapProjection { name, items: Some(items), optional: None }),
        ..VolumeProjection::default()
    }
}

fn admin(server: &ValidatedServer) -> Volume {
    let items = ["username", "password"].map(|key| item(key, key.to_owned()));
    Volume {
        name: ADMIN.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(server.admin.name().to_owned()),
            items: Some(items.to_vec()),
            default_mode: Some(SECRET_MODE),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}
