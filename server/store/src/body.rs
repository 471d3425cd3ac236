//! A body from a client, checked and compacted away from the writer.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use memchr::memmem;
use serde_json::value::RawValue;

use crate::date;
use crate::error::{Error, Invalid};
use crate::json::{self, Elements, Members, Object};
use crate::key::Key;
use crate::layout;
use crate::record;
use crate::schema::{Attribute, Kind, Role, TableSchema};
use crate::validate;

/// From this many members on, names are looked up by hash.
const SCANNED_MEMBERS_MAX: usize = 32;

/// Elements that an indexed array may have: each takes an entry in the index.
const INDEXED_ELEMENTS_MAX: usize = 10_000;

/// Bytes that may be kept beside a record: its header counts them with 16 bits.
const EXTRA_BYTES_MAX: usize = 65_535;

/// What a time must be.
const TIME: &str = "a date in RFC 3339 or milliseconds since 1970";

/// A body that fits its table and waits to be written.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Members without the key and the timestamps, compact, with commas between them.
    pub(crate) rest: Vec<u8>,
    /// Escaped names of members whose number is to be added to the stored one.
    pub(crate) adds: Vec<Box<[u8]>>,
    /// Whether members that are not given keep their stored value.
    pub(crate) partial: bool,
    /// Creation time given by the client.
    pub(crate) created_ms: Option<u64>,
    /// How long the record is to live, instead of the table's time.
    pub(crate) lifetime_ms: Option<u64>,
    /// Flags of the record.
    pub(crate) flags: u8,
    /// At most [`EXTRA_BYTES_MAX`] bytes.
    pub(crate) extra: Bytes,
    key: Option<Key>,
}

impl Prepared {
    /// Checks and compacts a whole record.
    ///
    /// # Errors
    /// [`Invalid`], with a sentence for each value that does not fit the schema.
    pub fn put(schema: &TableSchema, body: &[u8]) -> Result<Prepared, Invalid> {
        Preparation::run(schema, body, false)
    }

    /// Checks and compacts the members to change. `{"attribute":{"__op__":"add","value":1}}` adds
    /// to the stored number.
    ///
    /// # Errors
    /// As [`Prepared::put`].
    pub fn patch(schema: &TableSchema, body: &[u8]) -> Result<Prepared, Invalid> {
        Preparation::run(schema, body, true)
    }

    /// Lets the record expire this many milliseconds after the write, if records of the table
    /// expire at all and this one has no time among its attributes.
    #[must_use]
    pub fn expiring_in(mut self, lifetime_ms: u64) -> Prepared {
        self.lifetime_ms = Some(lifetime_ms);
        self
    }

    /// The same body as the bytes of one content: the members `contentType` and `data` (base64) are the whole of it.
    #[must_use]
    pub fn as_content(mut self) -> Prepared {
        self.flags |= record::FLAG_CONTENT;
        self
    }

    /// Keeps something beside the record until it is written again, and tells it to subscribers.
    ///
    /// # Errors
    /// [`Invalid::ExtraTooLong`].
    pub fn with_extra(mut self, extra: Bytes) -> Result<Prepared, Invalid> {
        if extra.len() > EXTRA_BYTES_MAX {
            return Err(Invalid::ExtraTooLong { bytes: extra.len(), max: EXTRA_BYTES_MAX });
        }
        self.extra = extra;
        Ok(self)
    }

    pub(crate) fn extra_bytes(&self) -> u16 {
        u16::try_from(self.extra.len()).unwrap_or(u16::MAX)
    }

    /// Memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.rest.capacity() + self.extra.len()
    }

    /// The key that the body itself names, if any.
    pub fn key(&self) -> Option<Key> {
        self.key.clone()
    }

    /// Names of the attributes that the body writes, without the key and without times that the
    /// store writes itself.
    pub fn names<'a>(&'a self, schema: &'a TableSchema) -> impl Iterator<Item = Cow<'a, str>> {
        let written = Members::inside(&self.rest).map(|(name, _)| json::unescaped(name));
        let created = schema
            .attributes
            .iter()
            .filter(|attribute| attribute.role == Role::CreatedTime && self.created_ms.is_some());
        written.chain(created.map(|attribute| Cow::Borrowed(attribute.name.as_str())))
    }
}

struct Preparation<'s> {
    schema: &'s TableSchema,
    prepared: Prepared,
    violations: Vec<String>,
    /// Which attributes of the schema have a member.
    given: Vec<bool>,
}

