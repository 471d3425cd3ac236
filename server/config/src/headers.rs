//! Names and values of HTTP headers, and the security headers of answers.

use crate::value::text;
use serde_json::{Map, Value, json};

/// What `true` sends: nothing is embedded, guessed, or told to other sites. HSTS is sent over TLS alone
/// (RFC 6797 §7.2).
const SECURITY: [(&str, &str); 8] = [
    NOSNIFF,
    ("strict-transport-security", "max-age=31536000"),
    ("content-security-policy", "frame-ancestors 'none'"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// What is sent when nothing is configured: it cannot break an application, and stored bytes are never taken for a
/// script.
const NOSNIFF: (&str, &str) = ("x-content-type-options", "nosniff");

/// A token of RFC 9110 §5.6.2.
pub(crate) fn name(written: &Value) -> Result<Value, String> {
    text(written)
        .filter(|name| is_name(name))
        .map(Value::from)
        .ok_or_else(|| "expected the name of a header".into())
}

/// Visible ASCII and spaces.
pub(crate) fn value(written: &Value) -> Result<Value, String> {
    text(written)
        .filter(|value| is_value(value))
        .map(Value::from)
        .ok_or_else(|| "expected the value of a header, in ASCII".into())
}

fn is_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

fn is_value(value: &str) -> bool {
    value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) && value.trim() == value
}

/// The headers as one mapping from lower-case names: what `true` sends, changed by what is written.
pub(crate) fn security(written: &Value) -> Result<Value, String> {
    let all = || SECURITY.map(|(name, value)| (name.to_owned(), json!(value)));
    let mut headers = Map::new();
    match written {
        Value::Bool(false) => {}
        Value::String(word) if word == "false" => {}
        Value::Bool(true) => headers.extend(all()),
        Value::String(word) if word == "true" => headers.extend(all()),
        Value::Object(changes) => {
            headers.extend(all());
            for (name, value) in changes {
                change(&mut headers, name, value)?;
            }
        }
        _ => return Err("expected true, false, or a mapping of header names to values".into()),
    }
    Ok(Value::Object(headers))
}

fn change(headers: &mut Map<String, Value>, name: &str, value: &Value) -> Result<(), String> {
    let known = name.to_ascii_lowercase();
    if !is_name(name) {
        return Err(format!("`{name}` is not the name of a header"));
    }
    if value.is_null() {
        headers.remove(&known);
        return Ok(());
    }
    let value = self::value(value).map_err(|expected| format!("{name}: {expected}"))?;
    headers.insert(known, value);
    Ok(())
}

/// The headers of a mapping that [`security`] has made; the default ones when the key is unset.
pub(crate) fn security_pairs(value: &Value) -> Vec<(String, String)> {
    match value.as_object() {
        None => vec![(NOSNIFF.0.to_owned(), NOSNIFF.1.to_owned())],
        Some(headers) => headers
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_headers_are_the_default_all_none_or_changed_ones() {
        let pairs = |written: Value| security_pairs(&security(&written).unwrap());
        assert_eq!(security_pairs(&Value::Null), [(NOSNIFF.0.to_owned(), "nosniff".to_owned())]);
        assert_eq!(pairs(json!(false)), []);
        assert_eq!(pairs(json!("true")).len(), SECURITY.len());
        let changed =
            pairs(json!({"X-Frame-Options": null, "Referrer-Policy": "origin", "X-A": 1}));
        let value = |name: &str| changed.iter().find(|pair| pair.0 == name).map(|pair| &*pair.1);
        assert_eq!(changed.len(), SECURITY.len());
        assert_eq!(value("x-frame-options"), None);
        assert_eq!(value("referrer-policy"), Some("origin"));
        assert_eq!(value("x-a"), Some("1"));
        assert_eq!(value("x-content-type-options"), Some("nosniff"));
    }

    #[test]
    fn what_is_no_header_is_refused_with_its_name() {
        let refused = |written: Value| security(&written).unwrap_err();
        assert!(refused(json!({"a b": "c"})).contains("`a b`"));
        assert!(refused(json!({"a": "line\nbreak"})).starts_with("a: "));
        assert!(refused(json!(["a"])).contains("mapping"));
        assert!(value(&json!("caf\u{e9}")).is_err() && value(&json!(" a")).is_err());
        assert!(name(&json!("X Request")).unwrap_err().contains("name of a header"));
        assert!(name(&json!("X-Request-Id")).is_ok() && value(&json!("")).is_ok());
    }
}
