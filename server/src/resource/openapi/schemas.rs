//! JSON Schemas (draft 2020-12, which OpenAPI 3.1 takes) of records, by the types of their attributes.

use harper_store::{Attribute, Kind, Role, TableSchema};
use serde_json::{Map, Value, json};

/// What a schema is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Records as they are read.
    Read,
    /// Whole records as they are written.
    Write,
    /// Changes of records.
    Patch,
}

/// The schemas that every table shares.
pub(super) fn common() -> Map<String, Value> {
    let Value::Object(schemas) = json!({
        "Problem": {
            "type": "object",
            "description": "What went wrong (RFC 9457).",
            "required": ["type", "title", "status", "detail", "error"],
            "properties": {
                "type": {"type": "string", "description": "Names the kind of problem."},
                "title": {"type": "string"},
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "detail": {"type": "string"},
                "error": {"type": "string", "description": "The same sentence, where Harper's clients look for it."},
                "requestId": {"type": "string", "description": "By which the request is found in the logs."},
            },
        },
        "Description": {
            "type": "object",
            "description": "A table and its attributes.",
            "required": ["records", "name", "database", "attributes"],
            "properties": {
                "records": {"type": "string"},
                "name": {"type": "string"},
                "database": {"type": "string"},
                "attributes": {"type": "array", "items": {
                    "type": "object",
                    "required": ["name", "type"],
                    "properties": {
                        "name": {"type": "string"},
                        "type": {"type": "string"},
                        "isPrimaryKey": {"type": "boolean"},
                        "indexed": {"type": "object"},
                    },
                }},
            },
        },
        "Content": {
            "type": "object",
            "description": "Bytes with their media type.",
            "required": ["contentType", "data"],
            "properties": {
                "contentType": {"type": "string", "pattern": "^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+$"},
                "data": {"type": "string", "contentEncoding": "base64"},
            },
        },
        "Increment": {
            "type": "object",
            "description": "Adds to the stored number, atomically.",
            "required": ["__op__", "value"],
            "properties": {"__op__": {"const": "add"}, "value": {"type": "number"}},
        },
    }) else {
        return Map::new();
    };
    schemas
}

/// Adds the schemas of a table: `Name`, `NameInput`, `NamePatch` and `NameKey`.
pub(super) fn push(name: &str, schema: &TableSchema, schemas: &mut Map<String, Value>) {
    schemas.insert(name.to_owned(), record(schema, Use::Read));
    schemas.insert(format!("{name}Input"), record(schema, Use::Write));
    schemas.insert(format!("{name}Patch"), record(schema, Use::Patch));
    schemas.insert(format!("{name}Key"), key(&schema.key_attribute().kind));
}

/// The primary key as it is answered, and as it stands in a path.
pub(super) fn key(kind: &Kind) -> Value {
    match kind {
        Kind::Int | Kind::Long | Kind::Float => of(kind),
        Kind::Any => json!({"type": ["string", "number", "boolean"]}),
        _ => json!({"type": "string", "minLength": 1}),
    }
}

/// The value of an attribute in a query; none for types that are not compared.
pub(super) fn compared(kind: &Kind) -> Option<Value> {
    match kind {
        Kind::Bytes | Kind::Blob | Kind::Object(_) => None,
        Kind::Array(element) => compared(&element.kind),
        Kind::Any | Kind::Id => Some(json!({"type": "string"})),
        Kind::Date => Some(json!({"type": "string", "format": "date-time"})),
        kind => Some(of(kind)),
    }
}

fn record(schema: &TableSchema, purpose: Use) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (at, attribute) in schema.attributes.iter().enumerate() {
        let is_key = at == schema.primary_key;
        if attribute.computed.is_some() && purpose != Use::Read {
            continue;
        }
        if must_be_given(attribute, is_key, purpose) {
            required.push(json!(attribute.name));
        }
        properties.insert(attribute.name.clone(), property(attribute, is_key, purpose));
    }
    let mut object = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        object["required"] = Value::Array(required);
    }
    if schema.sealed {
        object["additionalProperties"] = json!(false);
    }
    object
}

fn must_be_given(attribute: &Attribute, is_key: bool, purpose: Use) -> bool {
    match purpose {
        Use::Read => is_key || attribute.required || attribute.role.is_stores(),
        Use::Write => attribute.required && !is_key && !attribute.role.is_stores(),
        Use::Patch => false,
    }
}

