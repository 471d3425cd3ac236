//! Whether a JSON value has its attribute's type. Nothing is coerced: `"5"` is no number.

use crate::date;
use crate::json::{self, Elements, Members};
use crate::key::{self, INT_MAX, INTEGER_MAX};
use crate::schema::{Attribute, Kind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Digits that a big integer may have.
pub(crate) const BIG_DIGITS_MAX: usize = 300;
/// The farthest time from 1970, in milliseconds, that a number may stand for.
const DATE_MS_MAX: f64 = 8.64e15;

/// Sentences that are told at once.
pub(crate) const VIOLATIONS_MAX: usize = 100;

/// Adds a sentence for each way in which `raw`, the compact value of the property `name`, does not
/// fit, until there are [`VIOLATIONS_MAX`].
pub(crate) fn check(
    kind: &Kind,
    required: bool,
    name: &str,
    raw: &str,
    violations: &mut Vec<String>,
) {
    if raw == "null" {
        if required {
            violations.push(missing(name));
        }
        return;
    }
    let expected = match kind {
        Kind::Any => return,
        Kind::Array(_) | Kind::Object(_) => return check_nested(kind, name, raw, violations),
        Kind::String => (!raw.starts_with('"')).then_some("a string"),
        Kind::Id => {
            let fits = raw.starts_with('"') || key::integer(raw, INTEGER_MAX).is_some();
            (!fits).then_some("a string or a whole number")
        }
        Kind::Int => key::integer(raw, INT_MAX)
            .is_none()
            .then_some("a whole number between -2147483648 and 2147483648"),
        Kind::Long => key::integer(raw, INTEGER_MAX)
            .is_none()
            .then_some("a whole number between -9007199254740992 and 9007199254740992"),
        Kind::Float => {
            let fits = json::number(raw.as_bytes()).is_some_and(f64::is_finite);
            (!fits).then_some("a number")
        }
        Kind::BigInt => (!is_big_integer(raw)).then_some("a whole number of at most 300 digits"),
        Kind::Boolean => (raw != "true" && raw != "false").then_some("a boolean"),
        Kind::Date => {
            date_ms(raw).is_none().then_some("a date in RFC 3339 or milliseconds since 1970")
        }
        Kind::Bytes => (!is_base64(raw)).then_some("a string in base64"),
        Kind::Blob => (!is_base64(raw) && !is_content(raw))
            .then_some("a string in base64, or an object with contentType and data"),
    };
    if let Some(expected) = expected {
        violations.push(mismatch(name, raw, expected));
    }
}

/// The sentence for a property that has no value.
pub(crate) fn missing(name: &str) -> String {
    format!("Property {name} is required")
}

/// The sentence for a value of another type.
pub(crate) fn mismatch(name: &str, raw: &str, expected: &str) -> String {
    let shown = json::shortened(raw);
    let more = if shown.len() < raw.len() { "…" } else { "" };
    format!("Value {shown}{more} in property {name} must be {expected}")
}

/// The sentence for a property that a sealed table does not have.
pub(crate) fn not_allowed(name: &str) -> String {
    format!("Property {name} is not allowed")
}

/// Milliseconds since 1970 of a JSON value of type Date.
pub(crate) fn date_ms(raw: &str) -> Option<f64> {
    if raw.starts_with('"') {
        return date::parse(&json::string(raw.as_bytes())?).map(|ms| ms as f64);
    }
    json::number(raw.as_bytes()).filter(|ms| ms.abs() <= DATE_MS_MAX)
}

/// Whether the text is a whole number in decimals that can be stored as `BigInt`.
pub(crate) fn is_big_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (1..=BIG_DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'))
}

/// Bytes with their media type.
fn is_content(raw: &str) -> bool {
    let Ok(json::Object(members)) = json::object(raw.as_bytes()) else { return false };
    members.len() == 2
        && members.iter().all(|(name, value)| match &**name {
            "contentType" => {
                json::string(value.get().as_bytes()).is_some_and(|name| is_media_type(&name))
            }
            "data" => is_base64(value.get()),
            _ => false,
        })
}

/// Whether text looks like a media type, `type/subtype` with parameters, and can stand in a header.
fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim();
    let is_token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let is_visible = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    is_visible && essence.split_once('/').is_some_and(|(a, b)| is_token(a) && is_token(b))
}

fn is_base64(raw: &str) -> bool {
    json::string(raw.as_bytes()).is_some_and(|text| STANDARD.decode(text.as_bytes()).is_ok())
}

