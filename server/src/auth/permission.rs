//! What a role allows: read from the form in which people write it, checked whole, and compiled once into a form
//! that a request can ask without searching.

use harper_config::{Node, Place, Scalar};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Members of a permission that are not databases.
const SUPER_USER: &str = "super_user";
const STRUCTURE_USER: &str = "structure_user";
const CLUSTER_USER: &str = "cluster_user";

/// Something that can be done with a table or with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Seeing records.
    Read,
    /// Making records.
    Insert,
    /// Changing records.
    Update,
    /// Removing records; attributes have no such right.
    Delete,
}

impl Right {
    const ALL: [Self; 4] = [Self::Read, Self::Insert, Self::Update, Self::Delete];

    /// The name in a permission.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rights(u8);

impl Rights {
    fn has(self, right: Right) -> bool {
        self.0 & (1 << right as u8) != 0
    }

    fn give(&mut self, right: Right) {
        self.0 |= 1 << right as u8;
    }
}

/// What a role may do with one table.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct TableRights {
    rights: Rights,
    /// Rights by attribute; none when the table's rights are those of every attribute.
    attributes: Option<HashMap<String, Rights>>,
    /// The role, for attributes whose schema names roles.
    pub role: String,
    /// What marks an answer that is cut to these rights, in an entity tag.
    pub mark: String,
}

impl TableRights {
    /// Whether the role has this right on the table.
    #[must_use]
    pub(crate) fn allows(&self, right: Right) -> bool {
        self.rights.has(right)
    }

    /// Whether the role has this right on an attribute that is not the primary key.
    #[must_use]
    pub(crate) fn covers(&self, right: Right, attribute: &str) -> bool {
        let Some(attributes) = &self.attributes else { return self.allows(right) };
        self.allows(right) && attributes.get(attribute).is_some_and(|rights| rights.has(right))
    }

    /// Whether the rights differ from one attribute to the next.
    #[must_use]
    pub(crate) fn names_attributes(&self) -> bool {
        self.attributes.is_some()
    }
}

/// What a role may do.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Permission {
    /// Whether everything is allowed.
    pub super_user: bool,
    databases: HashMap<String, HashMap<String, Arc<TableRights>>>,
}

impl Permission {
    /// Everything.
    #[must_use]
    pub(crate) fn everything() -> Self {
        Self { super_user: true, ..Self::default() }
    }

    /// The rights on a table; none when the permission does not name it.
    #[must_use]
    pub(crate) fn table(&self, database: &str, table: &str) -> Option<&Arc<TableRights>> {
        self.databases.get(database)?.get(table)
    }

    /// Every table that is named, with the attributes that are, for checks against what is defined.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, &str, Vec<&str>)> {
        self.databases.iter().flat_map(|(database, tables)| {
            tables.iter().map(|(table, rights)| {
                let attributes = rights.attributes.iter().flat_map(HashMap::keys);
                (database.as_str(), table.as_str(), attributes.map(String::as_str).collect())
            })
        })
    }
}

/// A mistake in a permission.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Where it was written.
    pub place: Place,
    /// What is wrong, with the names that lead there.
    pub message: String,
}

/// A permission that was read.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// The compiled form.
    pub permission: Permission,
    /// The form in which the Operations API shows it.
    pub shown: Value,
}

/// Reads the permission of the role `role`. Two spellings are known: the one of the Operations API
/// (`<database>.tables.<table>.attribute_permissions: [{attribute_name, read, …}]`) and the short one of `roles.yaml`
/// (`<database>.<table>.attributes.<name>: {read, …}`).
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn parse(role: &str, node: &Node) -> Result<Parsed, Vec<Mistake>> {
    let mut reader = Reader { role, mistakes: Vec::new() };
    let parsed = reader.permission(node);
    if reader.mistakes.is_empty() { Ok(parsed) } else { Err(reader.mistakes) }
}