impl<'s> Preparation<'s> {
    fn run(schema: &'s TableSchema, body: &[u8], partial: bool) -> Result<Prepared, Invalid> {
        let Object(members) = json::object(body)?;
        let prepared = Prepared {
            rest: Vec::with_capacity(body.len()),
            adds: Vec::new(),
            partial,
            created_ms: None,
            lifetime_ms: None,
            flags: 0,
            extra: Bytes::new(),
            key: None,
        };
        let given = vec![false; schema.attributes.len()];
        let mut preparation = Preparation { schema, prepared, violations: Vec::new(), given };
        for (name, raw) in last_values(members) {
            if preparation.violations.len() >= validate::VIOLATIONS_MAX {
                break;
            }
            preparation.member(&name, raw.get())?;
        }
        if !partial {
            preparation.require_all();
        }
        if preparation.violations.is_empty() {
            Ok(preparation.prepared)
        } else {
            Err(Invalid::Violations(preparation.violations))
        }
    }

    fn member(&mut self, name: &str, raw: &str) -> Result<(), Invalid> {
        let Some(at) = self.schema.attributes.iter().position(|a| a.name == name) else {
            if self.schema.sealed {
                self.violations.push(validate::not_allowed(name));
                return Ok(());
            }
            return self.plain(name, None, raw);
        };
        self.given[at] = true;
        let schema = self.schema;
        let attribute = &schema.attributes[at];
        if attribute.computed.is_some() {
            self.violations
                .push(format!("Computed property {name} may not be directly assigned a value"));
            return Ok(());
        }
        match attribute.role {
            Role::UpdatedTime => Ok(()),
            Role::CreatedTime => {
                self.created(name, raw);
                Ok(())
            }
            Role::Plain if at == schema.primary_key => self.key(name, raw),
            Role::ExpiresAt if !raw.starts_with(['{', 'n']) && validate::date_ms(raw).is_none() => {
                self.violations.push(validate::mismatch(name, raw, TIME));
                Ok(())
            }
            Role::Plain | Role::ExpiresAt => self.plain(name, Some(attribute), raw),
        }
    }

    fn key(&mut self, name: &str, raw: &str) -> Result<(), Invalid> {
        if raw == "null" {
            return Ok(());
        }
        match Key::from_json(self.schema, raw) {
            Ok(key) => self.prepared.key = Some(key),
            Err(Error::Invalid(invalid)) => return Err(invalid),
            Err(_) => {
                let kind = self.schema.key_attribute().kind.name();
                let expected = format!("a primary key of type {kind}");
                self.violations.push(validate::mismatch(name, raw, &expected));
            }
        }
        Ok(())
    }

    fn created(&mut self, name: &str, raw: &str) {
        if raw == "null" {
            return;
        }
        let ms = validate::date_ms(raw).filter(|ms| (0.0..=date::MS_MAX as f64).contains(ms));
        match ms {
            Some(ms) => self.prepared.created_ms = Some(ms as u64),
            None => {
                self.violations.push(validate::mismatch(name, raw, TIME));
            }
        }
    }

    fn plain(
        &mut self,
        name: &str,
        attribute: Option<&Attribute>,
        raw: &str,
    ) -> Result<(), Invalid> {
        if self.prepared.partial
            && let Some(operation) = Increment::parse(raw)
        {
            return self.increment(name, attribute, raw, &operation);
        }
        let indexed = attribute.is_some_and(|attribute| attribute.indexed);
        let Some(value) = self.push(name, raw)? else { return Ok(()) };
        if let Some(Attribute { kind, required, .. }) = attribute {
            // what was text and has lost nothing but white space is text
            let compact = str::from_utf8(&self.prepared.rest[value..]).unwrap_or(raw);
            validate::check(kind, *required, name, compact, &mut self.violations);
        }
        if self.prepared.partial && has_operation(&self.prepared.rest[value..]) {
            self.violations.push(format!(
                "Property {name} has an __op__ inside its value: only an attribute of the record \
                 itself can be added to"
            ));
        }
        let elements = Elements::of(&self.prepared.rest[value..]);
        if indexed && elements.take(INDEXED_ELEMENTS_MAX + 1).count() > INDEXED_ELEMENTS_MAX {
            self.violations.push(format!(
                "Property {name} is indexed and can have at most {INDEXED_ELEMENTS_MAX} elements"
            ));
        }
        Ok(())
    }