fn check_nested(kind: &Kind, name: &str, raw: &str, violations: &mut Vec<String>) {
    match kind {
        Kind::Array(element) if raw.starts_with('[') => {
            for (at, raw) in Elements::of(raw.as_bytes()).enumerate() {
                if violations.len() >= VIOLATIONS_MAX {
                    return;
                }
                let name = format!("{name}[{at}]");
                check(&element.kind, element.required, &name, text(raw), violations);
            }
        }
        Kind::Array(_) => violations.push(mismatch(name, raw, "an array")),
        Kind::Object(attributes) if raw.starts_with('{') => {
            check_members(attributes, name, raw, violations);
        }
        Kind::Object(_) => violations.push(mismatch(name, raw, "an object")),
        _ => {}
    }
}

fn check_members(
    attributes: &[Attribute],
    outer: &str,
    object: &str,
    violations: &mut Vec<String>,
) {
    let mut values = vec![None; attributes.len()];
    for (name, value) in Members::of(object.as_bytes()) {
        let name = json::unescaped(name);
        if let Some(at) = attributes.iter().position(|attribute| attribute.name == name) {
            values[at] = Some(value);
        }
    }
    for (Attribute { name, kind, required, .. }, value) in attributes.iter().zip(values) {
        let path = format!("{outer}.{name}");
        match value {
            Some(raw) => check(kind, *required, &path, text(raw), violations),
            None if *required => violations.push(missing(&path)),
            None => {}
        }
    }
}

/// A part of a text between tokens, which is text.
fn text(part: &[u8]) -> &str {
    str::from_utf8(part).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Element;

    fn sentences(kind: &Kind, raw: &str) -> Vec<String> {
        let mut violations = Vec::new();
        check(kind, true, "p", raw, &mut violations);
        violations
    }

    #[test]
    fn each_type_takes_its_values_and_no_others() {
        let cases: [(Kind, &[&str], &[&str]); 10] = [
            (Kind::String, &["\"\""], &["5", "true", "[]", "null"]),
            (Kind::Id, &["\"a\"", "5"], &["5.5", "true", "{}"]),
            (Kind::Int, &["5", "-2147483648", "1e3", "5.0"], &["5.5", "2147483649", "\"5\""]),
            (Kind::Long, &["9007199254740992"], &["9007199254740993", "1e16", "\"5\""]),
            (Kind::Float, &["1.5", "0"], &["1e999", "\"1.5\""]),
            (Kind::BigInt, &["123456789012345678901234567890"], &["\"1\"", "1.0", "1e3"]),
            (Kind::Boolean, &["true"], &["1", "\"true\""]),
            (
                Kind::Date,
                &["\"2016-01-01\"", "1460000000000", "\"2016-01-01T00:00:00Z\""],
                &["\"x\"", "true", "9e15"],
            ),
            (Kind::Bytes, &["\"aGk=\"", "\"\""], &["\"aGk\"", "\"?\"", "1"]),
            (Kind::Any, &["1", "{}", "\"x\""], &["null"]),
        ];
        for (kind, good, bad) in cases {
            for raw in good {
                assert_eq!(sentences(&kind, raw), Vec::<String>::new(), "{kind:?}");
            }
            for raw in bad {
                assert_eq!(sentences(&kind, raw).len(), 1, "{kind:?} {raw}");
            }
        }
    }

    #[test]
    fn sentences_tell_property_and_value() {
        assert_eq!(sentences(&Kind::String, "5"), ["Value 5 in property p must be a string"]);
        assert_eq!(sentences(&Kind::String, "null"), ["Property p is required"]);
        let long = format!("\"{}\"", "é".repeat(100));
        let sentence = &sentences(&Kind::Boolean, &long)[0];
        assert_eq!(
            sentence,
            &format!("Value \"{}… in property p must be a boolean", "é".repeat(59))
        );
    }

    #[test]
    fn no_more_sentences_are_made_than_anybody_reads() {
        let array = Kind::Array(Box::new(Element { kind: Kind::Int, required: true }));
        let nested = Kind::Array(Box::new(Element { kind: array.clone(), required: true }));
        let wrong = format!("[{}]", vec!["null"; 1000].join(","));
        assert_eq!(sentences(&array, &wrong).len(), VIOLATIONS_MAX);
        assert_eq!(sentences(&nested, &format!("[{wrong},{wrong}]")).len(), VIOLATIONS_MAX);
    }

    #[test]
    fn arrays_and_objects_are_checked_inside() {
        let array = Kind::Array(Box::new(Element { kind: Kind::Int, required: true }));
        let found = sentences(&array, "[1,\"a\",null]");
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], "Property p[2] is required");
        assert_eq!(sentences(&array, "5"), ["Value 5 in property p must be an array"]);
        let street = Attribute { required: true, ..Attribute::new("street", Kind::String) };
        let object = Kind::Object(vec![street]);
        assert_eq!(sentences(&object, "{\"town\":1}"), ["Property p.street is required"]);
        assert_eq!(sentences(&object, "{\"street\":\"a\",\"town\":1}"), Vec::<String>::new());
    }
}
