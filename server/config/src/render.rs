//! Values → the text of a configuration file. The operator writes with this what the server reads.

use crate::keys;
use crate::problem::{Problem, Severity};
use crate::table::KEYS;
use serde_json::{Map, Value};

/// Writes a configuration file with these dotted keys and nothing else, in the order of the table.
///
/// # Errors
/// Every key that is unknown and every value that the server would refuse.
pub fn render(entries: &[(String, Value)]) -> Result<String, Vec<Problem>> {
    let mut flat: Vec<(String, Value)> = Vec::new();
    for (name, value) in entries {
        spread(name, value, &mut flat);
    }
    flat.sort_by_key(|(name, _)| {
        KEYS.iter().position(|key| keys::find(name).is_some_and(|found| found.name == key.name))
    });
    let mut root = Value::Object(Map::new());
    for (name, value) in &flat {
        insert(&mut root, &name.split('.').collect::<Vec<_>>(), value.clone());
    }
    let text = serde_yaml::to_string(&root).unwrap_or_default();
    let text = if flat.is_empty() { String::new() } else { text };
    let problems: Vec<_> = unknown(&flat).chain(refused(&text)).collect();
    if problems.is_empty() { Ok(text) } else { Err(problems) }
}

/// A nested object as dotted entries. Values of keys that hold structure stay whole.
#[must_use]
pub fn flatten(object: &Value) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    spread("", object, &mut flat);
    flat
}

fn spread(name: &str, value: &Value, into: &mut Vec<(String, Value)>) {
    let nested = name.is_empty() || keys::is_section(name);
    match value {
        // an empty mapping may be all that switches something on
        Value::Object(members) if nested && !members.is_empty() => {
            for (member, value) in members {
                let path =
                    if name.is_empty() { member.clone() } else { format!("{name}.{member}") };
                spread(&path, value, into);
            }
        }
        _ => into.push((name.to_owned(), value.clone())),
    }
}

fn insert(node: &mut Value, path: &[&str], value: Value) {
    let Value::Object(members) = node else { return };
    match path {
        [] => {}
        [last] => {
            members.insert((*last).to_owned(), value);
        }
        [first, rest @ ..] => {
            let child =
                members.entry((*first).to_owned()).or_insert_with(|| Value::Object(Map::new()));
            insert(child, rest, value);
        }
    }
}

fn unknown(flat: &[(String, Value)]) -> impl Iterator<Item = Problem> {
    flat.iter().filter(|(name, _)| keys::find(name).is_none()).map(|(name, _)| Problem {
        severity: Severity::Error,
        key: name.clone(),
        origin: "spec".to_owned(),
        message: "unknown key".to_owned(),
        hint: keys::nearest(name).map(|known| format!("did you mean {known}?")).unwrap_or_default(),
    })
}

fn refused(text: &str) -> impl Iterator<Item = Problem> {
    let problems = crate::from_text(text).1;
    problems.into_iter().filter(|problem| problem.severity == Severity::Error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_renders_nothing() {
        assert_eq!(render(&[]).unwrap(), "");
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let entries = [
            ("threads.count".to_owned(), json!(3)),
            ("http.port".to_owned(), json!(8080)),
            ("http.corsAccessList".to_owned(), json!(["https://a.example"])),
            ("http".to_owned(), json!({"logging": {"timing": true}})),
        ];
        let text = render(&entries).unwrap();
        assert!(text.starts_with("http:"), "{text}");
        let config = crate::from_text(&text).0.unwrap();
        assert_eq!(config.http.port.unwrap().port, 8080);
        assert_eq!(config.threads.count, Some(3));
        assert_eq!(config.http.cors.access_list.unwrap(), ["https://a.example"]);
        assert!(config.http.logging.unwrap().timing);
    }

    #[test]
    fn unknown_keys_and_bad_values_are_refused() {
        let entries = [("http.prot".to_owned(), json!(1)), ("http.port".to_owned(), json!("x"))];
        let problems = render(&entries).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn an_object_flattens_to_dotted_keys() {
        let flat =
            flatten(&json!({"http": {"port": 1}, "mqtt": {"network": null}, "rootPath": "/x"}));
        assert_eq!(
            flat,
            [
                ("http.port".to_owned(), json!(1)),
                ("mqtt.network".to_owned(), json!(null)),
                ("rootPath".to_owned(), json!("/x")),
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn any_accepted_numbers_survive_the_round_trip(port: u16, bytes in 0u64..1 << 50, count in 1usize..1024) {
            let entries = [
                ("http.port".to_owned(), json!(port)),
                ("http.bodyBytesMax".to_owned(), json!(bytes)),
                ("threads.count".to_owned(), json!(count)),
            ];
            let config = crate::from_text(&render(&entries).unwrap()).0.unwrap();
            proptest::prop_assert_eq!(config.http.port.unwrap().port, port);
            proptest::prop_assert_eq!(config.http.body_bytes_max as u64, bytes);
            proptest::prop_assert_eq!(config.threads.count, Some(count));
        }
    }
}
