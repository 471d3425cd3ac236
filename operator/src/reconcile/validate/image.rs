//! Which image the pods run.

use crate::crd::{ImageSpec, PullPolicy};

/// A complete image reference and how it is pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `repository[:tag][@digest]`.
    pub reference: String,
    /// Whether it is the image of the operator's own release.
    pub is_default: bool,
    /// When it is pulled; none leaves it to Kubernetes.
    pub pull_policy: Option<PullPolicy>,
    /// Secrets with registry credentials.
    pub pull_secrets: Vec<String>,
}

/// Completes what the user wrote with the operator's default. A tag or digest without a repository changes the
/// default's; a repository without either is taken as written.
pub(super) fn resolve(default: &str, spec: Option<&ImageSpec>) -> Image {
    let Some(ImageSpec { repository, tag, digest, pull_policy, pull_secrets }) = spec else {
        return Image {
            reference: default.to_owned(),
            is_default: true,
            pull_policy: None,
            pull_secrets: Vec::new(),
        };
    };
    let mut reference = match repository {
        Some(repository) => repository.clone(),
        None if tag.is_none() && digest.is_none() => default.to_owned(),
        None => repository_of(default).to_owned(),
    };
    if let Some(digest) = digest {
        reference = format!("{reference}@{digest}");
    } else if let Some(tag) = tag {
        reference = format!("{reference}:{tag}");
    }
    let pull_secrets = pull_secrets.iter().map(|secret| secret.name.clone()).collect();
    let is_default = reference == default;
    Image { reference, is_default, pull_policy: *pull_policy, pull_secrets }
}

/// A reference without its tag and digest. A colon before the last slash belongs to the registry's port.
fn repository_of(reference: &str) -> &str {
    let without_digest = reference.split('@').next().unwrap_or(reference);
    let name_start = without_digest.rfind('/').map_or(0, |slash| slash + 1);
    match without_digest[name_start..].find(':') {
        Some(colon) => &without_digest[..name_start + colon],
        None => without_digest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(default: &str, spec: serde_json::Value) -> String {
        resolve(default, Some(&serde_json::from_value(spec).unwrap())).reference
    }

    #[test]
    fn the_default_is_completed() {
        let default = "registry:5000/harper/server:1.0";
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(resolve(default, None).reference, default);
        assert_eq!(reference(default, serde_json::json!({})), default);
        assert_eq!(
            reference(default, serde_json::json!({"tag": "2"})),
            "registry:5000/harper/server:2"
        );
        assert_eq!(
            reference(default, serde_json::json!({"digest": digest})),
            format!("registry:5000/harper/server@{digest}")
        );
        assert_eq!(
            reference(default, serde_json::json!({"repository": "mine", "tag": "2"})),
            "mine:2"
        );
        assert_eq!(
            reference("harper-server@sha256:0", serde_json::json!({"tag": "2"})),
            "harper-server:2"
        );
    }
}
