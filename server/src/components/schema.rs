//! `schema.graphql` → tables. Every mistake is reported with file, line and column.

mod relationship;

use super::relations::{Declared, Relation};
use super::{computed, problem_at};
use async_graphql_parser::types::{
    BaseType, ConstDirective, FieldDefinition, ServiceDocument, Type, TypeDefinition, TypeKind,
    TypeSystemDefinition,
};
use async_graphql_parser::{Pos, Positioned};
use harper_config::{Place, Problem, Severity};
use harper_store::{Attribute, Computed, Element, Expiry, Kind, Role, TableSchema};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The longest lifetime of a record: a thousand years, in milliseconds.
const EXPIRY_MS_MAX: f64 = 3.2e13;
/// Nesting of types within types.
const DEPTH_MAX: usize = 8;
/// Directives of Harper on a type that are not supported yet.
const TYPE_LATER: [&str; 2] = ["splitSegments", "replicate"];
/// Directives of Harper on a field that are not supported yet.
const FIELD_LATER: [&str; 1] = ["embed"];

/// A table as a schema defines it.
#[derive(Clone, Debug)]
pub(crate) struct TableDefinition {
    /// The table.
    pub schema: TableSchema,
    /// The type's name, which may not be the table's.
    pub type_name: String,
    /// The relationships as they are written.
    pub(super) declared: Vec<Declared>,
    /// The relationships, once all types are known.
    pub relations: Vec<Relation>,
    /// Path under which it is served, if it is exported.
    pub path: Option<String>,
    /// The file of the definition.
    pub file: PathBuf,
    /// Where in the file.
    pub place: Place,
}

impl TableDefinition {
    /// The place of the definition, for messages.
    #[must_use]
    pub(crate) fn origin(&self) -> String {
        format!("{}:{}:{}", self.file.display(), self.place.line, self.place.column)
    }

    /// A problem at the definition.
    #[must_use]
    pub(crate) fn problem(&self, severity: Severity, message: String) -> Problem {
        problem_at(severity, &self.file, self.place, &self.schema.name, message)
    }
}

/// Reads the tables of one file.
pub(crate) fn parse(file: &Path, text: &str, problems: &mut Vec<Problem>) -> Vec<TableDefinition> {
    match async_graphql_parser::parse_schema(text) {
        Ok(document) => Reader::new(file, &document, problems).tables(),
        Err(error) => {
            let place = error.positions().next().map_or(Place::default(), place);
            let sentence = error.to_string();
            let sentence = sentence
                .lines()
                .last()
                .unwrap_or_default()
                .trim()
                .trim_start_matches("= ")
                .to_owned();
            problems.push(problem_at(Severity::Error, file, place, "", sentence));
            Vec::new()
        }
    }
}

fn place(pos: Pos) -> Place {
    Place { line: pos.line as u64, column: pos.column as u64 }
}

