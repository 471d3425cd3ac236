//! One condition: its comparator under each of its names, its value by the type of the attribute, and the
//! relationships that lead there.

use super::kind_name;
use crate::error::{Answer, Code, Failure};
use crate::resource::model::Reached;
use harper_store::{Comparator, Filter, Kind, Value};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The comparators by their short name, which stands in URLs as `=gt=`, and their long one.
const NAMES: [(&str, &str, Comparator); 9] = [
    ("eq", "equals", Comparator::Equal),
    ("ne", "not_equal", Comparator::NotEqual),
    ("lt", "less_than", Comparator::Less),
    ("le", "less_than_equal", Comparator::LessEqual),
    ("gt", "greater_than", Comparator::Greater),
    ("ge", "greater_than_equal", Comparator::GreaterEqual),
    ("sw", "starts_with", Comparator::StartsWith),
    ("ew", "ends_with", Comparator::EndsWith),
    ("ct", "contains", Comparator::Contains),
];

/// The comparator of this name, short or long.
pub(super) fn comparator(name: &str) -> Option<Comparator> {
    let found = NAMES.iter().find(|(short, long, _)| name == *short || name == *long);
    found.map(|(_, _, comparator)| *comparator)
}

/// What a client that uses another name is told.
pub(super) fn unknown(name: &str) -> Box<Failure> {
    wrong(format!("Unknown query comparator \"{name}\""))
}

/// A condition on what a name leads to: there is a record on the way that meets it.
pub(super) fn compare(reached: Reached<'_>, comparator: Comparator, value: Value) -> Filter {
    let attribute = reached.attribute.name.clone();
    let compare = Filter::Compare { attribute, comparator, value };
    reached
        .via
        .into_iter()
        .rev()
        .fold(compare, |filter, join| Filter::Related { join, filter: Box::new(filter) })
}

/// The comparator and value that a word of a URL, still encoded, stands for. With `=` and `===` it is a value of the
/// attribute's type as it stands; with the others it may name its own type, be `null`, or end with `*`.
pub(super) fn of_word(
    reached: &Reached<'_>,
    comparator: Comparator,
    is_strict: bool,
    word: &str,
) -> Answer<(Comparator, Value)> {
    use Comparator::{Contains, EndsWith, Equal, StartsWith};
    let attribute = reached.attribute;
    let text = percent_decode_str(word).decode_utf8();
    let text = text.map_err(|_| wrong(format!("the value of {} is not UTF-8", attribute.name)))?;
    let text = &*text;
    let by_kind = |kind: &Kind, text: &str| by_kind(&attribute.name, kind, text);
    if matches!(comparator, StartsWith | EndsWith | Contains) {
        return Ok((comparator, Value::String(text.to_owned())));
    }
    let kind = element(&attribute.kind);
    if is_strict {
        return Ok((comparator, by_kind(kind, text)?));
    }
    if comparator == Equal && word.starts_with('*') {
        return Err(wrong("a leading * is not supported; use =ew= or =ct=".to_owned()));
    }
    let value = match text.split_once(':') {
        _ if text == "null" => Value::Null,
        Some(("number", number)) => by_kind(&Kind::Float, number)?,
        Some(("boolean", word)) => by_kind(&Kind::Boolean, word)?,
        Some(("date", date)) => by_kind(&Kind::Date, date)?,
        Some(("string", word)) => Value::String(word.to_owned()),
        // an encoded asterisk is one
        _ if comparator == Equal && word.ends_with('*') => {
            let prefix = text.strip_suffix('*').unwrap_or(text);
            return Ok((StartsWith, Value::String(prefix.to_owned())));
        }
        _ => by_kind(kind, text)?,
    };
    Ok((comparator, value))
}

/// The value that JSON stands for. Text is read by the type of the attribute, as a word of a URL is.
pub(super) fn of_json(
    reached: &Reached<'_>,
    comparator: Comparator,
    value: &serde_json::Value,
) -> Answer<Value> {
    use Comparator::{Contains, EndsWith, StartsWith};
    let attribute = reached.attribute;
    let kind = element(&attribute.kind);
    let is_text = matches!(comparator, StartsWith | EndsWith | Contains);
    match value {
        serde_json::Value::String(text) if is_text || *kind == Kind::Any => {
            Ok(Value::String(text.clone()))
        }
        serde_json::Value::String(text) => by_kind(&attribute.name, kind, text),
        serde_json::Value::Null if !is_text => Ok(Value::Null),
        serde_json::Value::Bool(value) if !is_text => Ok(Value::Boolean(*value)),
        serde_json::Value::Number(number) if !is_text => match kind {
            // these are compared digit by digit, and by their time
            Kind::BigInt | Kind::Date | Kind::Id => {
                by_kind(&attribute.name, kind, &number.to_string())
            }
            _ => Ok(Value::Number(number.as_f64().unwrap_or(f64::NAN))),
        },
        other => Err(invalid(&attribute.name, kind, &other.to_string())),
    }
}

fn by_kind(name: &str, kind: &Kind, text: &str) -> Answer<Value> {
    Value::parse(kind, text).map_err(|_| invalid(name, kind, text))
}

fn invalid(name: &str, kind: &Kind, text: &str) -> Box<Failure> {
    let shown: Cow<'_, str> = match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    };
    let expected = kind_name(kind);
    wrong(format!("Invalid value for attribute {name}: \"{shown}\", expecting {expected}"))
}

fn wrong(sentence: String) -> Box<Failure> {
    Failure::new(Code::InvalidQuery, sentence)
}

/// A condition on an array is a condition on its elements.
fn element(kind: &Kind) -> &Kind {
    match kind {
        Kind::Array(element) => &element.kind,
        other => other,
    }
}

/// Adds a second bound to the condition before it. What related records must meet, one of them meets whole.
pub(super) fn narrow(filter: &mut Filter, second: Filter) {
    match (filter, second) {
        (Filter::Related { filter, .. }, Filter::Related { filter: second, .. }) => {
            narrow(filter, *second);
        }
        (first, second) => {
            let bounds = vec![first.clone(), second];
            *first = Filter::And(bounds);
        }
    }
}
