//! What the operator may do, and nothing more: it cannot read a Secret.

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::crd;

/// One rule.
fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let texts = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(texts(resources)),
        verbs: texts(verbs),
        ..PolicyRule::default()
    }
}

/// The rules of the operator's role, in its ClusterRole or in a Role of each namespace.
#[must_use]
pub fn rules() -> Vec<PolicyRule> {
    const READ: &[&str] = &["get", "list", "watch"];
    const APPLY: &[&str] = &["get", "list", "watch", "create", "patch"];
    const APPLY_AND_DELETE: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
    vec![
        rule(crd::GROUP, &[crd::PLURAL], READ),
        rule(crd::GROUP, &["harperservers/status"], &["patch"]),
        rule("", &["configmaps", "serviceaccounts", "services"], APPLY),
        rule("apps", &["statefulsets"], APPLY),
        rule("policy", &["poddisruptionbudgets"], APPLY_AND_DELETE),
        rule("", &["secrets"], &["create"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
        PolicyRule {
            resource_names: Some(vec![crd::CRD_NAME.to_owned()]),
            ..rule("apiextensions.k8s.io", &["customresourcedefinitions"], &["get"])
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_can_be_read() {
        for rule in rules() {
            let resources = rule.resources.unwrap_or_default();
            if resources.iter().any(|resource| resource == "secrets" || resource == "*") {
                assert_eq!(rule.verbs, ["create"]);
            }
        }
    }
}
