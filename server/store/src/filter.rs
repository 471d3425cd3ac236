//! Conditions of a query, and how a stored record is tested against them.
//!
//! A condition on an array holds when it holds for any element. A missing attribute meets no
//! condition, not even `NotEqual`; `null` equals null only. Ordering compares values of one type.

use std::cmp::Ordering;

use memchr::memmem;

use crate::date;
use crate::encode::Decoded;
use crate::error::InvalidValue;
use crate::join::Join;
use crate::json;
use crate::scalar::Scalar;
use crate::schema::Kind;
use crate::validate;

/// What records must meet.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// All of these.
    And(Vec<Filter>),
    /// Any of these.
    Or(Vec<Filter>),
    /// One attribute compared with a value.
    Compare {
        /// Name of a declared attribute.
        attribute: String,
        /// How it is compared.
        comparator: Comparator,
        /// What it is compared with.
        value: Value,
    },
    /// There is a related record that meets a filter.
    Related {
        /// How the related records are found.
        join: Join,
        /// What one of them must meet.
        filter: Box<Filter>,
    },
}

/// How an attribute is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparator {
    /// The same value.
    Equal,
    /// There is a value, and another one; also one of another type.
    NotEqual,
    /// Less, of the same type.
    Less,
    /// Less or equal, of the same type.
    LessEqual,
    /// Greater, of the same type.
    Greater,
    /// Greater or equal, of the same type.
    GreaterEqual,
    /// Text that begins with the value.
    StartsWith,
    /// Text that ends with the value.
    EndsWith,
    /// Text that contains the value.
    Contains,
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Null, as stored: not a missing attribute.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// A whole number in decimals, compared digit by digit.
    BigInt(String),
    /// Text.
    String(String),
    /// A time, in milliseconds since 1970.
    Date(i64),
}

impl Filter {
    /// Bytes of the longest text, or whole number in decimals, that anything is compared with.
    pub fn value_bytes(&self) -> usize {
        match self {
            Filter::And(all) | Filter::Or(all) => {
                all.iter().map(Filter::value_bytes).max().unwrap_or(0)
            }
            Filter::Compare { value: Value::String(text) | Value::BigInt(text), .. } => text.len(),
            Filter::Compare { .. } => 0,
            Filter::Related { filter, .. } => filter.value_bytes(),
        }
    }
}

impl Value {
    /// Reads a word of a query by the type of the attribute it is compared with. `Any` reads
    /// `null`, `true`, `false` and numbers as such, everything else as text.
    ///
    /// # Errors
    /// [`InvalidValue`] when the word is no value of that type.
    pub fn parse(kind: &Kind, text: &str) -> Result<Value, InvalidValue> {
        let refused = || InvalidValue { value: text.to_owned(), expected: kind.name() };
        let number = || json::number(text.as_bytes()).filter(|number| number.is_finite());
        match kind {
            Kind::Int | Kind::Long | Kind::Float => number().map(Value::Number).ok_or_else(refused),
            Kind::BigInt if validate::is_big_integer(text) => Ok(Value::BigInt(text.to_owned())),
            Kind::BigInt => Err(refused()),
            Kind::Boolean => match text {
                "true" => Ok(Value::Boolean(true)),
                "false" => Ok(Value::Boolean(false)),
                _ => Err(refused()),
            },
            Kind::Date => {
                let ms = date::parse(text).or_else(|| text.parse().ok());
                ms.map(Value::Date).ok_or_else(refused)
            }
            Kind::Any => Ok(match text {
                "null" => Value::Null,
                "true" => Value::Boolean(true),
                "false" => Value::Boolean(false),
                _ => number().map_or_else(|| Value::String(text.to_owned()), Value::Number),
            }),
            Kind::Array(element) => Value::parse(&element.kind, text),
            Kind::String | Kind::Id | Kind::Bytes | Kind::Blob | Kind::Object(_) => {
                Ok(Value::String(text.to_owned()))
            }
        }
    }
}

