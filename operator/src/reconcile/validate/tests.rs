use super::*;
use crate::reconcile::dereference::ConfigMapContent;
use serde_json::json;
use std::sync::Arc;

fn identity() -> Identity {
    let owner = serde_json::from_value(json!({
        "apiVersion": "harper.dev/v1alpha1", "kind": "HarperServer", "name": "cities", "uid": "uid-1",
        "controller": true,
    }));
    Identity { name: "cities".to_owned(), namespace: "demo".to_owned(), owner: owner.unwrap() }
}

fn dereferenced() -> Dereferenced {
    let content = |keys: &[&str]| {
        let pairs = keys.iter().map(|key| ((*key).to_owned(), format!("hash of {key}")));
        Some(Arc::new(pairs.collect::<ConfigMapContent>()))
    };
    Dereferenced {
        config_maps: BTreeMap::from([
            ("files".to_owned(), content(&["config.yaml", "schema.graphql"])),
            ("empty".to_owned(), content(&[])),
            ("gone".to_owned(), None),
        ]),
    }
}

fn check(yaml: &str) -> Result<ValidatedServer, Refusal> {
    let spec: HarperServerSpec = serde_yaml::from_str(yaml).unwrap();
    validate(identity(), &spec, &dereferenced(), "harper-server:1")
}

/// The reason and message of a refusal.
fn refusal(yaml: &str) -> (Reason, String) {
    let Refusal { reason, message } = check(yaml).unwrap_err();
    (reason, message)
}

#[test]
fn an_empty_spec_renders_nothing() {
    let server = check("{}").unwrap();
    assert_eq!(server.config.text, "");
    assert_eq!((server.config.http_port, server.config.admin_port), (9926, 9464));
    assert_eq!(server.image.reference, "harper-server:1");
    assert_eq!(server.admin, AdminSecret::Created("cities-admin".to_owned()));
}

#[test]
fn typed_fields_win_over_free_ones() {
    let server = check(
        r#"
        http: {port: 8000, cors: false}
        threads: {count: 2}
        logging: {level: info}
        config:
          http: {port: 1, bodyBytesMax: 1000}
          threads: 7
          query: {sortRecordsMax: 5}
        "#,
    )
    .unwrap();
    let (config, problems) = harper_config::from_text(&server.config.text);
    let config = config.unwrap();
    assert_eq!(problems, []);
    assert_eq!(config.http.port.unwrap().port, 8000);
    assert_eq!(config.http.body_bytes_max, 1000);
    assert!(!config.http.cors.enabled);
    assert_eq!(config.threads.count, Some(2));
    assert_eq!(config.logging.level, "info");
    assert_eq!(config.query.sort_records_max, 5);
    assert_eq!(server.config.http_port, 8000);
}

#[test]
fn every_typed_key_is_known_to_the_server() {
    let server = check(
        r#"
        http: {port: 8000, compressionThreshold: 0, cors: true, corsAccessList: ["https://a.example"],
               timeout: 1, headersTimeout: 2, keepAliveTimeout: 3, maxHeaderSize: 20000}
        threads: {count: auto}
        logging: {level: notify, format: json}
        components: [{name: app, configMapRef: {name: files}}]
        "#,
    )
    .unwrap();
    assert_eq!(server.config.warnings, Vec::<String>::new(), "{}", server.config.text);
}

#[test]
fn a_bad_configuration_is_refused_with_every_sentence() {
    let (reason, message) = refusal("config: {http: {prot: 1, port: many}}");
    assert_eq!(reason, Reason::ConfigInvalid);
    assert!(message.contains("http.prot: unknown key (did you mean http.port?)"), "{message}");
    assert!(message.contains("http.port: "), "{message}");
    assert!(!message.contains("harperdb-config.yaml"), "{message}");
}

#[test]
fn a_key_without_effect_is_a_warning() {
    let server = check("config: {localStudio: {enabled: true}}").unwrap();
    assert_eq!(server.config.warnings.len(), 1, "{:?}", server.config.warnings);
}

