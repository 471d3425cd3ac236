//! What a table declares: its attributes, their types and its primary key.

use serde::{Deserialize, Serialize};

use crate::computed::{Computed, Evaluator};
use crate::error::Error;

/// Bytes that an attribute's name may have.
const ATTRIBUTE_BYTES_MAX: usize = 250;

/// Definition of one table, stored in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// Name of the database.
    pub database: String,
    /// Name of the table.
    pub name: String,
    /// Declared attributes, in the order of declaration.
    pub attributes: Vec<Attribute>,
    /// Position of the primary key in `attributes`.
    pub primary_key: usize,
    /// Whether attributes that are not declared are refused.
    pub sealed: bool,
    /// How long records live; `None`: for ever, unless an attribute gives them a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Expiry>,
}

/// How long the records of a table live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// From each write on, in milliseconds; `None`: records without a time of their own live for
    /// ever.
    pub lifetime_ms: Option<u64>,
    /// Time for which an expired record still takes its space, unseen, in milliseconds.
    pub kept_ms: u64,
    /// Least time between two sweeps of the table, in milliseconds; `None`: the store's own.
    pub sweep_ms: Option<u64>,
}

/// One declared attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// Name, also the name of the JSON member.
    pub name: String,
    /// Type of the value.
    pub kind: Kind,
    /// Whether a record must have a value that is not null.
    pub required: bool,
    /// Whether a secondary index is kept; the primary key needs none.
    pub indexed: bool,
    /// Whether the store itself writes the value.
    pub role: Role,
    /// Names of the roles that may read and write the value; `None`: no role is kept from it here.
    /// The store keeps the list, and whoever knows the users applies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// How the value is made, if it is not stored. Such an attribute can be compared, sorted by and
    /// indexed, which keeps the value it had at the last write; a body may not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed: Option<Computed>,
    /// Whether a value that is not stored is shown even if it was not asked for.
    #[serde(default)]
    pub enumerable: bool,
}

impl Attribute {
    /// An attribute that the client may give or not, without an index.
    pub fn new(name: impl Into<String>, kind: Kind) -> Attribute {
        Attribute {
            name: name.into(),
            kind,
            required: false,
            indexed: false,
            role: Role::Plain,
            allow: None,
            computed: None,
            enumerable: false,
        }
    }
}

/// Who gives an attribute its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The client.
    Plain,
    /// The store, when a record is created, unless the client gave a time.
    CreatedTime,
    /// The store, at each write.
    UpdatedTime,
    /// The client: the time at which the record expires, null for never.
    ExpiresAt,
}

impl Role {
    /// Whether the store writes the value, so that a body need not have it.
    pub fn is_stores(self) -> bool {
        matches!(self, Role::CreatedTime | Role::UpdatedTime)
    }
}

/// Type of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Text.
    String,
    /// Whole number within ±2^31.
    Int,
    /// Whole number within ±2^53.
    Long,
    /// Number.
    Float,
    /// Whole number of at most 300 digits.
    BigInt,
    /// True or false.
    Boolean,
    /// Key: text; whole numbers are accepted and kept as text when they are the primary key.
    Id,
    /// Any JSON value.
    Any,
    /// RFC 3339 time, a date alone, or milliseconds since 1970.
    Date,
    /// Bytes in base64.
    Bytes,
    /// Bytes in base64, expected to be large.
    Blob,
    /// Array of one type.
    Array(Box<Element>),
    /// Object with attributes of its own; others are accepted too.
    Object(Vec<Attribute>),
}

/// Type of an array's elements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// Type of each element.
    pub kind: Kind,
    /// Whether null elements are refused.
    pub required: bool,
}

impl TableSchema {
    /// An open table whose first attribute is the primary key.
    pub fn new(
        database: impl Into<String>,
        name: impl Into<String>,
        attributes: Vec<Attribute>,
    ) -> TableSchema {
        TableSchema {
            database: database.into(),
            name: name.into(),
            attributes,
            primary_key: 0,
            sealed: false,
            expiry: None,
        }
    }

