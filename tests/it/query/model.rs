//! The same records in the test's memory, and what a condition means for them.

use crate::harness::Random;
use serde_json::{Map, Value, json};

/// Attributes of the tables; in one of them each is indexed, in the other none is.
pub(super) const ATTRIBUTES: [(&str, &str); 8] = [
    ("name", "String"),
    ("age", "Int"),
    ("weight", "Float"),
    ("good", "Boolean"),
    ("born", "Date"),
    ("big", "BigInt"),
    ("tags", "[String]"),
    ("any", "Any"),
];

/// The schema of both tables.
pub(super) fn schema() -> String {
    let table = |name: &str, directive: &str| {
        let fields = ATTRIBUTES.map(|(name, kind)| format!("  {name}: {kind}{directive}\n"));
        format!("type {name} @table @export {{\n  id: ID @primaryKey\n{}}}\n", fields.concat())
    };
    table("Indexed", " @indexed") + &table("Plain", "")
}

/// Records with few different values, so that conditions meet many of them; some lack attributes.
pub(super) fn records(count: usize, random: &mut Random) -> Vec<Value> {
    (0..count).map(|number| record(number, random)).collect()
}

fn record(number: usize, random: &mut Random) -> Value {
    let mut members = Map::new();
    members.insert("id".into(), json!(format!("r{number:04}")));
    for (name, _) in ATTRIBUTES {
        match random.below(10) {
            0 => {}
            1 => {
                members.insert(name.into(), Value::Null);
            }
            _ => {
                members.insert(name.into(), value(name, random));
            }
        }
    }
    Value::Object(members)
}

/// A value of an attribute.
pub(super) fn value(name: &str, random: &mut Random) -> Value {
    let word = |random: &mut Random| {
        const WORDS: [&str; 10] = [
            "",
            "a",
            "ab",
            "abc",
            "b",
            "ba",
            "Zürich",
            "zürich",
            "a long name that goes on",
            "50%",
        ];
        WORDS[random.below(10) as usize]
    };
    match name {
        "name" => json!(word(random)),
        "age" => json!(random.below(21) as i64 - 10),
        "weight" => json!((random.below(21) as f64 - 10.0) / 4.0),
        "good" => json!(random.below(2) == 1),
        "born" => json!(format!(
            "20{:02}-0{}-01T00:00:00.000Z",
            random.below(5) + 10,
            random.below(9) + 1
        )),
        "big" => json!(random.below(10) as i64 * 1_000_000_007 - 5_000_000_000),
        "tags" => (0..random.below(4)).map(|_| json!(word(random))).collect(),
        _ if random.below(2) == 0 => json!(random.below(5)),
        _ => json!(word(random)),
    }
}

/// A condition on one attribute.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) attribute: &'static str,
    pub(super) comparator: &'static str,
    pub(super) value: Value,
}

pub(super) const COMPARATORS: [&str; 9] = ["eq", "ne", "lt", "le", "gt", "ge", "sw", "ew", "ct"];

impl Condition {
    /// Any condition that can be written for its attribute.
    pub(super) fn random(random: &mut Random) -> Self {
        let (attribute, kind) = ATTRIBUTES[random.below(8) as usize];
        let is_text = matches!(kind, "String" | "[String]" | "Any");
        let count = if is_text { 9 } else { 6 };
        let comparator = COMPARATORS[random.below(count) as usize];
        let is_part = matches!(comparator, "sw" | "ew" | "ct");
        let mut value = loop {
            let value = self::value(if kind == "[String]" { "name" } else { attribute }, random);
            if !is_part || value.is_string() {
                break value;
            }
        };
        if matches!(comparator, "eq" | "ne") && random.below(8) == 0 {
            value = Value::Null;
        }
        Self { attribute, comparator, value }
    }

    /// The condition as it is written in a URL.
    pub(super) fn text(&self) -> String {
        let Self { attribute, comparator, value } = self;
        let word = match value {
            Value::String(text) if matches!(*comparator, "sw" | "ew" | "ct") => encoded(text),
            Value::String(text) if *attribute == "born" => encoded(text),
            Value::String(text) => format!("string:{}", encoded(text)),
            other => other.to_string(),
        };
        format!("{attribute}={comparator}={word}")
    }

    /// Whether a record meets it: any element of an array will do; what is absent meets nothing.
    pub(super) fn holds(&self, record: &Value) -> bool {
        match record.get(self.attribute) {
            None => false,
            Some(Value::Array(items)) => items.iter().any(|item| self.holds_for(item)),
            Some(value) => self.holds_for(value),
        }
    }

    fn holds_for(&self, value: &Value) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = compare(value, &self.value);
        let texts = value.as_str().zip(self.value.as_str());
        match self.comparator {
            "eq" => order == Some(Equal),
            "ne" => order != Some(Equal),
            "lt" => order == Some(Less),
            "le" => matches!(order, Some(Less | Equal)),
            "gt" => order == Some(Greater),
            "ge" => matches!(order, Some(Greater | Equal)),
            "sw" => texts.is_some_and(|(text, part)| text.starts_with(part)),
            "ew" => texts.is_some_and(|(text, part)| text.ends_with(part)),
            _ => texts.is_some_and(|(text, part)| text.contains(part)),
        }
    }
}

/// Order of two values of one type; dates of one form sort as their text.
pub(super) fn compare(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::Null, Value::Null) => Some(std::cmp::Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// A word with everything encoded that has a meaning in a query.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let letters = text.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    letters.collect()
}