fn property(attribute: &Attribute, is_key: bool, purpose: Use) -> Value {
    if attribute.role.is_stores() {
        return time(attribute);
    }
    if is_key {
        // a path or the server may give it
        return if purpose == Use::Read {
            key(&attribute.kind)
        } else {
            nullable(of(&attribute.kind))
        };
    }
    let value = of(&attribute.kind);
    let mut value = if attribute.required { value } else { nullable(value) };
    if attribute.computed.is_some() {
        value["readOnly"] = json!(true);
    }
    let is_number = matches!(attribute.kind, Kind::Int | Kind::Long | Kind::Float | Kind::BigInt);
    if purpose == Use::Patch && is_number {
        return json!({"anyOf": [value, {"$ref": "#/components/schemas/Increment"}]});
    }
    value
}

/// A time that the server writes.
fn time(attribute: &Attribute) -> Value {
    let mut value = match attribute.kind {
        Kind::Date => json!({"type": "string", "format": "date-time"}),
        _ => json!({"type": "number", "description": "Milliseconds since 1970."}),
    };
    if attribute.role == Role::UpdatedTime {
        value["readOnly"] = json!(true);
    }
    value
}

fn nullable(schema: Value) -> Value {
    if schema == json!({}) {
        return schema;
    }
    match schema.get("type").cloned() {
        Some(Value::String(name)) => {
            let mut schema = schema;
            schema["type"] = json!([name, "null"]);
            schema
        }
        _ => json!({"anyOf": [schema, {"type": "null"}]}),
    }
}

/// A value of this type.
fn of(kind: &Kind) -> Value {
    match kind {
        Kind::String => json!({"type": "string"}),
        Kind::Int => json!({"type": "integer", "minimum": -(1_i64 << 31), "maximum": 1_i64 << 31}),
        Kind::Long => json!({
            "type": "integer",
            "format": "int64",
            "minimum": -(1_i64 << 53),
            "maximum": 1_i64 << 53,
        }),
        Kind::Float => json!({"type": "number", "format": "double"}),
        Kind::BigInt => json!({"type": "integer", "description": "At most 300 digits."}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Id => json!({"anyOf": [
            {"type": "string"},
            {"type": "integer", "minimum": -(1_i64 << 53), "maximum": 1_i64 << 53},
        ]}),
        Kind::Any => json!({}),
        Kind::Date => json!({"anyOf": [
            {"type": "string", "format": "date-time"},
            {"type": "string", "format": "date"},
            {"type": "number", "minimum": -8.64e15, "maximum": 8.64e15, "description": "Milliseconds since 1970."},
        ]}),
        Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Kind::Blob => json!({"anyOf": [
            {"type": "string", "contentEncoding": "base64"},
            {"$ref": "#/components/schemas/Content"},
        ]}),
        Kind::Array(element) => {
            let items = of(&element.kind);
            json!({"type": "array", "items": if element.required { items } else { nullable(items) }})
        }
        Kind::Object(attributes) => object(attributes),
    }
}

fn object(attributes: &[Attribute]) -> Value {
    let properties: Map<_, _> = attributes
        .iter()
        .map(|attribute| {
            let value = of(&attribute.kind);
            (attribute.name.clone(), if attribute.required { value } else { nullable(value) })
        })
        .collect();
    let required = attributes.iter().filter(|attribute| attribute.required);
    let required: Vec<_> = required.map(|attribute| &attribute.name).collect();
    let mut object = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_depends_on_the_use() {
        let attribute =
            |name: &str, required| Attribute { required, ..Attribute::new(name, Kind::String) };
        let changed = Attribute { role: Role::UpdatedTime, ..Attribute::new("at", Kind::Date) };
        let attributes = vec![
            Attribute::new("id", Kind::Id),
            attribute("a", true),
            attribute("b", false),
            changed,
        ];
        let schema = TableSchema { sealed: true, ..TableSchema::new("data", "T", attributes) };
        assert_eq!(record(&schema, Use::Read)["required"], json!(["id", "a", "at"]));
        assert_eq!(record(&schema, Use::Write)["required"], json!(["a"]));
        let patch = record(&schema, Use::Patch);
        assert_eq!(patch.get("required"), None);
        assert_eq!(patch["additionalProperties"], json!(false));
        assert_eq!(patch["properties"]["a"]["type"], json!("string"));
        assert_eq!(patch["properties"]["b"]["type"], json!(["string", "null"]));
        assert_eq!(patch["properties"]["at"]["readOnly"], json!(true));
    }
}