#[test]
fn the_operators_own_keys_are_refused() {
    let expected = "config.rootPath: set by the operator, remove it";
    assert_eq!(refusal("config: {rootPath: /x}"), (Reason::ConfigInvalid, expected.to_owned()));
    assert!(check("config: {componentsRoot: /x}").is_ok());
    let with_components = "
        config: {componentsRoot: /x}
        components: [{name: app, configMapRef: {name: files}}]";
    assert_eq!(refusal(with_components).0, Reason::ConfigInvalid);
}

#[test]
fn listeners_must_be_reachable() {
    for config in [
        "http: {port: null}",
        "http: {port: 'localhost:9926'}",
        "http: {port: '127.0.0.1:9926'}",
        "admin: {port: null}",
        "admin: {port: 9926}",
    ] {
        let (reason, message) = refusal(&format!("config: {{{config}}}"));
        assert_eq!(reason, Reason::ConfigInvalid, "{config}: {message}");
    }
}

#[test]
fn more_than_one_replica_is_refused() {
    let (reason, message) = refusal("replicas: 2");
    assert_eq!(reason, Reason::ReplicasUnsupported);
    assert!(message.contains("spec.replicas is 2"), "{message}");
    assert!(check("replicas: 0").is_ok());
}

#[test]
fn components_become_files() {
    let server = check(
        "
        components:
        - {name: all, configMapRef: {name: files}}
        - {name: one, configMapRef: {name: files, items: [{key: config.yaml, path: a/b.yaml}]}}",
    )
    .unwrap();
    let paths = |index: usize| -> Vec<_> {
        server.components[index].files.iter().map(|file| file.path.as_str()).collect()
    };
    assert_eq!(paths(0), ["config.yaml", "schema.graphql"]);
    assert_eq!(paths(1), ["a/b.yaml"]);
    assert!(server.config.text.contains("componentsRoot: /etc/harper/components"));
}

#[test]
fn components_that_cannot_be_mounted_are_refused() {
    let one = |reference: &str| {
        refusal(&format!("components: [{{name: app, configMapRef: {reference}}}]"))
    };
    let item = |items: &str| one(&format!("{{name: files, items: [{items}]}}"));
    assert_eq!(one("{name: gone}").0, Reason::ComponentNotFound);
    assert_eq!(one("{name: empty}").0, Reason::ComponentKeyNotFound);
    assert_eq!(item("{key: nope}").0, Reason::ComponentKeyNotFound);
    for path in ["../x", "/x", "a//b", "a/./b", "a/../b", "a/"] {
        let (reason, message) = item(&format!("{{key: config.yaml, path: '{path}'}}"));
        assert_eq!(reason, Reason::SpecInvalid, "{path}: {message}");
    }
    let twice = "{key: config.yaml, path: x}, {key: schema.graphql, path: x}";
    assert_eq!(item(twice).0, Reason::SpecInvalid);
    let nested = "{key: config.yaml, path: x}, {key: schema.graphql, path: x/y}";
    assert_eq!(item(nested).0, Reason::SpecInvalid);
    let named_twice = "components: [{name: a, configMapRef: {name: files}}, {name: a, configMapRef: {name: files}}]";
    assert_eq!(refusal(named_twice).0, Reason::SpecInvalid);
}

#[test]
fn the_users_secret_is_used() {
    let server = check("admin: {secretRef: {name: mine}}").unwrap();
    assert_eq!(server.admin, AdminSecret::Existing("mine".to_owned()));
}

proptest::proptest! {
    #[test]
    fn no_path_leaves_its_component(path in "[./a]{1,12}") {
        let content = ConfigMapContent::from([("k".to_owned(), "h".to_owned())]);
        let dereferenced = Dereferenced {
            config_maps: BTreeMap::from([("m".to_owned(), Some(Arc::new(content)))]),
        };
        let component: crate::crd::Component = serde_json::from_value(json!({
            "name": "app", "configMapRef": {"name": "m", "items": [{"key": "k", "path": path}]},
        })).unwrap();
        if let Ok(components) = components::resolve(&[component], &dereferenced) {
            let path = std::path::Path::new(&components[0].files[0].path);
            let normal = |part| matches!(part, std::path::Component::Normal(_));
            proptest::prop_assert!(path.components().all(normal), "{}", path.display());
        }
    }
}