    fn increment(
        &mut self,
        name: &str,
        attribute: Option<&Attribute>,
        raw: &str,
        operation: &Increment<'_>,
    ) -> Result<(), Invalid> {
        let kind = attribute.map_or(&Kind::Any, |attribute| &attribute.kind);
        let &Increment::Add(value) = operation else {
            let expected = "an increment such as {\"__op__\":\"add\",\"value\":1}";
            self.violations.push(validate::mismatch(name, raw, expected));
            return Ok(());
        };
        let counts =
            matches!(kind, Kind::Int | Kind::Long | Kind::Float | Kind::BigInt | Kind::Any)
                && json::number(value.as_bytes()).is_some_and(f64::is_finite);
        if counts {
            validate::check(kind, true, name, value, &mut self.violations);
        } else {
            let expected = "a number that can be added to one";
            self.violations.push(validate::mismatch(name, raw, expected));
        }
        self.prepared.adds.push(json::escaped(name));
        self.push(name, value).map(|_| ())
    }

    /// Appends a member and returns where its compact value begins; nothing where that cannot be stored.
    fn push(&mut self, name: &str, raw: &str) -> Result<Option<usize>, Invalid> {
        let rest = &mut self.prepared.rest;
        if !rest.is_empty() {
            rest.push(b',');
        }
        layout::push_member(rest, &json::escaped(name), b"");
        let value = rest.len();
        match json::push_compact(rest, raw, 1) {
            Ok(()) => Ok(Some(value)),
            Err(Invalid::NumberRange { number }) => {
                self.violations.push(validate::mismatch(name, &number, "a number in range"));
                Ok(None)
            }
            Err(invalid) => Err(invalid),
        }
    }

    fn require_all(&mut self) {
        for (at, attribute) in self.schema.attributes.iter().enumerate() {
            let from_client = at != self.schema.primary_key && !attribute.role.is_stores();
            if from_client && attribute.required && !self.given[at] {
                self.violations.push(validate::missing(&attribute.name));
            }
        }
    }
}

/// Whether a compact value has an object with a member named `__op__` in it. A quote within a text
/// is escaped, so that these bytes can only be the beginning of a member.
fn has_operation(value: &[u8]) -> bool {
    let member = b"\"__op__\":";
    memmem::find_iter(value, member).any(|at| at > 0 && matches!(value[at - 1], b'{' | b','))
}

/// A change relative to the stored value.
enum Increment<'a> {
    Add(&'a str),
    Unknown,
}

