//! Golden files of every object, made by the real `validate` from a few lines of YAML.

use super::*;
use crate::crd::HarperServerSpec;
use crate::golden;
use crate::reconcile::dereference::{ConfigMapContent, Dereferenced};
use crate::reconcile::validate::{Identity, validate};
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::sync::Arc;

const FULL: &str = r#"
image: {repository: registry.example/harper-server, tag: "1.2", pullPolicy: Always, pullSecrets: [{name: registry}]}
components:
- name: cities
  configMapRef:
    name: cities-files
    items: [{key: config.yaml}, {key: index.html, path: web/index.html}]
- {name: more, configMapRef: {name: cities-files}}
http: {port: 8080, compressionThreshold: 2000}
threads: {count: auto}
logging: {level: info}
config: {query: {sortRecordsMax: 5000}, admin: {port: 9000}}
storage: {size: 2Gi, storageClassName: fast}
admin: {secretRef: {name: mine}}
resources: {requests: {cpu: 1}, limits: {cpu: 1500m, memory: 1Gi}}
service: {type: LoadBalancer, annotations: {a: b}, labels: {team: maps, app.kubernetes.io/name: mine}}
scheduling:
  nodeSelector: {disk: ssd}
  tolerations: [{key: dedicated, operator: Equal, value: harper, effect: NoSchedule}]
podLabels: {team: maps, app.kubernetes.io/instance: mine}
podAnnotations: {note: hello, harper.dev/config-hash: mine}
terminationGracePeriodSeconds: 90
"#;

fn files(hash: &str) -> Dereferenced {
    let content = ["config.yaml", "index.html"].map(|key| (key.to_owned(), hash.to_owned()));
    let content = Some(Arc::new(ConfigMapContent::from(content)));
    Dereferenced { config_maps: BTreeMap::from([("cities-files".to_owned(), content)]) }
}

fn server_with(yaml: &str, dereferenced: &Dereferenced) -> ValidatedServer {
    let spec: HarperServerSpec = serde_yaml::from_str(yaml).unwrap();
    let owner = serde_yaml::from_str(
        "{apiVersion: harper.dev/v1alpha1, kind: HarperServer, name: cities, uid: uid-1, controller: true}",
    );
    let identity =
        Identity { name: "cities".to_owned(), namespace: "demo".to_owned(), owner: owner.unwrap() };
    validate(identity, &spec, dereferenced, "harper-server:1.0").unwrap()
}

fn server(yaml: &str) -> ValidatedServer {
    server_with(yaml, &files("0"))
}

fn all(resources: &Resources) -> String {
    let Resources {
        service_account,
        config_map,
        admin_secret,
        headless_service,
        service,
        stateful_set,
        disruption_budget,
    } = resources;
    [
        Some(serde_yaml::to_string(service_account)),
        Some(serde_yaml::to_string(config_map)),
        admin_secret.as_ref().map(serde_yaml::to_string),
        Some(serde_yaml::to_string(headless_service)),
        Some(serde_yaml::to_string(service)),
        Some(serde_yaml::to_string(stateful_set)),
        disruption_budget.as_ref().map(serde_yaml::to_string),
    ]
    .into_iter()
    .flatten()
    .map(Result::unwrap)
    .collect::<Vec<_>>()
    .join("---\n")
}

fn pod(resources: &Resources) -> &PodSpec {
    resources.stateful_set.spec.as_ref().unwrap().template.spec.as_ref().unwrap()
}

#[test]
fn a_minimal_server() {
    golden::check("minimal.yaml", &all(&build(&server("{}"))));
}

#[test]
fn a_full_server() {
    golden::check("full.yaml", &all(&build(&server(FULL))));
}

#[test]
fn an_ephemeral_server_has_no_claim() {
    let resources = build(&server("storage: {type: Ephemeral}"));
    assert_eq!(resources.stateful_set.spec.as_ref().unwrap().volume_claim_templates, None);
    let volumes = pod(&resources).volumes.as_ref().unwrap();
    let data = volumes.iter().find(|volume| volume.name == "data").unwrap();
    assert!(data.empty_dir.is_some());
}