    /// The same, able to make the values that are not stored.
    pub(crate) fn bound(mut self, evaluator: &Evaluator) -> TableSchema {
        for computed in self.attributes.iter_mut().filter_map(|a| a.computed.as_mut()) {
            computed.bind(evaluator);
        }
        self
    }

    /// Whether its records can expire.
    pub fn expires(&self) -> bool {
        let by_record = self.attributes.iter().any(|a| a.role == Role::ExpiresAt);
        self.expiry.is_some() || by_record
    }

    /// The attribute that is the primary key. `primary_key` must be in range, which
    /// [`Database::define`](crate::Database::define) checks.
    pub fn key_attribute(&self) -> &Attribute {
        &self.attributes[self.primary_key]
    }

    /// The declared attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// Attributes that need a secondary index.
    pub(crate) fn indexed(&self) -> impl Iterator<Item = &Attribute> {
        let primary = self.primary_key;
        let attributes = self.attributes.iter().enumerate();
        attributes.filter(move |(at, a)| a.indexed && *at != primary).map(|(_, a)| a)
    }

    /// Refuses a definition that the store could not keep to.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Some(key) = self.attributes.get(self.primary_key) else {
            return Err(self.incompatible("it has no primary key"));
        };
        if !key.kind.can_be_key() || key.role != Role::Plain || key.computed.is_some() {
            return Err(self.incompatible(&format!(
                "{} of type {} cannot be a primary key",
                key.name,
                key.kind.name()
            )));
        }
        for (at, attribute) in self.attributes.iter().enumerate() {
            self.check_attribute(attribute)?;
            if self.attributes[..at].iter().any(|other| other.name == attribute.name) {
                return Err(self.incompatible(&format!("{} is declared twice", attribute.name)));
            }
        }
        Ok(())
    }

    fn check_attribute(&self, attribute: &Attribute) -> Result<(), Error> {
        let Attribute { name, kind, indexed, role, .. } = attribute;
        if name.is_empty()
            || name.len() > ATTRIBUTE_BYTES_MAX
            || name.chars().any(|c| c.is_control())
        {
            return Err(self.incompatible(&format!("{name:?} is not an attribute name")));
        }
        if attribute.computed.is_some() && (attribute.required || *role != Role::Plain) {
            return Err(self.incompatible(&format!("{name} is computed and cannot be given")));
        }
        if *indexed && matches!(kind, Kind::Object(_)) {
            return Err(self.incompatible(&format!("{name} is an object and cannot be indexed")));
        }
        let holds_time =
            matches!(kind, Kind::Date | Kind::Float | Kind::Long | Kind::Int | Kind::Any);
        if *role != Role::Plain && !holds_time {
            let kind = kind.name();
            return Err(self.incompatible(&format!("{name} of type {kind} cannot hold a time")));
        }
        Ok(())
    }

    pub(crate) fn incompatible(&self, reason: &str) -> Error {
        Error::Incompatible { table: self.name.clone(), reason: reason.to_owned() }
    }
}

impl Kind {
    /// The type's name as a schema writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::String => "String",
            Kind::Int => "Int",
            Kind::Long => "Long",
            Kind::Float => "Float",
            Kind::BigInt => "BigInt",
            Kind::Boolean => "Boolean",
            Kind::Id => "ID",
            Kind::Any => "Any",
            Kind::Date => "Date",
            Kind::Bytes => "Bytes",
            Kind::Blob => "Blob",
            Kind::Array(_) => "Array",
            Kind::Object(_) => "Object",
        }
    }

    /// Whether one record can have several values of this type, so several index entries.
    pub(crate) fn is_multiple(&self) -> bool {
        matches!(self, Kind::Any | Kind::Array(_))
    }

    fn can_be_key(&self) -> bool {
        use Kind::{Any, Float, Id, Int, Long, String};
        matches!(self, Id | String | Int | Long | Float | Any)
    }
}