struct Reader<'a> {
    role: &'a str,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn permission(&mut self, node: &Node) -> Parsed {
        let mut permission = Permission::default();
        let mut shown = Map::new();
        if !matches!(node, Node::Map(..)) {
            self.mistake(node.place(), "expected a mapping of databases".to_owned());
        }
        for (name, place, member) in node.members() {
            match name.as_str() {
                SUPER_USER => {
                    permission.super_user = self.flag(SUPER_USER, *place, member);
                    shown.insert(name.clone(), permission.super_user.into());
                }
                STRUCTURE_USER => {
                    self.structure(*place, member);
                    shown.insert(name.clone(), member.to_json());
                }
                CLUSTER_USER => {
                    let message = "cluster_user has no meaning here: there is no cluster of Harper";
                    self.mistake(*place, message.to_owned());
                }
                database => {
                    let (tables, text) = self.database(database, *place, member);
                    permission.databases.insert(database.to_owned(), tables);
                    shown.insert(name.clone(), json!({ "tables": text }));
                }
            }
        }
        Parsed { permission, shown: Value::Object(shown) }
    }

    fn structure(&mut self, place: Place, node: &Node) {
        let is_known = match node {
            Node::Scalar(Scalar::Bool(_) | Scalar::Null, _) => true,
            Node::List(items, _) => {
                items.iter().all(|item| matches!(item, Node::Scalar(Scalar::Text(_), _)))
            }
            _ => false,
        };
        if !is_known {
            let message = format!("{STRUCTURE_USER}: expected true, false or a list of databases");
            self.mistake(place, message);
        }
    }

    fn database(
        &mut self,
        name: &str,
        place: Place,
        node: &Node,
    ) -> (HashMap<String, Arc<TableRights>>, Value) {
        let tables = node.get("tables").unwrap_or(node);
        if !matches!(tables, Node::Map(..)) {
            self.mistake(place, format!("{name}: expected a mapping of tables"));
        }
        let (mut rights, mut shown) = (HashMap::new(), Map::new());
        for (table, place, node) in tables.members() {
            let (of_table, text) = self.table(&format!("{name}.{table}"), *place, node);
            rights.insert(table.clone(), Arc::new(of_table));
            shown.insert(table.clone(), text);
        }
        (rights, Value::Object(shown))
    }

    fn table(&mut self, path: &str, place: Place, node: &Node) -> (TableRights, Value) {
        if !matches!(node, Node::Map(..)) {
            self.mistake(place, format!("{path}: expected read, insert, update and delete"));
        }
        let mut rights = Rights::default();
        let mut list = Vec::new();
        for (name, place, member) in node.members() {
            let right = Right::ALL.into_iter().find(|right| right.name() == name);
            match (right, name.as_str()) {
                (Some(right), _) => {
                    if self.flag(&format!("{path}.{name}"), *place, member) {
                        rights.give(right);
                    }
                }
                (None, "attributes" | "attribute_permissions") => {
                    list = self.attributes(&format!("{path}.{name}"), member);
                }
                _ => self.mistake(*place, format!("{path}: unknown member {name}")),
            }
        }
        self.check_within(path, rights, &list);
        let shown = shown(rights, &list);
        // roles with the same rights see different things where a schema names roles
        let seen = format!("{} {shown}", self.role);
        let mark = format!("-v{}", &blake3::hash(seen.as_bytes()).to_hex()[..8]);
        let attributes = list.into_iter().map(|item| (item.name, item.rights));
        let attributes: HashMap<_, _> = attributes.collect();
        let attributes = Some(attributes).filter(|attributes| !attributes.is_empty());
        (TableRights { rights, attributes, role: self.role.to_owned(), mark }, shown)
    }

    /// An attribute cannot allow what its table forbids.
    fn check_within(&mut self, path: &str, table: Rights, list: &[AttributeRights]) {
        let mut seen = BTreeSet::new();
        for item in list {
            let name = &item.name;
            if !seen.insert(name) {
                self.mistake(item.place, format!("{path}: attribute {name} is named twice"));
            }
            let beyond = Right::ALL.into_iter().filter(|right| item.rights.has(*right));
            for right in beyond.filter(|right| !table.has(*right)) {
                let right = right.name();
                let message =
                    format!("{path}: attribute {name} allows {right}, which the table does not");
                self.mistake(item.place, message);
            }
        }
    }

    /// A list of `{attribute_name, read, insert, update}`, or a mapping by name.
    fn attributes(&mut self, path: &str, node: &Node) -> Vec<AttributeRights> {
        match node {
            Node::Scalar(Scalar::Null, _) => Vec::new(),
            Node::Map(members, _) => members
                .iter()
                .map(|(name, place, node)| self.attribute(path, name.clone(), *place, node))
                .collect(),
            Node::List(items, _) => items
                .iter()
                .filter_map(|item| match item.get("attribute_name").map(Node::to_json) {
                    Some(Value::String(name)) => {
                        Some(self.attribute(path, name, item.place(), item))
                    }
                    _ => {
                        self.mistake(item.place(), format!("{path}: expected an attribute_name"));
                        None
                    }
                })
                .collect(),
            Node::Scalar(_, place) => {
                self.mistake(*place, format!("{path}: expected attributes with their rights"));
                Vec::new()
            }
        }
    }

    fn attribute(
        &mut self,
        path: &str,
        name: String,
        place: Place,
        node: &Node,
    ) -> AttributeRights {
        let mut rights = Rights::default();
        if !matches!(node, Node::Map(..)) {
            self.mistake(place, format!("{path}.{name}: expected read, insert and update"));
        }
        for (member, place, value) in node.members() {
            let right = Right::ALL.into_iter().find(|right| right.name() == member);
            match right {
                Some(Right::Delete) => {
                    // written by Harper's own tools; it has no meaning there either
                    self.flag(&format!("{path}.{name}.{member}"), *place, value);
                }
                Some(right) => {
                    if self.flag(&format!("{path}.{name}.{member}"), *place, value) {
                        rights.give(right);
                    }
                }
                None if member == "attribute_name" => {}
                None => {
                    self.mistake(*place, format!("{path}.{name}: unknown member {member}"));
                }
            }
        }
        AttributeRights { name, place, rights }
    }

    fn flag(&mut self, path: &str, place: Place, node: &Node) -> bool {
        match node {
            Node::Scalar(Scalar::Bool(flag), _) => *flag,
            Node::Scalar(Scalar::Null, _) => false,
            _ => {
                self.mistake(place, format!("{path}: expected true or false"));
                false
            }
        }
    }

    fn mistake(&mut self, place: Place, message: String) {
        self.mistakes.push(Mistake { place, message });
    }
}

