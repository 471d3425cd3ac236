//! Which members of a body the store writes itself, and how, and which it never stores.

use crate::date;
use crate::json;
use crate::key::Key;
use crate::record::Meta;
use crate::schema::{Kind, Role, TableSchema};

/// The members that the store writes, the key, put first, and the timestamps, put last; and those
/// that it leaves out.
#[derive(Debug)]
pub(crate) struct Layout {
    key_name: Box<[u8]>,
    times: Vec<Time>,
    /// Of computed attributes, whose values are made when they are read.
    computed: Vec<Box<[u8]>>,
    /// Of the attribute that tells when a record expires.
    expires_name: Option<Box<[u8]>>,
}

#[derive(Debug)]
struct Time {
    name: Box<[u8]>,
    role: Role,
    as_text: bool,
}

impl Layout {
    pub(crate) fn new(schema: &TableSchema) -> Layout {
        let times = schema.attributes.iter().filter(|attribute| attribute.role.is_stores());
        let times = times.map(|attribute| Time {
            name: json::escaped(&attribute.name),
            role: attribute.role,
            as_text: attribute.kind == Kind::Date,
        });
        let computed = schema.attributes.iter().filter(|attribute| attribute.computed.is_some());
        let expires = schema.attributes.iter().find(|a| a.role == Role::ExpiresAt);
        Layout {
            key_name: json::escaped(&schema.key_attribute().name),
            times: times.collect(),
            computed: computed.map(|attribute| json::escaped(&attribute.name)).collect(),
            expires_name: expires.map(|attribute| json::escaped(&attribute.name)),
        }
    }

    /// Escaped name of the attribute that tells when a record expires, if there is one.
    pub(crate) fn expires_name(&self) -> Option<&[u8]> {
        self.expires_name.as_deref()
    }

    /// Whether the member of this escaped name is not one that a body brings: the store writes it,
    /// or never stores it, though it may have before the attribute was computed.
    pub(crate) fn owns(&self, name: &[u8]) -> bool {
        *self.key_name == *name
            || self.times.iter().any(|time| *time.name == *name)
            || self.computed.iter().any(|computed| **computed == *name)
    }

    /// Appends the whole body: the key, the members in `rest`, the timestamps.
    pub(crate) fn push_body(&self, out: &mut Vec<u8>, key: &Key, rest: &[u8], meta: &Meta) {
        out.push(b'{');
        push_member(out, &self.key_name, key.to_json().as_bytes());
        if !rest.is_empty() {
            out.push(b',');
            out.extend_from_slice(rest);
        }
        for Time { name, role, as_text } in &self.times {
            let ms = match role {
                Role::CreatedTime => meta.created_ms,
                _ => meta.updated_ms,
            };
            let value = if *as_text { json::quoted(&date::text(ms)) } else { ms.to_string() };
            out.push(b',');
            push_member(out, name, value.as_bytes());
        }
        out.push(b'}');
    }
}

/// Appends a member with an escaped name.
pub(crate) fn push_member(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(name);
    out.extend_from_slice(b"\":");
    out.extend_from_slice(value);
}