/// Whether one value meets a condition.
pub(crate) fn holds(scalar: &Scalar<'_>, comparator: Comparator, value: &Value) -> bool {
    let texts = || match (scalar, value) {
        (Scalar::String(text), Value::String(part)) => Some((text.as_bytes(), part.as_bytes())),
        _ => None,
    };
    let order = || compare(scalar, value);
    match comparator {
        Comparator::Equal => order() == Some(Ordering::Equal),
        Comparator::NotEqual => order() != Some(Ordering::Equal),
        Comparator::Less => order().is_some_and(Ordering::is_lt),
        Comparator::LessEqual => order().is_some_and(Ordering::is_le),
        Comparator::Greater => order().is_some_and(Ordering::is_gt),
        Comparator::GreaterEqual => order().is_some_and(Ordering::is_ge),
        Comparator::StartsWith => texts().is_some_and(|(text, part)| text.starts_with(part)),
        Comparator::EndsWith => texts().is_some_and(|(text, part)| text.ends_with(part)),
        Comparator::Contains => {
            texts().is_some_and(|(text, part)| memmem::find(text, part).is_some())
        }
    }
}

/// Order of two values of one type, `None` for different types.
fn compare(scalar: &Scalar<'_>, value: &Value) -> Option<Ordering> {
    match (scalar, value) {
        (Scalar::Null, Value::Null) => Some(Ordering::Equal),
        (Scalar::Boolean(a), Value::Boolean(b)) => Some(a.cmp(b)),
        (Scalar::Number { value: a, .. }, Value::Number(b)) => a.partial_cmp(b),
        (Scalar::Number { value: a, .. }, Value::Date(b)) => a.partial_cmp(&(*b as f64)),
        (Scalar::Number { value: a, text }, Value::BigInt(b)) => match std::str::from_utf8(text) {
            Ok(text) if is_integer(text) && is_integer(b) => Some(compare_integers(text, b)),
            _ => a.partial_cmp(&json::number(b.as_bytes())?),
        },
        (Scalar::String(a), Value::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        _ => None,
    }
}

/// Whether an index entry can belong to a record that meets the condition: `false` is certain,
/// `true` has to be looked at in the record.
pub(crate) fn may_hold(entry: &Decoded<'_>, comparator: Comparator, value: &Value) -> bool {
    let scalar = match entry {
        Decoded::Cut => return true,
        Decoded::Null => Scalar::Null,
        Decoded::Boolean(value) => Scalar::Boolean(*value),
        Decoded::Number(_) if matches!(value, Value::BigInt(_)) => return true,
        Decoded::Number(value) => Scalar::Number { value: *value, text: b"" },
        Decoded::String(text) => match std::str::from_utf8(text) {
            Ok(text) => Scalar::String(text.into()),
            Err(_) => return true,
        },
    };
    holds(&scalar, comparator, value)
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Order of two whole numbers in decimals.
fn compare_integers(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text).trim_start_matches('0').to_owned();
        (text.starts_with('-') && !digits.is_empty(), digits)
    };
    let ((a_negative, a), (b_negative, b)) = (parts(a), parts(b));
    let size = a.len().cmp(&b.len()).then_with(|| a.cmp(&b));
    match (a_negative, b_negative) {
        (false, false) => size,
        (true, true) => size.reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_by_type() {
        assert_eq!(Value::parse(&Kind::Int, "5"), Ok(Value::Number(5.0)));
        assert_eq!(Value::parse(&Kind::Any, "x"), Ok(Value::String("x".into())));
        assert_eq!(Value::parse(&Kind::Any, "5"), Ok(Value::Number(5.0)));
        assert_eq!(Value::parse(&Kind::Id, "5"), Ok(Value::String("5".into())));
        assert_eq!(Value::parse(&Kind::Date, "1970-01-01"), Ok(Value::Date(0)));
        assert_eq!(Value::parse(&Kind::Int, "x").unwrap_err().expected, "Int");
        assert!(Value::parse(&Kind::Boolean, "1").is_err());
    }

    #[test]
    fn what_is_contained_is_found_in_a_time_that_grows_with_the_text() {
        let text = "a".repeat(1 << 20);
        let part = format!("{}b", "a".repeat(1 << 19));
        let holds = |part: &str| {
            let part = Value::String(part.to_owned());
            holds(&Scalar::String(text.as_str().into()), Comparator::Contains, &part)
        };
        let started = std::time::Instant::now();
        assert!(!holds(&part) && holds(&part[..1000]) && holds(""));
        // comparing at each place takes minutes
        assert!(started.elapsed().as_secs() < 3, "{:?}", started.elapsed());
    }
}