#[test]
fn a_budget_exists_only_above_one_replica() {
    let mut server = server("{}");
    assert_eq!(build(&server).disruption_budget, None);
    server.replicas = 2;
    let budget = build(&server).disruption_budget.unwrap().spec.unwrap();
    assert_eq!(budget.unhealthy_pod_eviction_policy.as_deref(), Some("AlwaysAllow"));
}

#[test]
fn what_a_pod_reads_at_its_start_changes_the_hash() {
    let before = config_hash(&server(FULL));
    assert_eq!(before, config_hash(&server(FULL)));
    assert_ne!(before, config_hash(&server_with(FULL, &files("1"))), "an edited application");
    assert_ne!(before, config_hash(&server(&FULL.replace("8080", "8081"))), "the configuration");
    assert_ne!(before, config_hash(&server(&FULL.replace("web/index", "web/home"))), "a path");
}

#[test]
fn what_a_running_server_follows_does_not_change_the_hash() {
    let hash = |yaml: &str| config_hash(&server(yaml));
    let before = hash("{}");
    assert_eq!(before, hash("http: {timeout: 5000}"));
    assert_eq!(before, hash("{threads: {count: 3}, logging: {level: debug}}"));
    assert_eq!(before, hash("config: {threads: 2, query: {sortRecordsMax: 7}}"));
    assert_ne!(before, hash("config: {storage: {treesMax: 64}}"));
    assert_ne!(hash("http: {port: 8080, timeout: 1}"), hash("http: {port: 8081, timeout: 1}"));
    // the file is written all the same
    let written = build(&server("http: {timeout: 5000}")).config_map.data.unwrap();
    assert!(written[config_map::CONFIG_FILE].contains("timeout: 5000"), "{written:?}");
}

#[test]
fn another_image_is_not_trusted_to_follow_anything() {
    let hash = |yaml: &str| config_hash(&server(&format!("{{image: {{tag: old}}, {yaml}}}")));
    assert_ne!(hash("http: {timeout: 1}"), hash("http: {timeout: 2}"));
}

#[test]
fn the_admin_port_is_on_no_service() {
    for yaml in ["{}", FULL] {
        let server = server(yaml);
        let resources = build(&server);
        for service in [&resources.service, &resources.headless_service] {
            let ports = service.spec.as_ref().unwrap().ports.as_ref().unwrap();
            let ports: Vec<_> = ports.iter().map(|port| port.port).collect();
            assert_eq!(ports, [i32::from(server.config.http_port)]);
        }
    }
}

#[test]
fn no_file_is_mounted_with_a_sub_path() {
    for yaml in ["{}", FULL] {
        for mount in pod(&build(&server(yaml))).containers[0].volume_mounts.as_ref().unwrap() {
            assert_eq!(mount.sub_path, None);
        }
    }
}

#[test]
fn the_password_is_not_built() {
    let secret = build(&server("{}")).admin_secret.unwrap();
    assert_eq!(secret.string_data.unwrap().into_keys().collect::<Vec<_>>(), ["username"]);
    assert!(build(&server(FULL)).admin_secret.is_none());
}

#[test]
fn missing_requests_are_filled_in() {
    let resources = |yaml: &str| {
        let resources = build(&server(&format!("resources: {yaml}")));
        let resources = pod(&resources).containers[0].resources.clone().unwrap();
        let text = |all: Option<BTreeMap<String, Quantity>>| -> Vec<String> {
            all.into_iter().flatten().map(|(name, amount)| format!("{name} {}", amount.0)).collect()
        };
        text(resources.requests)
    };
    assert_eq!(resources("{}"), ["cpu 100m", "memory 128Mi"]);
    assert_eq!(resources("{requests: {cpu: 2}}"), ["cpu 2", "memory 128Mi"]);
    assert_eq!(resources("{limits: {memory: 64Mi}}"), ["cpu 100m"], "the limit is the request");
}

#[test]
fn a_secret_made_again_rolls_the_pods() {
    let mut set = build(&server("{}")).stateful_set;
    let before = set.clone();
    restart_for_secret(&mut set, None);
    assert_eq!(set, before);
    restart_for_secret(&mut set, Some("uid-2"));
    assert_ne!(set.spec.unwrap().template, before.spec.unwrap().template);
}