struct Reader<'a> {
    file: &'a Path,
    types: Vec<&'a Positioned<TypeDefinition>>,
    by_name: HashMap<&'a str, &'a TypeDefinition>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn new(file: &'a Path, document: &'a ServiceDocument, problems: &'a mut Vec<Problem>) -> Self {
        let types: Vec<_> = document
            .definitions
            .iter()
            .filter_map(|definition| match definition {
                TypeSystemDefinition::Type(definition) => Some(definition),
                _ => None,
            })
            .collect();
        let by_name = types.iter().map(|item| (item.node.name.node.as_str(), &item.node)).collect();
        Self { file, types, by_name, problems }
    }

    fn tables(mut self) -> Vec<TableDefinition> {
        let types = std::mem::take(&mut self.types);
        let mut seen = HashMap::new();
        for definition in &types {
            let name = definition.node.name.node.as_str();
            if let Some(first) = seen.insert(name, definition.pos) {
                let message = format!("type {name} is defined twice; first on line {}", first.line);
                self.error(definition.node.name.pos, name, message);
            }
        }
        types.iter().filter_map(|definition| self.table(definition)).collect()
    }

    fn table(&mut self, definition: &Positioned<TypeDefinition>) -> Option<TableDefinition> {
        let name = definition.node.name.node.as_str();
        let directives = &definition.node.directives;
        let table = directives.iter().find(|directive| directive.node.name.node == "table")?;
        let TypeKind::Object(object) = &definition.node.kind else {
            self.error(definition.pos, name, "only an object type can be a table".into());
            return None;
        };
        let mut path = None;
        let mut sealed = false;
        for directive in directives {
            match directive.node.name.node.as_str() {
                "table" => {}
                "export" => path = self.export(name, directive),
                "sealed" => sealed = true,
                later if TYPE_LATER.contains(&later) => self.not_yet(directive.pos, name, later),
                other => self.error(directive.pos, name, format!("unknown directive @{other}")),
            }
        }
        let declared = self.relationships(name, &object.fields);
        let (attributes, primary_key) = self.attributes(definition, &object.fields)?;
        let expiry = self.expiry(name, table, &attributes);
        let text = |argument: &str| {
            self.argument(table, argument).and_then(|value| value.as_str().map(str::to_owned))
        };
        let schema = TableSchema {
            primary_key,
            sealed,
            expiry,
            ..TableSchema::new(
                text("database").unwrap_or_else(|| "data".to_owned()),
                text("table").unwrap_or_else(|| name.to_owned()),
                attributes,
            )
        };
        let known = ["table", "database", "expiration", "eviction", "scanInterval"];
        self.check_arguments(name, table, &known);
        Some(TableDefinition {
            schema,
            type_name: name.to_owned(),
            declared,
            relations: Vec::new(),
            path,
            file: self.file.to_owned(),
            place: place(definition.pos),
        })
    }

    /// `@table(expiration:, eviction:, scanInterval:)`, all in seconds.
    fn expiry(
        &mut self,
        name: &str,
        table: &Positioned<ConstDirective>,
        attributes: &[Attribute],
    ) -> Option<Expiry> {
        let arguments = ["expiration", "eviction", "scanInterval"];
        let [lifetime_ms, kept_ms, sweep_ms] =
            arguments.map(|argument| self.seconds(name, table, argument));
        let by_record = attributes.iter().any(|attribute| attribute.role == Role::ExpiresAt);
        if lifetime_ms.is_none() && !by_record {
            if kept_ms.or(sweep_ms).is_some() {
                let message = "eviction and scanInterval mean nothing without an expiration or a field with @expiresAt";
                self.error(table.pos, name, message.into());
            }
            return None;
        }
        Some(Expiry { lifetime_ms, kept_ms: kept_ms.unwrap_or(0), sweep_ms })
    }

    /// An argument in seconds, as milliseconds.
    fn seconds(
        &mut self,
        name: &str,
        directive: &Positioned<ConstDirective>,
        argument: &str,
    ) -> Option<u64> {
        let value = self.argument(directive, argument)?;
        match value.as_f64().map(|seconds| (seconds * 1000.0).round()) {
            Some(ms) if (1.0..=EXPIRY_MS_MAX).contains(&ms) => Some(ms as u64),
            _ => {
                let message = format!("{argument} must be a number of seconds greater than 0");
                self.error(directive.pos, name, message);
                None
            }
        }
    }

    /// The path of an exported table; none when REST is switched off for it.
    fn export(&mut self, name: &str, directive: &Positioned<ConstDirective>) -> Option<String> {
        self.check_arguments(name, directive, &["name", "rest"]);
        let path =
            self.argument(directive, "name").and_then(|value| value.as_str().map(str::to_owned));
        let path = path.unwrap_or_else(|| name.to_owned()).trim_matches('/').to_owned();
        if path.is_empty() {
            self.error(directive.pos, name, "a table cannot be exported without a path".into());
        }
        let is_off = self.argument(directive, "rest") == Some(Value::Bool(false));
        (!is_off).then_some(path)
    }

    fn attributes(
        &mut self,
        definition: &Positioned<TypeDefinition>,
        fields: &[Positioned<FieldDefinition>],
    ) -> Option<(Vec<Attribute>, usize)> {
        let type_name = definition.node.name.node.as_str();
        let mut attributes: Vec<Attribute> = Vec::new();
        let mut primary_key = None;
        for field in fields.iter().filter(|field| relationship::directive(field).is_none()) {
            let name = field.node.name.node.as_str();
            if attributes.iter().any(|known| known.name == name) {
                self.error(field.pos, type_name, format!("{name} is declared twice"));
                continue;
            }
            let Some((attribute, is_key)) = self.attribute(type_name, field) else { continue };
            let has = |role| attributes.iter().any(|known| known.role == role);
            if attribute.role == Role::ExpiresAt && has(Role::ExpiresAt) {
                self.error(field.pos, type_name, "there is more than one @expiresAt".into());
            }
            if is_key && primary_key.replace(attributes.len()).is_some() {
                self.error(field.pos, type_name, "there is more than one @primaryKey".into());
            }
            attributes.push(attribute);
        }
        for (name, message) in computed::resolve(&mut attributes) {
            let pos = fields.iter().find(|field| field.node.name.node == name).map(|f| f.pos);
            let pos = pos.unwrap_or(definition.pos);
            self.error(pos, &format!("{type_name}.{name}"), message);
        }
        let by_name = || attributes.iter().position(|attribute| attribute.name == "id");
        match primary_key.or_else(by_name) {
            Some(key) => {
                self.check_key(definition, &attributes[key]);
                Some((attributes, key))
            }
            None => {
                self.error(definition.pos, type_name, "no field is the @primaryKey".into());
                None
            }
        }
    }

    fn check_key(&mut self, definition: &Positioned<TypeDefinition>, key: &Attribute) {
        let is_usable =
            matches!(key.kind, Kind::String | Kind::Id | Kind::Int | Kind::Long | Kind::Any);
        if !is_usable {
            let message = format!(
                "{} cannot be a primary key: its type must be ID, String, Int, Long or Any",
                key.name
            );
            self.error(definition.pos, definition.node.name.node.as_str(), message);
        }
    }

    fn attribute(
        &mut self,
        type_name: &str,
        field: &Positioned<FieldDefinition>,
    ) -> Option<(Attribute, bool)> {
        let name = field.node.name.node.as_str();
        let key = format!("{type_name}.{name}");
        let (mut role, mut indexed, mut is_key) = (Role::Plain, false, false);
        let (mut allow, mut computed, mut enumerable) = (None, None, false);
        for directive in &field.node.directives {
            match directive.node.name.node.as_str() {
                "primaryKey" => is_key = true,
                "indexed" => {
                    indexed = true;
                    self.check_arguments(&key, directive, &[]);
                }
                "createdTime" => role = Role::CreatedTime,
                "updatedTime" => role = Role::UpdatedTime,
                "expiresAt" => role = Role::ExpiresAt,
                "allow" => self.allow(&key, directive, allow.get_or_insert_default()),
                "enumerable" => enumerable = true,
                "computed" => computed = Some(self.computed(&key, directive)?),
                later if FIELD_LATER.contains(&later) => self.not_yet(directive.pos, &key, later),
                other => self.error(directive.pos, &key, format!("unknown directive @{other}")),
            }
        }
        let (kind, required) = self.kind(&key, field.node.ty.pos, &field.node.ty.node, 0)?;
        if role != Role::Plain && !matches!(kind, Kind::Date | Kind::Float | Kind::Long | Kind::Any)
        {
            self.error(field.pos, &key, "a time must be of type Date, Float, Long or Any".into());
        }
        if indexed && matches!(kind, Kind::Object(_) | Kind::Blob | Kind::Bytes) {
            self.error(field.pos, &key, "a value of this type cannot be indexed".into());
        }
        // the store writes these and the key itself: a body need not have them
        let required = required && !is_key && !role.is_stores() && computed.is_none();
        if enumerable && computed.is_none() {
            self.warning(field.pos, &key, "@enumerable means nothing on what is stored");
        }
        if computed.is_some() && (is_key || role != Role::Plain) {
            self.error(field.pos, &key, "a computed field can be no key and no time".into());
            return None;
        }
        let attribute = Attribute { required, indexed, role, allow, ..Attribute::new(name, kind) };
        Some((Attribute { computed, enumerable, ..attribute }, is_key))
    }

    /// `@computed(from: "…")`; without an expression the field is left out.
    fn computed(&mut self, key: &str, directive: &Positioned<ConstDirective>) -> Option<Computed> {
        self.check_arguments(key, directive, &["from", "version"]);
        match computed::read(directive) {
            Ok(None) => self.not_yet(directive.pos, key, "computed without from"),
            Ok(found) => return found,
            Err(message) => self.error(directive.pos, key, message),
        }
        None
    }

    /// `@allow(role: "a")` or `@allow(role: ["a", "b"])`: adds the roles to those of the field.
    fn allow(
        &mut self,
        key: &str,
        directive: &Positioned<ConstDirective>,
        roles: &mut Vec<String>,
    ) {
        self.check_arguments(key, directive, &["role"]);
        let named = match self.argument(directive, "role") {
            Some(Value::Array(list)) => list,
            one => one.into_iter().collect(),
        };
        let names: Option<Vec<_>> =
            named.iter().map(|role| role.as_str().map(str::to_owned)).collect();
        match names {
            Some(names) if !names.is_empty() => roles.extend(names),
            _ => {
                self.error(directive.pos, key, "@allow needs a role, or a list of roles".into());
            }
        }
    }

    fn kind(&mut self, key: &str, pos: Pos, ty: &Type, depth: usize) -> Option<(Kind, bool)> {
        let kind = match &ty.base {
            BaseType::List(inner) => {
                let (kind, required) = self.kind(key, pos, inner, depth + 1)?;
                Kind::Array(Box::new(Element { kind, required }))
            }
            BaseType::Named(name) => match scalar(name) {
                Some(kind) => kind,
                None => self.nested(key, pos, name, depth)?,
            },
        };
        Some((kind, !ty.nullable))
    }

    fn nested(&mut self, key: &str, pos: Pos, name: &str, depth: usize) -> Option<Kind> {
        let Some(TypeKind::Object(object)) =
            self.by_name.get(name).map(|definition| &definition.kind)
        else {
            self.error(pos, key, format!("unknown type {name}"));
            return None;
        };
        if depth >= DEPTH_MAX {
            self.error(
                pos,
                key,
                format!("types are nested deeper than {DEPTH_MAX}, or {name} contains itself"),
            );
            return None;
        }
        let stored = object.fields.iter().filter(|field| relationship::directive(field).is_none());
        let fields = stored.map(|field| {
            let (kind, required) =
                self.kind(key, field.node.ty.pos, &field.node.ty.node, depth + 1)?;
            Some(Attribute { required, ..Attribute::new(field.node.name.node.as_str(), kind) })
        });
        fields.collect::<Option<Vec<_>>>().map(Kind::Object)
    }

    fn argument(&self, directive: &Positioned<ConstDirective>, name: &str) -> Option<Value> {
        directive.node.get_argument(name).and_then(|value| value.node.clone().into_json().ok())
    }

    fn check_arguments(
        &mut self,
        key: &str,
        directive: &Positioned<ConstDirective>,
        known: &[&str],
    ) {
        let of = directive.node.name.node.to_string();
        for (name, _) in &directive.node.arguments {
            if !known.contains(&name.node.as_str()) {
                self.not_yet(name.pos, key, &format!("{of}({}: …)", name.node));
            }
        }
    }

    fn not_yet(&mut self, pos: Pos, key: &str, directive: &str) {
        self.warning(pos, key, &format!("@{directive} is not supported yet, ignored"));
    }

    fn warning(&mut self, pos: Pos, key: &str, message: &str) {
        self.problems.push(problem_at(Severity::Warning, self.file, place(pos), key, message));
    }

    fn error(&mut self, pos: Pos, key: &str, message: String) {
        self.problems.push(problem_at(Severity::Error, self.file, place(pos), key, message));
    }
}

