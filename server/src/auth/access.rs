//! What the asker may do with one table, decided from the role's rights and from the table's schema. Here is no
//! request and no answer: only yes and no.

use super::Identity;
use super::permission::{Right, TableRights};
use harper_store::{Attribute, TableSchema};
use std::sync::Arc;

/// What one identity may do with one table.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    /// Everything.
    Everything,
    /// Nothing.
    Nothing,
    /// What the role says.
    Some(Arc<TableRights>),
}

impl Identity {
    /// What this identity may do with a table.
    #[must_use]
    pub(crate) fn access(&self, schema: &TableSchema) -> Access {
        let Self::User(user) = self else { return Access::Nothing };
        if self.is_super_user() {
            return Access::Everything;
        }
        match user.role.permission.table(&schema.database, &schema.name) {
            Some(rights) => Access::Some(Arc::clone(rights)),
            None => Access::Nothing,
        }
    }
}

impl Access {
    /// Whether the table allows this.
    #[must_use]
    pub(crate) fn allows(&self, right: Right) -> bool {
        match self {
            Self::Everything => true,
            Self::Nothing => false,
            Self::Some(rights) => rights.allows(right),
        }
    }

    /// Whether the attribute `name` allows this.
    #[must_use]
    pub(crate) fn covers(&self, right: Right, schema: &TableSchema, name: &str) -> bool {
        match self {
            Self::Some(rights) => covers(rights, right, schema, name),
            _ => self.allows(right),
        }
    }

    /// Whether every attribute that a client can write into a record of the table allows this.
    #[must_use]
    pub(crate) fn covers_all(&self, right: Right, schema: &TableSchema) -> bool {
        let Self::Some(rights) = self else { return self.allows(right) };
        // an attribute that no schema declares is covered unless the role names its attributes
        let unknown = schema.sealed || !rights.names_attributes();
        let covered = |attribute: &Attribute| {
            attribute.role.is_stores() || covers(rights, right, schema, &attribute.name)
        };
        rights.allows(right) && unknown && schema.attributes.iter().all(covered)
    }

    /// What may be seen of the table's records.
    #[must_use]
    pub(crate) fn view(&self, schema: &Arc<TableSchema>) -> View {
        let rights = match self {
            Self::Some(rights) if hides(rights, schema) => Some(Arc::clone(rights)),
            Self::Some(_) | Self::Everything | Self::Nothing => None,
        };
        if rights.is_none() && schema.attributes.iter().all(|a| a.computed.is_none()) {
            return View::Whole;
        }
        View::Part { rights, schema: Arc::clone(schema) }
    }
}

/// Whether there can be attributes that the role may not read.
fn hides(rights: &TableRights, schema: &TableSchema) -> bool {
    let refused = |attribute: &Attribute| !is_open_to(attribute, &rights.role);
    rights.names_attributes() || schema.attributes.iter().any(refused)
}

/// Whether the schema opens the attribute to the role: `@allow`.
fn is_open_to(attribute: &Attribute, role: &str) -> bool {
    attribute.allow.as_ref().is_none_or(|roles| roles.iter().any(|known| known == role))
}

/// Both the role and the schema have to agree. The primary key goes with the table.
fn covers(rights: &TableRights, right: Right, schema: &TableSchema, name: &str) -> bool {
    if name == schema.key_attribute().name {
        return rights.allows(right);
    }
    rights.covers(right, name)
        && schema.attribute(name).is_none_or(|attribute| is_open_to(attribute, &rights.role))
}

/// What may be seen of the records of a table that may be read.
#[derive(Clone, Debug)]
pub(crate) enum View {
    /// Records as they are stored.
    Whole,
    /// Records without the attributes that the role may not read, and without what was stored of an attribute before
    /// it was computed.
    Part {
        /// The role's rights; none when all may be read.
        rights: Option<Arc<TableRights>>,
        /// The table's attributes.
        schema: Arc<TableSchema>,
    },
}

