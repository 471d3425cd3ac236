//! A PATCH applied to a stored body, inside the write transaction.

use std::collections::{HashMap, HashSet};

use crate::body::Prepared;
use crate::error::{Error, Invalid};
use crate::json::{self, Members};
use crate::layout::{self, Layout};
use crate::schema::{Kind, TableSchema};
use crate::validate;

/// The members of the merged record, without those that the store writes itself. `stored` is the
/// whole stored body, `None` for a record that is made by the patch, which must then be complete.
///
/// # Errors
/// [`Invalid::Violations`] when a number cannot be added to, or a new record lacks an attribute.
pub(crate) fn merge(
    schema: &TableSchema,
    layout: &Layout,
    stored: Option<&[u8]>,
    patch: &Prepared,
) -> Result<Vec<u8>, Error> {
    let mut changes: HashMap<&[u8], &[u8]> = Members::inside(&patch.rest).collect();
    let adds: HashSet<&[u8]> = patch.adds.iter().map(|name| &**name).collect();
    let mut out = Vec::with_capacity(stored.map_or(0, <[u8]>::len) + patch.rest.len());
    let mut violations = Vec::new();
    for (name, value) in Members::of(stored.unwrap_or(b"{}")) {
        if layout.owns(name) {
            continue;
        }
        match changes.remove(name) {
            Some(change) if adds.contains(name) => {
                match add(kind_of(schema, name), Some(value), change) {
                    Ok(sum) => push(&mut out, name, sum.as_bytes()),
                    Err(reason) => violations.push(format!("Property {} {reason}", show(name))),
                }
            }
            Some(change) => push(&mut out, name, change),
            None => push(&mut out, name, value),
        }
    }
    for (name, value) in Members::inside(&patch.rest) {
        if changes.contains_key(name) {
            push(&mut out, name, value);
        }
    }
    if stored.is_none() {
        violations.extend(missing(schema, &out));
    }
    if violations.is_empty() { Ok(out) } else { Err(Invalid::Violations(violations).into()) }
}

fn push(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if !out.is_empty() {
        out.push(b',');
    }
    layout::push_member(out, name, value);
}

fn show(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn kind_of<'s>(schema: &'s TableSchema, escaped: &[u8]) -> &'s Kind {
    let quoted = [b"\"", escaped, b"\""].concat();
    let name = json::string(&quoted);
    let attribute = name.and_then(|name| schema.attribute(&name));
    attribute.map_or(&Kind::Any, |attribute| &attribute.kind)
}

/// The sum as JSON text; nothing stored, or null, counts as zero.
fn add(kind: &Kind, stored: Option<&[u8]>, change: &[u8]) -> Result<String, &'static str> {
    let change = std::str::from_utf8(change).map_err(|_| "is damaged")?;
    let stored = match stored {
        None | Some(b"null") => "0",
        Some(raw) => std::str::from_utf8(raw).map_err(|_| "is damaged")?,
    };
    let sum = match (stored.parse::<i128>(), change.parse::<i128>()) {
        (Ok(a), Ok(b)) => a.checked_add(b).ok_or("would grow out of range")?.to_string(),
        _ if *kind == Kind::BigInt => return Err("is too large to be added to"),
        _ => {
            let a = json::number(stored.as_bytes()).ok_or("is not a number")?;
            let b = json::number(change.as_bytes()).ok_or("is not a number")?;
            if !(a + b).is_finite() {
                return Err("would grow out of range");
            }
            json::number_text(a + b)
        }
    };
    let mut violations = Vec::new();
    validate::check(kind, true, "", &sum, &mut violations);
    if violations.is_empty() { Ok(sum) } else { Err("would grow out of range") }
}

/// Sentences for the required attributes that a new record's members lack.
fn missing(schema: &TableSchema, rest: &[u8]) -> Vec<String> {
    let key = schema.primary_key;
    let attributes = schema.attributes.iter().enumerate();
    let required = attributes.filter(|(at, a)| a.required && *at != key && !a.role.is_stores());
    let lacking = required.filter(|(_, attribute)| {
        let name = json::escaped(&attribute.name);
        !Members::inside(rest).any(|(member, value)| *member == *name && value != b"null")
    });
    lacking.map(|(_, attribute)| validate::missing(&attribute.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Attribute;

    fn schema() -> TableSchema {
        let attribute =
            |name: &str, kind, required| Attribute { required, ..Attribute::new(name, kind) };
        TableSchema::new(
            "data",
            "Dog",
            vec![
                attribute("id", Kind::Id, true),
                attribute("name", Kind::String, true),
                attribute("age", Kind::Int, false),
                attribute("big", Kind::BigInt, false),
            ],
        )
    }

    fn merged(stored: Option<&str>, patch: &str) -> Result<String, Error> {
        let schema = schema();
        let patch = Prepared::patch(&schema, patch.as_bytes())?;
        let layout = Layout::new(&schema);
        merge(&schema, &layout, stored.map(str::as_bytes), &patch)
            .map(|rest| String::from_utf8(rest).unwrap())
    }

    #[test]
    fn members_are_replaced_in_place_and_new_ones_put_last() {
        let stored = r#"{"id":"1","name":"Rex","age":3,"tags":["a"]}"#;
        let rest = merged(Some(stored), r#"{"x":1,"age":null,"tags":[],"id":"2"}"#).unwrap();
        assert_eq!(rest, r#""name":"Rex","age":null,"tags":[],"x":1"#);
    }

    #[test]
    fn numbers_are_added_to() {
        let add = |name: &str, value: &str| {
            format!("{{\"{name}\":{{\"__op__\":\"add\",\"value\":{value}}}}}")
        };
        let stored = r#"{"id":"1","name":"R","age":3,"f":0.5,"big":10000000000000000000000}"#;
        let sum = |name: &str, value: &str| merged(Some(stored), &add(name, value));
        assert!(sum("age", "-5").unwrap().contains("\"age\":-2"));
        assert!(sum("f", "1").unwrap().contains("\"f\":1.5"));
        assert!(sum("big", "1").unwrap().contains("\"big\":10000000000000000000001"));
        assert!(sum("new", "4").unwrap().ends_with("\"new\":4"));
        let error = sum("age", "2147483648").unwrap_err().to_string();
        assert_eq!(error, "Property age would grow out of range");
    }

    #[test]
    fn many_numbers_are_added_to_in_a_time_that_grows_with_them() {
        let text = |value: &str| {
            let members: Vec<_> = (0..40_000).map(|at| format!("\"m{at}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        };
        let schema = TableSchema::new("data", "T", vec![Attribute::new("id", Kind::Id)]);
        let patch = text(r#"{"__op__":"add","value":1}"#);
        let patch = Prepared::patch(&schema, patch.as_bytes()).unwrap();
        let (stored, layout) = (text("1"), Layout::new(&schema));
        let started = std::time::Instant::now();
        let rest = merge(&schema, &layout, Some(stored.as_bytes()), &patch).unwrap();
        // comparing each with each takes more than ten times as long
        assert!(started.elapsed().as_millis() < 2000, "{:?}", started.elapsed());
        assert!(rest.ends_with(b"\"m39999\":2"));
    }

    #[test]
    fn a_new_record_must_be_complete() {
        let error = merged(None, r#"{"age":1}"#).unwrap_err().to_string();
        assert_eq!(error, "Property name is required");
        assert_eq!(merged(None, r#"{"name":"a"}"#).unwrap(), r#""name":"a""#);
    }
}