impl<'a> Increment<'a> {
    /// `None` if the value is an ordinary one.
    fn parse(raw: &'a str) -> Option<Increment<'a>> {
        if !raw.starts_with('{') || !raw.contains("__op__") {
            return None;
        }
        let Object(members) = json::object(raw.as_bytes()).ok()?;
        let member = |wanted: &str| {
            members.iter().rev().find(|(name, _)| name == wanted).map(|(_, raw)| raw.get())
        };
        let operation = member("__op__")?;
        match member("value") {
            Some(value) if operation == "\"add\"" => Some(Increment::Add(value)),
            _ => Some(Increment::Unknown),
        }
    }
}

/// Keeps the last value of each name, at the place of the first, as JavaScript does.
fn last_values<'a>(
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
) -> Vec<(Cow<'a, str>, &'a RawValue)> {
    if members.len() <= SCANNED_MEMBERS_MAX {
        let mut kept: Vec<(Cow<'a, str>, &'a RawValue)> = Vec::with_capacity(members.len());
        for (name, raw) in members {
            match kept.iter_mut().find(|(other, _)| *other == name) {
                Some(earlier) => earlier.1 = raw,
                None => kept.push((name, raw)),
            }
        }
        return kept;
    }
    let mut places: HashMap<Cow<'a, str>, usize> = HashMap::with_capacity(members.len());
    let mut kept: Vec<(Cow<'a, str>, &'a RawValue)> = Vec::with_capacity(members.len());
    for (name, raw) in members {
        match places.get(&name) {
            Some(&at) => kept[at].1 = raw,
            None => {
                places.insert(name.clone(), kept.len());
                kept.push((name, raw));
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(sealed: bool) -> TableSchema {
        let attribute = |name: &str, kind, required, role| Attribute {
            required,
            role,
            ..Attribute::new(name, kind)
        };
        TableSchema {
            sealed,
            ..TableSchema::new(
                "data",
                "Dog",
                vec![
                    attribute("id", Kind::Id, true, Role::Plain),
                    attribute("name", Kind::String, true, Role::Plain),
                    attribute("age", Kind::Int, false, Role::Plain),
                    attribute("made", Kind::Date, true, Role::CreatedTime),
                    attribute("changed", Kind::Long, true, Role::UpdatedTime),
                ],
            )
        }
    }

    fn rest(prepared: &Prepared) -> &str {
        std::str::from_utf8(&prepared.rest).unwrap()
    }

    fn violations(result: Result<Prepared, Invalid>) -> Vec<String> {
        match result {
            Err(Invalid::Violations(sentences)) => sentences,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_body_is_compacted_and_what_the_store_writes_is_taken_out() {
        let body = br#" { "name" : "Rex \n", "id": 7, "made":"2016-01-01", "changed": 1,
            "x": [ 1.50 , {"a" : null} ], "name": "Max" } "#;
        let prepared = Prepared::put(&schema(false), body).unwrap();
        assert_eq!(rest(&prepared), r#""name":"Max","x":[1.50,{"a":null}]"#);
        assert_eq!(prepared.key().unwrap().to_json(), "\"7\"");
        assert_eq!(prepared.created_ms, Some(1_451_606_400_000));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let result = Prepared::put(&schema(true), br#"{"id":true,"age":"5","extra":1,"made":"x"}"#);
        assert_eq!(
            violations(result),
            [
                "Value true in property id must be a primary key of type ID",
                "Value \"5\" in property age must be a whole number between -2147483648 and 2147483648",
                "Property extra is not allowed",
                "Value \"x\" in property made must be a date in RFC 3339 or milliseconds since 1970",
                "Property name is required",
            ]
        );
    }

    #[test]
    fn a_patch_need_not_have_all_but_no_null_where_one_is_required() {
        assert!(Prepared::patch(&schema(true), b"{}").is_ok());
        let result = Prepared::patch(&schema(true), br#"{"name":null}"#);
        assert_eq!(violations(result), ["Property name is required"]);
    }

    #[test]
    fn increments_are_for_numbers_only() {
        let add = |name: &str, value: &str| {
            let body = format!("{{\"{name}\":{{\"__op__\":\"add\",\"value\":{value}}}}}");
            Prepared::patch(&schema(false), body.as_bytes())
        };
        let prepared = add("age", "2").unwrap();
        assert_eq!(rest(&prepared), r#""age":2"#);
        assert_eq!(prepared.adds.len(), 1);
        assert!(add("free", "2.5").is_ok());
        for (name, value) in [("age", "2.5"), ("age", "\"2\""), ("name", "1"), ("age", "null")] {
            assert_eq!(violations(add(name, value)).len(), 1, "{name} {value}");
        }
        let body = br#"{"age":{"__op__":"multiply","value":2}}"#;
        assert_eq!(violations(Prepared::patch(&schema(false), body)).len(), 1);
    }

    #[test]
    fn an_operation_inside_a_value_is_refused() {
        let patch =
            |value: &str| Prepared::patch(&schema(false), format!("{{\"x\":{value}}}").as_bytes());
        for value in [
            r#"{"n": {"__op__": "add", "value": 1}}"#,
            r#"{"m": 1, "n": {"value": 1, "__op__": "add"}}"#,
            r#"[0, {"__op__": "add", "value": 1}]"#,
        ] {
            let sentences = violations(patch(value));
            assert!(sentences[0].starts_with("Property x has an __op__ inside"), "{sentences:?}");
        }
        for value in [r#""{\"__op__\":1}""#, r#"{"a\"__op__":1}"#, r#"["__op__",":"]"#] {
            assert!(patch(value).is_ok(), "{value}");
        }
        let body = br#"{"name":"a","x":{"n":{"__op__":"add"}}}"#;
        assert!(Prepared::put(&schema(false), body).is_ok(), "a PUT stores what it is given");
    }

    #[test]
    fn an_indexed_array_has_a_limit_and_another_has_none() {
        let array = |elements: usize| format!("[{}]", vec![" 1 "; elements].join(","));
        let mut schema = schema(false);
        schema.attributes.push(Attribute { indexed: true, ..Attribute::new("tags", Kind::Any) });
        let body = |name: &str, elements| {
            format!("{{\"name\":\"a\",\"{name}\":{}}}", array(elements)).into_bytes()
        };
        assert!(Prepared::put(&schema, &body("tags", INDEXED_ELEMENTS_MAX)).is_ok());
        assert!(Prepared::put(&schema, &body("more", INDEXED_ELEMENTS_MAX + 1)).is_ok());
        let expected = ["Property tags is indexed and can have at most 10000 elements"];
        let large = body("tags", INDEXED_ELEMENTS_MAX + 1);
        assert_eq!(violations(Prepared::put(&schema, &large)), expected);
        assert_eq!(violations(Prepared::patch(&schema, &large)), expected);
    }

    #[test]
    fn many_members_keep_the_last_value_too() {
        let members: Vec<String> = (0..100).map(|at| format!("\"m{}\":{at}", at % 50)).collect();
        let body = format!("{{\"name\":\"a\",{}}}", members.join(","));
        let prepared = Prepared::put(&schema(false), body.as_bytes()).unwrap();
        assert!(rest(&prepared).starts_with(r#""name":"a","m0":50,"m1":51,"#));
    }
}