fn scalar(name: &str) -> Option<Kind> {
    Some(match name {
        "String" => Kind::String,
        "Int" => Kind::Int,
        "Long" => Kind::Long,
        "Float" => Kind::Float,
        "BigInt" => Kind::BigInt,
        "Boolean" => Kind::Boolean,
        "ID" => Kind::Id,
        "Any" => Kind::Any,
        "Date" => Kind::Date,
        "Bytes" => Kind::Bytes,
        "Blob" => Kind::Blob,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<TableDefinition>, Vec<String>) {
        let mut problems = Vec::new();
        let tables = parse(Path::new("s.graphql"), text, &mut problems);
        (tables, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_scalar_and_directive_becomes_part_of_the_table() {
        let (tables, problems) = read(
            "type Place { lat: Float! }\n\
             type Dog @table(database: \"pets\") @export(name: \"nice/dogs\") @sealed {\n\
             id: ID @primaryKey, a: String!, b: Int @indexed, c: Long, d: Float, e: BigInt, f: Boolean,\n\
             g: Any, h: Date, i: Bytes, j: Blob, k: [String!], l: Place, m: Float @createdTime, n: Date! @updatedTime }",
        );
        assert_eq!(problems, Vec::<String>::new());
        let TableDefinition { schema, path, place, .. } = &tables[0];
        assert_eq!((tables.len(), path.as_deref(), place.line), (1, Some("nice/dogs"), 2));
        assert_eq!(
            (schema.database.as_str(), schema.name.as_str(), schema.sealed),
            ("pets", "Dog", true)
        );
        let of =
            |name: &str| schema.attributes.iter().find(|attribute| attribute.name == name).unwrap();
        assert_eq!(schema.attributes.len(), 15);
        assert!(of("a").required && of("b").indexed && !of("n").required);
        assert_eq!((of("m").role, of("n").role), (Role::CreatedTime, Role::UpdatedTime));
        assert_eq!(
            of("k").kind,
            Kind::Array(Box::new(Element { kind: Kind::String, required: true }))
        );
        assert!(matches!(&of("l").kind, Kind::Object(fields) if fields[0].required));
    }

    #[test]
    fn mistakes_have_line_and_column() {
        for (text, expected) in [
            (
                "type Dog @table {\n  id: ID @primaryKey\n  x: Strin\n}",
                "error: s.graphql:3:6: Dog.x: unknown type Strin",
            ),
            (
                "type Dog @table { name: String }",
                "error: s.graphql:1:1: Dog: no field is the @primaryKey",
            ),
            (
                "type Dog @tabel @table { id: ID }",
                "error: s.graphql:1:10: Dog: unknown directive @tabel",
            ),
            (
                "type D @table { id: ID @primaryKey k: ID @primaryKey }",
                "error: s.graphql:1:36: D: there is more than one @primaryKey",
            ),
            (
                "type D @table { id: Float @primaryKey }",
                "error: s.graphql:1:1: D: id cannot be a primary key: its type must be ID, String, Int, Long or Any",
            ),
            (
                "type D @table { id: ID a: D }",
                "error: s.graphql:1:27: D.a: types are nested deeper than 8, or D contains itself",
            ),
        ] {
            let (_, problems) = read(text);
            assert_eq!(problems, [expected], "{text}");
        }
        for bad in ["@allow", "@allow(role: 1)", "@allow(role: [])"] {
            let (_, problems) = read(&format!("type D @table {{ id: ID a: Int {bad} }}"));
            let expected = "D.a: @allow needs a role, or a list of roles";
            assert!(problems[0].ends_with(expected), "{problems:?}");
        }
        let (_, problems) = read("type Dog @table {\n  id ID\n}");
        assert!(problems[0].starts_with("error: s.graphql:2:6: "), "{problems:?}");
    }

    #[test]
    fn expiry_is_read_in_seconds() {
        let read = |table: &str, field: &str| {
            let text = format!("type D @table({table}) {{ id: ID at: Date {field} }}");
            let (tables, problems) = read(&text);
            assert_eq!(problems, Vec::<String>::new(), "{text}");
            tables[0].schema.clone()
        };
        let expiry =
            |lifetime_ms, kept_ms, sweep_ms| Some(Expiry { lifetime_ms, kept_ms, sweep_ms });
        assert_eq!(read("expiration: 0.5", "").expiry, expiry(Some(500), 0, None));
        let all = read("expiration: 60, eviction: 10, scanInterval: 5", "@expiresAt");
        assert_eq!(all.expiry, expiry(Some(60_000), 10_000, Some(5_000)));
        assert_eq!(all.attributes[1].role, Role::ExpiresAt);
        assert_eq!(read("database: \"d\"", "@expiresAt").expiry, expiry(None, 0, None));
        for (text, expected) in [
            (
                "type D @table(expiration: -1) { id: ID }",
                "D: expiration must be a number of seconds greater than 0",
            ),
            (
                "type D @table(expiration: \"x\") { id: ID }",
                "D: expiration must be a number of seconds greater than 0",
            ),
            (
                "type D @table(eviction: 1) { id: ID }",
                "D: eviction and scanInterval mean nothing without an expiration or a field with @expiresAt",
            ),
            (
                "type D @table { id: ID a: Date @expiresAt b: Date @expiresAt }",
                "D: there is more than one @expiresAt",
            ),
            (
                "type D @table { id: ID a: String @expiresAt }",
                "D.a: a time must be of type Date, Float, Long or Any",
            ),
        ] {
            let (_, problems) = super::tests::read(text);
            assert!(problems.len() == 1 && problems[0].ends_with(expected), "{problems:?}");
        }
    }

    #[test]
    fn an_expression_knows_the_attributes_it_uses_and_is_checked() {
        let (tables, problems) = read(
            "type D @table { id: ID a: Int b: Int c: Int! @computed(from: \"a * 2\", version: 3) @indexed d: Int @computed(from: \"b\") @enumerable }",
        );
        assert_eq!(problems, Vec::<String>::new());
        let attributes = &tables[0].schema.attributes;
        let computed = attributes[3].computed.as_ref().unwrap();
        assert_eq!((computed.from.as_str(), computed.version.as_str()), ("a * 2", "3"));
        assert_eq!(computed.names, ["a"]);
        assert!(attributes[3].indexed && !attributes[3].required && !attributes[3].enumerable);
        assert!(attributes[4].enumerable);
        for (field, expected) in [
            (
                "a: Int @computed(from: \"1 +\")",
                "error: s.graphql:1:24: D.a: from is not an expression",
            ),
            ("a: Int @computed(from: 1)", "error: s.graphql:1:31: D.a: from must be a string"),
            (
                "a: Int @computed",
                "warning: s.graphql:1:31: D.a: @computed without from is not supported yet",
            ),
            (
                "a: Date @createdTime @computed(from: \"1\")",
                "error: s.graphql:1:24: D.a: a computed field",
            ),
            ("a: Int @enumerable", "warning: s.graphql:1:24: D.a: @enumerable means nothing"),
        ] {
            let (_, problems) = read(&format!("type D @table {{ id: ID {field} }}"));
            assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:?}");
        }
    }

    #[test]
    fn the_roles_of_a_field_are_those_of_all_its_directives() {
        let (tables, _) = read(
            "type D @table { id: ID a: Int @allow(role: \"x\") @allow(role: [\"y\", \"z\"]) }",
        );
        let attributes = &tables[0].schema.attributes;
        assert_eq!(attributes[0].allow, None);
        assert_eq!(
            attributes[1].allow.as_deref(),
            Some(["x", "y", "z"].map(String::from).as_slice())
        );
    }

    #[test]
    fn what_is_not_supported_yet_is_said() {
        let (tables, problems) = read(
            "type B @table(audit: true) @export(mqtt: true) { id: ID o: [B] @relationship(from: \"x\") v: [Float] @indexed(type: \"HNSW\") }",
        );
        assert_eq!(tables[0].schema.attributes.len(), 2);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.contains("not supported yet")));
    }
}
