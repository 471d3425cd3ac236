//! The tables of all applications and how their records are related, as somebody may see them. Whatever names an
//! attribute asks here first, so that nobody learns of what they may not read.

use crate::auth::Identity;
use crate::auth::access::View;
use crate::auth::permission::Right;
use crate::error::{Answer, Code, Failure};
use harper_store::{Attribute, Join, Table, TableSchema};
use std::sync::Arc;

/// Relationships followed one after the other to name one attribute, or to select one.
const DEPTH_MAX: usize = 8;

/// All tables.
#[derive(Default)]
pub(crate) struct Model {
    /// Each is known by its position.
    pub tables: Vec<Entity>,
}

/// A table and what its records are related to.
pub(crate) struct Entity {
    /// The table.
    pub table: Table,
    /// Its attributes.
    pub schema: Arc<TableSchema>,
    /// Its relationships.
    pub relations: Vec<Relation>,
}

/// A relationship: a record here is related to those of `target` whose `foreign` has a value of its `local`.
pub(crate) struct Relation {
    /// Its name, as that of an attribute.
    pub name: String,
    /// Position of the other table.
    pub target: usize,
    /// An attribute here.
    pub local: String,
    /// An attribute there.
    pub foreign: String,
    /// Whether it stands for a list.
    pub is_many: bool,
    /// Whether plain reads have it.
    pub is_enumerable: bool,
}

impl Model {
    /// Position of a table.
    #[must_use]
    pub(crate) fn find(&self, database: &str, name: &str) -> Option<usize> {
        let is_it = |known: &Entity| known.schema.database == database && known.schema.name == name;
        self.tables.iter().position(is_it)
    }

    /// A table as somebody who may read it sees it.
    #[must_use]
    pub(crate) fn scope<'a>(&'a self, at: usize, identity: &'a Identity) -> Scope<'a> {
        let entity = &self.tables[at];
        let view = identity.access(&entity.schema).view(&entity.schema);
        Scope { model: self, entity, identity, view, depth: 0 }
    }
}

impl Entity {
    /// The relationship of this name.
    pub(crate) fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.name == name)
    }
}

/// One table as the asker may see it, and the way on from it.
pub(crate) struct Scope<'a> {
    model: &'a Model,
    /// The table.
    pub entity: &'a Entity,
    identity: &'a Identity,
    /// What is shown of its records.
    pub view: View,
    depth: usize,
}

impl<'a> Scope<'a> {
    /// The declared attribute of this name, if there is one.
    ///
    /// # Errors
    /// 403 when it may not be read.
    pub(crate) fn attribute(&self, name: &str) -> Answer<Option<&'a Attribute>> {
        let found = self.entity.schema.attribute(name);
        if found.is_some() && !self.view.sees(name) {
            return Err(hidden(name));
        }
        Ok(found)
    }

    /// The relationship of this name, if there is one, and the table it leads to.
    ///
    /// # Errors
    /// 403 when that table, or an attribute that relates the two, may not be read; 400 too far from the start.
    pub(crate) fn follow(&self, name: &str) -> Answer<Option<(&'a Relation, Self)>> {
        let Some(relation) = self.entity.relation(name) else { return Ok(None) };
        if self.depth >= DEPTH_MAX {
            let sentence = format!("{name}: more than {DEPTH_MAX} relationships in a row");
            return Err(Failure::new(Code::InvalidQuery, sentence));
        }
        let entity = &self.model.tables[relation.target];
        let access = self.identity.access(&entity.schema);
        if !access.allows(Right::Read) || !self.view.sees(&relation.local) {
            return Err(hidden(name));
        }
        let view = access.view(&entity.schema);
        if !view.sees(&relation.foreign) {
            return Err(hidden(name));
        }
        let Self { model, identity, depth, .. } = *self;
        Ok(Some((relation, Self { model, entity, identity, view, depth: depth + 1 })))
    }

    /// What is read and by which relationships, for a name such as `owner.city.name`.
    ///
    /// # Errors
    /// As [`Scope::follow`]; 400 for a name that leads nowhere.
    pub(crate) fn reach(&self, name: &str) -> Answer<Reached<'a>> {
        if let Some(attribute) = self.attribute(name)? {
            return Ok(Reached { via: Vec::new(), attribute });
        }
        let Some((first, rest)) = name.split_once('.') else { return Err(self.unknown(name)) };
        let Some((relation, next)) = self.follow(first)? else {
            let is_attribute = self.attribute(first)?.is_some();
            let why = format!("{first} is an attribute and no relationship");
            return Err(if is_attribute { wrong(why) } else { self.unknown(first) });
        };
        let Reached { mut via, attribute } = next.reach(rest)?;
        via.insert(0, next.join(relation));
        Ok(Reached { via, attribute })
    }

    /// The join of a relationship that leads to this table.
    #[must_use]
    pub(crate) fn join(&self, relation: &Relation) -> Join {
        let Relation { local, foreign, .. } = relation;
        Join { local: local.clone(), table: self.entity.table.clone(), foreign: foreign.clone() }
    }

    fn unknown(&self, name: &str) -> Box<Failure> {
        wrong(if name.is_empty() {
            "an attribute's name is missing".to_owned()
        } else if self.entity.relation(name).is_some() {
            format!("{name} is a relationship; name an attribute of its records, as in {name}.id")
        } else {
            format!("{name} is not a defined attribute")
        })
    }
}

/// An attribute, and the relationships that lead to its record.
pub(crate) struct Reached<'a> {
    /// None for the record itself.
    pub via: Vec<Join>,
    /// The attribute.
    pub attribute: &'a Attribute,
}

fn hidden(name: &str) -> Box<Failure> {
    Failure::new(Code::Forbidden, format!("Unauthorized access to attribute {name}"))
}

fn wrong(sentence: String) -> Box<Failure> {
    Failure::new(Code::InvalidQuery, sentence)
}