impl View {
    /// Whether the attribute `name` is shown.
    #[must_use]
    pub(crate) fn sees(&self, name: &str) -> bool {
        match self {
            Self::Whole => true,
            Self::Part { rights: None, .. } => true,
            Self::Part { rights: Some(rights), schema } => {
                covers(rights, Right::Read, schema, name)
            }
        }
    }

    /// Whether a stored member `name` is shown where all of a record is.
    #[must_use]
    pub(crate) fn shows_stored(&self, name: &str) -> bool {
        let is_stored = match self {
            Self::Whole => true,
            Self::Part { schema, .. } => {
                schema.attribute(name).is_none_or(|attribute| attribute.computed.is_none())
            }
        };
        is_stored && self.sees(name)
    }

    /// What marks the view in an entity tag; nothing where all may be read.
    #[must_use]
    pub(crate) fn tag(&self) -> &str {
        match self {
            Self::Whole | Self::Part { rights: None, .. } => "",
            Self::Part { rights: Some(rights), .. } => &rights.mark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::permission;
    use harper_store::Kind;

    fn schema(sealed: bool) -> TableSchema {
        let attributes = ["id", "name", "salary"].map(|name| Attribute::new(name, Kind::String));
        TableSchema { sealed, ..TableSchema::new("data", "Person", attributes.into()) }
    }

    fn access(rights: &str) -> Access {
        let node = harper_config::parse(&format!("data: {{Person: {rights}}}")).unwrap();
        let parsed = permission::parse("r", &node).unwrap();
        Access::Some(Arc::clone(parsed.permission.table("data", "Person").unwrap()))
    }

    #[test]
    fn the_primary_key_goes_with_the_table() {
        let some = access("{read: true, update: true, attributes: {name: {read: true}}}");
        let schema = Arc::new(schema(true));
        assert!(
            some.covers(Right::Read, &schema, "id") && some.covers(Right::Read, &schema, "name")
        );
        assert!(!some.covers(Right::Read, &schema, "salary"));
        assert!(some.covers(Right::Update, &schema, "id"));
        assert!(!some.covers(Right::Update, &schema, "name"));
        assert!(!some.covers(Right::Insert, &schema, "id"));
        let view = some.view(&schema);
        assert!(view.sees("id") && view.sees("name") && !view.sees("salary"));
        assert!(!view.sees("undeclared") && !view.tag().is_empty());
    }

    #[test]
    fn an_attribute_with_roles_is_closed_to_all_others() {
        let mut schema = schema(false);
        let is_everybody = |schema: &TableSchema| {
            access("{read: true, update: true}").covers_all(Right::Update, schema)
        };
        assert!(is_everybody(&schema));
        schema.attributes[2].allow = Some(vec!["boss".into()]);
        assert!(!is_everybody(&schema));
        let view = access("{read: true}").view(&Arc::new(schema.clone()));
        assert!(view.sees("name") && view.sees("undeclared") && !view.sees("salary"));
        schema.attributes[2].allow = Some(vec!["boss".into(), "r".into()]);
        assert!(is_everybody(&schema));
        assert!(matches!(access("{read: true}").view(&Arc::new(schema)), View::Whole));
    }

    #[test]
    fn all_attributes_are_covered_only_where_none_can_be_unknown() {
        let text = "{update: true, attributes: {name: {update: true}, salary: {update: true}}}";
        assert!(access(text).covers_all(Right::Update, &schema(true)));
        assert!(!access(text).covers_all(Right::Update, &schema(false)));
        assert!(access("{update: true}").covers_all(Right::Update, &schema(false)));
        assert!(!access("{read: true}").covers_all(Right::Update, &schema(true)));
        assert!(Access::Everything.covers_all(Right::Delete, &schema(false)));
        assert!(!Access::Nothing.covers_all(Right::Read, &schema(true)));
    }
}
