//! `@relationship`: fields that stand for records of another table. What they name is looked up when the types of
//! all applications are known, so a type may name one that comes after it, or one of another file.

use super::{Application, TableDefinition, problem_at};
use harper_config::{Place, Problem, Severity};
use harper_store::{Attribute, Kind, TableSchema};

/// A relationship as a field declares it.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    /// The field.
    pub name: String,
    /// Its type, which names a table.
    pub type_name: String,
    /// Whether the type is a list.
    pub is_many: bool,
    /// Whether plain reads have it.
    pub is_enumerable: bool,
    /// The attribute here that holds keys of the other table.
    pub from: Option<String>,
    /// The attribute there that holds keys of this table.
    pub to: Option<String>,
    /// Where it is declared.
    pub place: Place,
}

/// A relationship: a record here is related to those there whose `foreign` has a value of its `local`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    /// The field.
    pub name: String,
    /// The table there, in the same database.
    pub table: String,
    /// An attribute here.
    pub local: String,
    /// An attribute there: the primary key, or one with an index.
    pub foreign: String,
    /// Whether it stands for a list of records.
    pub is_many: bool,
    /// Whether plain reads have it.
    pub is_enumerable: bool,
}

/// Where a definition stands: its application and its place in it.
type At = (usize, usize);

/// Looks up what the relationships of all applications name. An attribute that others are found by gets an index.
pub(super) fn resolve(applications: &mut [Application], problems: &mut Vec<Problem>) {
    let mut found: Vec<(At, Relation)> = Vec::new();
    for (at, application) in applications.iter().enumerate() {
        for (index, table) in application.tables.iter().enumerate() {
            for declared in &table.declared {
                match relation(applications, at, table, declared) {
                    Ok(relation) => found.push(((at, index), relation)),
                    Err(message) => {
                        let key = format!("{}.{}", table.type_name, declared.name);
                        let place = declared.place;
                        problems.push(problem_at(
                            Severity::Error,
                            &table.file,
                            place,
                            &key,
                            message,
                        ));
                    }
                }
            }
        }
    }
    for ((at, index), relation) in found {
        let database = applications[at].tables[index].schema.database.clone();
        let tables = applications.iter_mut().flat_map(|application| &mut application.tables);
        let is_target =
            |schema: &TableSchema| (&schema.database, &schema.name) == (&database, &relation.table);
        for schema in tables.map(|table| &mut table.schema).filter(|schema| is_target(schema)) {
            let attributes = schema.attributes.iter_mut().enumerate();
            for (_, attribute) in attributes.filter(|(at, _)| *at != schema.primary_key) {
                attribute.indexed |= attribute.name == relation.foreign;
            }
        }
        applications[at].tables[index].relations.push(relation);
    }
}

fn relation(
    applications: &[Application],
    at: usize,
    table: &TableDefinition,
    declared: &Declared,
) -> Result<Relation, String> {
    let Declared { name, type_name, is_many, is_enumerable, from, to, place: _ } = declared;
    if from.is_none() && to.is_none() {
        return Err("a relationship needs from, to, or both".to_owned());
    }
    let own = applications[at].tables.iter();
    let all = own.chain(applications.iter().flat_map(|application| &application.tables));
    let Some(target) = all.into_iter().find(|known| known.type_name == *type_name) else {
        return Err(format!("there is no table {type_name}"));
    };
    let (here, there) = (&table.schema, &target.schema);
    if here.database != there.database {
        let (here, there) = (&here.database, &there.database);
        return Err(format!(
            "a relationship stays in its database: {type_name} is in {there}, not in {here}"
        ));
    }
    let local = attribute(here, &table.type_name, from.as_deref())?;
    if local.computed.is_some() {
        return Err(format!("from cannot be the computed attribute {}", local.name));
    }
    let foreign = attribute(there, type_name, to.as_deref())?;
    if !can_be_equal(&local.kind, &foreign.kind) {
        let kinds = (local.kind.name(), foreign.kind.name());
        return Err(format!(
            "{} of type {} never equals {} of type {}",
            local.name, kinds.0, foreign.name, kinds.1
        ));
    }
    Ok(Relation {
        name: name.clone(),
        table: there.name.clone(),
        local: local.name.clone(),
        foreign: foreign.name.clone(),
        is_many: *is_many,
        is_enumerable: *is_enumerable,
    })
}

