//! YAML (and so JSON) text as a tree in which every value remembers where it was written.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;
use std::fmt;

/// A position in a text; both count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// A value without structure.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
}

/// One node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A value without structure.
    Scalar(Scalar, Place),
    /// A list.
    List(Vec<Node>, Place),
    /// A mapping in the order written, each key with its own place.
    Map(Vec<(String, Place, Node)>, Place),
}

impl Node {
    /// Where the node begins.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Scalar(_, place) | Self::List(_, place) | Self::Map(_, place) => *place,
        }
    }

    /// The member `name` of a mapping.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.members().iter().find(|(key, _, _)| key == name).map(|(_, _, node)| node)
    }

    /// The members of a mapping; empty for any other node.
    #[must_use]
    pub fn members(&self) -> &[(String, Place, Node)] {
        match self {
            Self::Map(members, _) => members,
            _ => &[],
        }
    }

    /// The node without its places.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Scalar(Scalar::Null, _) => Value::Null,
            Self::Scalar(Scalar::Bool(value), _) => Value::from(*value),
            Self::Scalar(Scalar::Int(value), _) => Value::from(*value),
            Self::Scalar(Scalar::Float(value), _) => Value::from(*value),
            Self::Scalar(Scalar::Text(value), _) => Value::from(value.as_str()),
            Self::List(items, _) => items.iter().map(Node::to_json).collect(),
            Self::Map(members, _) => {
                members.iter().map(|(key, _, node)| (key.clone(), node.to_json())).collect()
            }
        }
    }

    fn moved_to(mut self, to: Place) -> Self {
        match &mut self {
            Self::Scalar(_, place) | Self::List(_, place) | Self::Map(_, place) => *place = to,
        }
        self
    }
}

/// Reads one YAML document. An empty text is an empty mapping.
///
/// # Errors
/// The place and the sentence of the first syntax error.
pub fn parse(text: &str) -> Result<Node, (Place, String)> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Node::Map(Vec::new(), Place::default()));
    }
    // YAML 1.2: `no` is text, `false` is not
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options::<Spanned<Node>>(text, options).map(place_node).map_err(
        |error| {
            let place = error
                .location()
                .map_or(Place::default(), |at| Place { line: at.line(), column: at.column() });
            let sentence = error.without_snippet().to_string();
            (place, sentence.lines().next().unwrap_or_default().to_owned())
        },
    )
}

fn place_of<T>(spanned: &Spanned<T>) -> Place {
    Place { line: spanned.referenced.line(), column: spanned.referenced.column() }
}

fn place_node(spanned: Spanned<Node>) -> Node {
    let place = place_of(&spanned);
    spanned.value.moved_to(place)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

fn scalar<E>(value: Scalar) -> Result<Node, E> {
    Ok(Node::Scalar(value, Place::default()))
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        scalar(Scalar::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        scalar(Scalar::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Node, D::Error> {
        Node::deserialize(inner)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Node, D::Error> {
        Node::deserialize(inner)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        scalar(Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        scalar(Scalar::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        scalar(i64::try_from(value).map_or(Scalar::Text(value.to_string()), Scalar::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        scalar(Scalar::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        scalar(Scalar::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        scalar(Scalar::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Spanned<Node>>()? {
            items.push(place_node(item));
        }
        Ok(Node::List(items, Place::default()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let place = place_of(&key);
            members.push((key.value, place, place_node(map.next_value::<Spanned<Node>>()?)));
        }
        Ok(Node::Map(members, Place::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let tree = parse("http:\n  port: 9926\n  corsAccessList: [a, 'b']\nempty:\n").unwrap();
        let port = tree.get("http").unwrap().get("port").unwrap();
        assert_eq!(*port, Node::Scalar(Scalar::Int(9926), Place { line: 2, column: 9 }));
        assert_eq!(tree.members()[1].1, Place { line: 4, column: 1 });
        let list = tree.get("http").unwrap().get("corsAccessList").unwrap();
        assert_eq!(list.to_json(), serde_json::json!(["a", "b"]));
        assert_eq!(tree.get("empty").unwrap().to_json(), Value::Null);
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let (place, sentence) = parse("http:\n  port: [1\nx: 2\n").unwrap_err();
        assert!(place.line >= 2, "{place:?} {sentence}");
        assert!(!sentence.is_empty());
    }

    #[test]
    fn words_that_look_like_old_booleans_are_text() {
        let tree = parse("[no, yes, on, off, y, n, true, false]").unwrap();
        assert_eq!(
            tree.to_json(),
            serde_json::json!(["no", "yes", "on", "off", "y", "n", true, false])
        );
    }

    #[test]
    fn an_empty_text_is_an_empty_mapping() {
        assert_eq!(parse("# nothing\n\n").unwrap().members().len(), 0);
    }
}
