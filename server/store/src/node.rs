//! Filters whose attributes are resolved, and the values of a record that they are tested against.

use crate::computed::Computed;
use crate::error::Error;
use crate::filter::{self, Comparator, Value};
use crate::join::{Hop, Lookups};
use crate::json;
use crate::scalar;
use crate::schema::{Attribute, Kind, TableSchema};

/// The attributes of one table that a query reads from records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    all: Vec<Field>,
    /// Their escaped names.
    names: Vec<Box<[u8]>>,
}

/// An attribute that a query reads from records.
#[derive(Debug, Clone)]
struct Field {
    name: String,
    kind: Kind,
    computed: Option<Computed>,
}

/// What was read from one record, in the order of the fields.
#[derive(Debug, Default)]
pub(crate) struct Values<'t> {
    stored: Vec<Option<&'t [u8]>>,
    /// Values that are not stored, by position; none where nothing is known of it.
    made: Vec<(usize, Option<Vec<u8>>)>,
}

impl<'t> Values<'t> {
    /// The value of the field at a position, if the record has one.
    pub(crate) fn get(&self, at: usize) -> Option<&[u8]> {
        match self.made.iter().find(|(field, _)| *field == at) {
            Some((_, value)) => value.as_deref(),
            None => self.stored(at),
        }
    }

    /// The same of a stored attribute, for as long as the transaction.
    pub(crate) fn stored(&self, at: usize) -> Option<&'t [u8]> {
        self.stored.get(at).copied().flatten()
    }
}

impl Fields {
    /// Position of an attribute, which is added when it is new.
    pub(crate) fn add(&mut self, schema: &TableSchema, name: &str) -> Result<usize, Error> {
        if let Some(at) = self.all.iter().position(|field| field.name == name) {
            return Ok(at);
        }
        let Some(attribute) = schema.attribute(name) else {
            return Err(Error::UnknownAttribute { attribute: name.to_owned() });
        };
        let Attribute { kind, computed, .. } = attribute;
        let (kind, computed) = (kind.clone(), computed.clone());
        self.all.push(Field { name: name.to_owned(), kind, computed });
        self.names.push(json::escaped(name));
        Ok(self.all.len() - 1)
    }

    /// Type of the field at a position that [`Fields::add`] gave.
    pub(crate) fn kind(&self, at: usize) -> &Kind {
        &self.all[at].kind
    }

    /// Whether expressions are evaluated to take them out of a record.
    pub(crate) fn evaluates(&self) -> bool {
        self.all.iter().any(|field| field.computed.is_some())
    }

    /// Takes the fields out of a record's body.
    pub(crate) fn extract<'t>(&self, body: &'t [u8], values: &mut Values<'t>) {
        json::extract(body, &self.names, &mut values.stored);
        values.made.clear();
        for (at, field) in self.all.iter().enumerate() {
            if let Some(computed) = &field.computed {
                values.made.push((at, computed.value(body).ok()));
            }
        }
    }
}

/// One condition, on a field that was taken out of the record.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) field: usize,
    pub(crate) comparator: Comparator,
    pub(crate) value: Value,
}

/// A filter whose attributes are resolved.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Test(Condition),
    /// A related record meets the node.
    Related(Box<(Hop, Node)>),
}

impl Node {
    /// Whether a record with these values meets the filter.
    pub(crate) fn holds<'t>(
        &self,
        fields: &Fields,
        values: &Values<'t>,
        lookups: &Lookups<'t>,
    ) -> Result<bool, Error> {
        match self {
            Node::And(nodes) => Node::all(nodes, fields, values, lookups),
            Node::Or(nodes) => {
                for node in nodes {
                    if node.holds(fields, values, lookups)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Node::Test(condition) => Ok(condition.holds(fields, values)),
            Node::Related(related) => {
                let (hop, node) = &**related;
                hop.any(values, lookups, &mut |values| node.holds(&hop.fields, values, lookups))
            }
        }
    }

    /// Whether expressions are evaluated on related records to test it.
    pub(crate) fn evaluates(&self) -> bool {
        match self {
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().any(Node::evaluates),
            Node::Test(_) => false,
            Node::Related(related) => related.0.fields.evaluates() || related.1.evaluates(),
        }
    }

    /// Whether a record meets all of these.
    pub(crate) fn all<'t>(
        nodes: &[Node],
        fields: &Fields,
        values: &Values<'t>,
        lookups: &Lookups<'t>,
    ) -> Result<bool, Error> {
        for node in nodes {
            if !node.holds(fields, values, lookups)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Condition {
    fn holds(&self, fields: &Fields, values: &Values<'_>) -> bool {
        let Condition { field, comparator, value } = self;
        values.get(*field).is_some_and(|raw| {
            let kind = fields.kind(*field);
            scalar::any(raw, kind, |scalar| filter::holds(&scalar, *comparator, value))
        })
    }

    /// Whether a raw value of this type meets the condition.
    #[cfg(test)]
    pub(crate) fn holds_for(self, kind: &Kind, raw: &[u8]) -> bool {
        let field = Field { name: "a".into(), kind: kind.clone(), computed: None };
        let fields = Fields { all: vec![field], names: Vec::new() };
        self.holds(&fields, &Values { stored: vec![Some(raw)], made: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Element;

    fn test(kind: &Kind, raw: &str, comparator: Comparator, value: Value) -> bool {
        Condition { field: 0, comparator, value }.holds_for(kind, raw.as_bytes())
    }

    #[test]
    fn values_of_different_types_are_unequal_and_unordered() {
        use Comparator::{Equal, Less, NotEqual};
        let five = || Value::Number(5.0);
        assert!(test(&Kind::Any, "5.0", Equal, five()));
        assert!(!test(&Kind::Any, "\"5\"", Equal, five()));
        assert!(test(&Kind::Any, "\"5\"", NotEqual, five()));
        assert!(!test(&Kind::Any, "\"4\"", Less, five()));
        assert!(!test(&Kind::Any, "null", Less, five()));
        assert!(test(&Kind::Any, "null", Equal, Value::Null));
        assert!(!test(&Kind::Any, "{\"a\":5}", NotEqual, five()));
    }

    #[test]
    fn any_element_of_an_array_will_do() {
        let dates = Kind::Array(Box::new(Element { kind: Kind::Date, required: false }));
        let raw = "[\"1970-01-01\",\"1970-01-02T00:00:00Z\"]";
        assert!(test(&dates, raw, Comparator::Equal, Value::Date(86_400_000)));
        assert!(!test(&dates, raw, Comparator::Greater, Value::Date(86_400_000)));
        assert!(!test(&Kind::Date, raw, Comparator::Equal, Value::Date(0)));
    }

    #[test]
    fn big_integers_compare_by_their_digits() {
        use Comparator::{Equal, Greater, Less};
        let big = |text: &str| Value::BigInt(text.into());
        assert!(!test(&Kind::BigInt, "9007199254740993", Equal, big("9007199254740992")));
        assert!(test(&Kind::BigInt, "9007199254740993", Greater, big("9007199254740992")));
        assert!(test(&Kind::BigInt, "-10", Less, big("-9")));
        assert!(test(&Kind::BigInt, "-0", Equal, big("0")));
    }
}