/// The attribute of this name, or else the primary key.
fn attribute<'a>(
    schema: &'a TableSchema,
    type_name: &str,
    name: Option<&str>,
) -> Result<&'a Attribute, String> {
    let Some(name) = name else { return Ok(schema.key_attribute()) };
    schema.attribute(name).ok_or_else(|| format!("{type_name} has no attribute {name}"))
}

/// Whether values of two types, or elements of them, can be the same.
fn can_be_equal(one: &Kind, other: &Kind) -> bool {
    use Kind::{Any, Array, Float, Id, Int, Long, String};
    match (one, other) {
        (Array(element), other) | (other, Array(element)) => can_be_equal(&element.kind, other),
        (String | Id, String | Id) | (Int | Long | Float, Int | Long | Float) => true,
        (Any, other) | (other, Any) => matches!(other, Any | String | Id | Int | Long | Float),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;
    use std::path::Path;

    fn read(texts: &[&str]) -> (Vec<Application>, Vec<String>) {
        let mut problems = Vec::new();
        let mut applications: Vec<_> = texts
            .iter()
            .map(|text| {
                let tables = schema::parse(Path::new("s.graphql"), text, &mut problems);
                Application { tables, ..Application::default() }
            })
            .collect();
        resolve(&mut applications, &mut problems);
        (applications, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_form_of_a_relationship_is_resolved() {
        let (applications, problems) = read(&[
            "type Dog @table { id: ID @primaryKey  ownerId: ID  friendIds: [ID]  nick: String\n\
             owner: Owner @relationship(from: ownerId)\n friends: [Dog!]! @relationship(from: \"friendIds\")\n\
             fans: [Dog] @relationship(to: friendIds)\n club: [Club] @relationship(from: nick, to: name) }\n\
             type Owner @table(table: \"people\") { id: ID  dogs: [Dog] @relationship(to: ownerId) }",
            "type Club @table { id: Int @primaryKey name: String }",
        ]);
        assert_eq!(problems, [""; 0]);
        let texts = |at: usize, table: usize| {
            let relations = &applications[at].tables[table].relations;
            let text = |r: &Relation| {
                format!("{} {} {}={} {}", r.name, r.table, r.local, r.foreign, r.is_many)
            };
            relations.iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(
            texts(0, 0),
            [
                "owner people ownerId=id false",
                "friends Dog friendIds=id true",
                "fans Dog id=friendIds true",
                "club Club nick=name true"
            ]
        );
        assert_eq!(texts(0, 1), ["dogs Dog id=ownerId true"]);
        let schema = &applications[0].tables[0].schema;
        let names: Vec<_> =
            schema.attributes.iter().map(|a| (a.name.as_str(), a.indexed)).collect();
        assert_eq!(
            names,
            [("id", false), ("ownerId", true), ("friendIds", true), ("nick", false)],
            "what others are found by is indexed, and relationships are not stored"
        );
        assert!(applications[1].tables[0].schema.attributes[1].indexed);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (field, message) in [
            ("o: Owner @relationship", "needs from, to, or both"),
            ("o: Owner @relationship(from: nope)", "Dog has no attribute nope"),
            ("o: [Owner] @relationship(to: nope)", "Owner has no attribute nope"),
            ("o: Nobody @relationship(from: a)", "there is no table Nobody"),
            ("o: Owner @relationship(from: n)", "n of type Int never equals id of type ID"),
            ("o: Far @relationship(from: a)", "Far is in other, not in data"),
            ("o: Owner @relationship(from: 5)", "must be the name of an attribute"),
            ("a: Owner @relationship(from: a)", "a is declared twice"),
            ("o: Owner @relationship(from: c)", "from cannot be the computed attribute c"),
            ("o: Owner @relationship(from: a) @allow(role: x)", "@allow belongs on the attribute"),
        ] {
            let own = "id: ID a: ID n: Int c: ID @computed(from: \"a\")";
            let dog = format!("type Dog @table {{ {own}\n {field} }}");
            let rest =
                "type Owner @table { id: ID } type Far @table(database: \"other\") { id: ID }";
            let (_, problems) = read(&[&format!("{dog}\n{rest}")]);
            assert_eq!(problems.len(), 1, "{field}: {problems:?}");
            assert!(problems[0].starts_with("error: s.graphql:2:"), "{field}: {problems:?}");
            assert!(problems[0].contains(message), "{field}: {problems:?}");
        }
    }
}
