//! Golden files: what ships or reaches a cluster is in git, so that a change of it is seen in review.

use std::path::Path;

/// Compares with `tests/golden/<name>`, or writes it when `UPDATE_GOLDEN` is set.
pub(crate) fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{} differs; UPDATE_GOLDEN=1 writes this:\n{text}", path.display());
}

#[test]
fn the_definition() {
    check("crd.yaml", &serde_yaml::to_string(&crate::crd::definition()).unwrap());
}

#[test]
fn the_rules() {
    check("rbac.yaml", &serde_yaml::to_string(&crate::rbac::rules()).unwrap());
}

#[test]
fn the_reasons() {
    check("reasons.md", &crate::reasons::markdown());
}