struct AttributeRights {
    name: String,
    place: Place,
    rights: Rights,
}

fn shown(rights: Rights, list: &[AttributeRights]) -> Value {
    let flags = |rights: Rights, of: &[Right]| -> Map<String, Value> {
        of.iter().map(|right| (right.name().to_owned(), rights.has(*right).into())).collect()
    };
    let attributes = list.iter().map(|item| {
        let mut text = Map::from_iter([("attribute_name".to_owned(), item.name.clone().into())]);
        text.extend(flags(item.rights, &Right::ALL[..3]));
        Value::Object(text)
    });
    let attributes: Value = attributes.collect();
    let mut text = flags(rights, &Right::ALL);
    text.insert("attribute_permissions".to_owned(), attributes);
    Value::Object(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Parsed, Vec<String>> {
        let node = harper_config::parse(text).unwrap();
        parse("r", &node).map_err(|mistakes| mistakes.into_iter().map(|m| m.message).collect())
    }

    #[test]
    fn both_spellings_mean_the_same() {
        let long = r#"{"data":{"tables":{"Dog":{"read":true,"insert":true,"update":false,"delete":false,
            "attribute_permissions":[{"attribute_name":"name","read":true,"insert":true,"update":false}]}}}}"#;
        let short = "data:\n  Dog:\n    read: true\n    insert: true\n    attributes:\n      name: {read: true, insert: true}\n";
        let (long, short) = (read(long).unwrap(), read(short).unwrap());
        assert_eq!(long.permission, short.permission);
        assert_eq!(long.shown, short.shown);
        let dog = long.permission.table("data", "Dog").unwrap();
        assert!(dog.allows(Right::Read) && !dog.allows(Right::Delete));
        assert!(dog.covers(Right::Read, "name") && !dog.covers(Right::Read, "age"));
        assert!(!dog.covers(Right::Update, "name"));
        assert!(long.permission.table("data", "Cat").is_none());
        assert!(long.permission.table("other", "Dog").is_none());
    }

    #[test]
    fn an_empty_list_of_attributes_restricts_nothing() {
        let all = read(r#"{"data":{"tables":{"Dog":{"read":true,"attribute_permissions":[]}}}}"#);
        let all = all.unwrap().permission;
        let dog = all.table("data", "Dog").unwrap();
        assert!(dog.covers(Right::Read, "anything") && !dog.names_attributes());
        assert!(read("super_user: true").unwrap().permission.super_user);
        assert_eq!(read("{}").unwrap().permission, Permission::default());
    }

    #[test]
    fn mistakes_are_all_named_with_their_place() {
        for (text, expected) in [
            ("super_user: yes", "super_user: expected true or false"),
            ("structure_user: 3", "structure_user: expected true, false or a list"),
            ("data: 3", "data: expected a mapping of tables"),
            ("data: {Dog: true}", "data.Dog: expected read"),
            ("data: {Dog: {red: true}}", "data.Dog: unknown member red"),
            ("data: {Dog: {read: 1}}", "data.Dog.read: expected true or false"),
            (
                "data: {Dog: {read: true, attributes: {a: {update: true}}}}",
                "data.Dog: attribute a allows update, which the table does not",
            ),
            ("data: {Dog: {read: true, attribute_permissions: [{read: true}]}}", "attribute_name"),
            ("data: {Dog: {attributes: 1}}", "expected attributes"),
            ("cluster_user: true", "no meaning"),
            ("[]", "expected a mapping of databases"),
        ] {
            let mistakes = read(text).unwrap_err();
            assert!(mistakes[0].contains(expected), "{text}: {mistakes:?}");
        }
        let node = harper_config::parse("data:\n  Dog:\n    read: x\n    delete: y\n").unwrap();
        let places = parse("r", &node).unwrap_err();
        assert_eq!(places.iter().map(|m| m.place.line).collect::<Vec<_>>(), [3, 4]);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_as_the_same(rights in proptest::array::uniform4(any::<bool>()), names in proptest::collection::vec("[a-z]{1,6}", 0..4)) {
            let [read, insert, update, delete] = rights;
            let attributes: Vec<_> = names.iter().collect::<BTreeSet<_>>().into_iter()
                .map(|name| json!({"attribute_name": name, "read": read, "insert": false, "update": update})).collect();
            let text = json!({"super_user": delete, "structure_user": ["a"], "data": {"tables": {"T": {
                "read": read, "insert": insert, "update": update, "delete": delete, "attribute_permissions": attributes }}}});
            let first = super::tests::read(&text.to_string()).unwrap();
            let again = super::tests::read(&first.shown.to_string()).unwrap();
            prop_assert_eq!(&first.shown, &text);
            prop_assert_eq!(first.permission, again.permission);
        }
    }
}
