//! From a condition to the range of keys that can meet it.

use std::cmp::Ordering;
use std::ops::Bound;

use crate::encode::{self, TAG_BOOLEAN, TAG_NULL, TAG_NUMBER, TAG_STRING};
use crate::filter::{Comparator, Value};
use crate::json;

/// A range of keys in one tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRange {
    pub(crate) lower: Bound<Vec<u8>>,
    pub(crate) upper: Bound<Vec<u8>>,
    /// Whether every key within meets the condition, so that records need not be tested again.
    pub(crate) exact: bool,
}

/// Which keys are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tree {
    /// Records, whose keys are values.
    Primary,
    /// An index, whose keys begin with encoded values.
    Index,
}

impl KeyRange {
    pub(crate) fn all() -> KeyRange {
        KeyRange { lower: Bound::Unbounded, upper: Bound::Unbounded, exact: false }
    }

    /// Keys in both ranges.
    pub(crate) fn intersect(self, other: KeyRange) -> KeyRange {
        let lower = tighter(self.lower, other.lower, Ordering::Greater);
        let upper = tighter(self.upper, other.upper, Ordering::Less);
        KeyRange { lower, upper, exact: self.exact && other.exact }
    }

    /// Whether an encoded value lies within, in a tree of values.
    pub(crate) fn contains(&self, value: &[u8]) -> bool {
        let above = match &self.lower {
            Bound::Included(bound) => value >= bound.as_slice(),
            Bound::Excluded(bound) => value > bound.as_slice(),
            Bound::Unbounded => true,
        };
        above
            && match &self.upper {
                Bound::Included(bound) => value <= bound.as_slice(),
                Bound::Excluded(bound) => value < bound.as_slice(),
                Bound::Unbounded => true,
            }
    }
}

/// The bound that excludes more; `inner` is the order in which a bound lies further inside.
fn tighter(a: Bound<Vec<u8>>, b: Bound<Vec<u8>>, inner: Ordering) -> Bound<Vec<u8>> {
    let order = match (&a, &b) {
        (Bound::Unbounded, _) => return b,
        (_, Bound::Unbounded) => return a,
        (Bound::Included(x) | Bound::Excluded(x), Bound::Included(y) | Bound::Excluded(y)) => {
            x.cmp(y)
        }
    };
    let b_is_tighter =
        order == inner.reverse() || (order.is_eq() && matches!(b, Bound::Excluded(_)));
    if b_is_tighter { b } else { a }
}

/// The keys of records that can meet a condition; `None` if no value can.
pub(crate) fn range(tree: Tree, comparator: Comparator, value: &Value) -> Option<KeyRange> {
    match comparator {
        Comparator::NotEqual => Some(KeyRange::all()),
        Comparator::EndsWith | Comparator::Contains => match value {
            Value::String(_) => Some(of_tag(TAG_STRING)),
            _ => None,
        },
        Comparator::StartsWith => match value {
            Value::String(text) => Some(prefix(tree, text.as_bytes())),
            _ => None,
        },
        Comparator::Equal
        | Comparator::Less
        | Comparator::LessEqual
        | Comparator::Greater
        | Comparator::GreaterEqual => ordered(tree, comparator, &Point::of(tree, value)?),
    }
}

/// Where a value lies in a tree.
struct Point {
    key: Vec<u8>,
    /// Whether other values lie in the same place.
    shared: bool,
}

impl Point {
    fn of(tree: Tree, value: &Value) -> Option<Point> {
        let mut key = Vec::new();
        let mut shared = false;
        match value {
            Value::Null => encode::push_null(&mut key),
            Value::Boolean(value) => encode::push_boolean(&mut key, *value),
            Value::Number(value) if value.is_nan() => return None,
            Value::Number(value) => encode::push_number(&mut key, *value),
            Value::Date(ms) => encode::push_number(&mut key, *ms as f64),
            Value::BigInt(digits) => {
                shared = true;
                encode::push_number(&mut key, json::number(digits.as_bytes())?);
            }
            Value::String(text) if tree == Tree::Primary => {
                key.push(TAG_STRING);
                key.extend_from_slice(text.as_bytes());
            }
            Value::String(text) => {
                shared = encode::is_cut(text.as_bytes());
                encode::push_string(&mut key, text.as_bytes());
            }
        }
        Some(Point { key, shared })
    }
}

fn ordered(tree: Tree, comparator: Comparator, point: &Point) -> Option<KeyRange> {
    let Point { key, shared } = point;
    let tag = *key.first()?;
    debug_assert!([TAG_NULL, TAG_BOOLEAN, TAG_NUMBER, TAG_STRING].contains(&tag));
    let at = || Bound::Included(key.clone());
    // Past the value: in an index its entries go on with the primary key.
    let (until, past) = match tree {
        Tree::Primary => (Bound::Included(key.clone()), Bound::Excluded(key.clone())),
        Tree::Index => {
            let next = encode::successor(key)?;
            (Bound::Excluded(next.clone()), Bound::Included(next))
        }
    };
    let whole = of_tag(tag);
    let (lower, upper) = match comparator {
        Comparator::Equal => (at(), until),
        Comparator::Less if *shared => (whole.lower, until),
        Comparator::Less => (whole.lower, Bound::Excluded(key.clone())),
        Comparator::LessEqual => (whole.lower, until),
        Comparator::Greater if *shared => (at(), whole.upper),
        Comparator::Greater => (past, whole.upper),
        _ => (at(), whole.upper),
    };
    Some(KeyRange { lower, upper, exact: !shared })
}

fn prefix(tree: Tree, text: &[u8]) -> KeyRange {
    let mut start = Vec::new();
    match tree {
        Tree::Primary => {
            start.push(TAG_STRING);
            start.extend_from_slice(text);
        }
        Tree::Index => encode::push_string_prefix(&mut start, text),
    }
    let upper = encode::successor(&start).map_or(Bound::Unbounded, Bound::Excluded);
    let exact = tree == Tree::Primary || !encode::is_cut(text);
    KeyRange { lower: Bound::Included(start), upper, exact }
}

/// All values of one type; a condition that needs more than the type tests the record.
fn of_tag(tag: u8) -> KeyRange {
    let (lower, upper) = (Bound::Included(vec![tag]), Bound::Excluded(vec![tag + 1]));
    KeyRange { lower, upper, exact: false }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::node::Condition;
    use crate::scalar;
    use crate::schema::Kind;

    fn text() -> impl Strategy<Value = String> {
        let long = encode::STRING_BYTES_MAX;
        prop_oneof![
            "[ab\0]{0,3}",
            "[ab]{0,2}".prop_map(move |end| "a".repeat(long) + &end),
            "[ab]{0,2}".prop_map(move |end| "a".repeat(long - 1) + &end),
        ]
    }

    fn big() -> impl Strategy<Value = i64> {
        prop_oneof![-3i64..3, (-3i64..3).prop_map(|near| (1 << 53) + near)]
    }

    fn comparators() -> [Comparator; 9] {
        use Comparator::{
            Contains, EndsWith, Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual, StartsWith,
        };
        [Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual, StartsWith, EndsWith, Contains]
    }

    /// A range holds every value that meets its condition, and if it is exact no other.
    fn check(kind: &Kind, raw: &str, value: &Value) -> Result<(), TestCaseError> {
        let encoded = scalar::encodings(Some(raw.as_bytes()), kind).remove(0);
        for comparator in comparators() {
            let condition = Condition { field: 0, comparator, value: value.clone() };
            let holds = condition.holds_for(kind, raw.as_bytes());
            match range(Tree::Index, comparator, value) {
                Some(range) => {
                    let within = range.contains(&encoded);
                    prop_assert!(within || !holds, "{comparator:?} {value:?} misses {raw}");
                    prop_assert!(
                        !within || holds || !range.exact,
                        "{comparator:?} {value:?} {raw}"
                    );
                }
                None => prop_assert!(!holds, "{comparator:?} {value:?} {raw}"),
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn ranges_agree_with_conditions_on_text(stored in text(), wanted in text()) {
            check(&Kind::String, &json::quoted(&stored), &Value::String(wanted.clone()))?;
            check(&Kind::Any, "1", &Value::String(wanted))?;
            check(&Kind::Any, &json::quoted(&stored), &Value::Null)?;
            check(&Kind::Any, &json::quoted(&stored), &Value::Boolean(true))?;
        }

        #[test]
        fn ranges_agree_with_conditions_on_numbers(stored in big(), wanted in big()) {
            let raw = stored.to_string();
            check(&Kind::BigInt, &raw, &Value::BigInt(wanted.to_string()))?;
            check(&Kind::Any, &raw, &Value::Number(wanted as f64))?;
            check(&Kind::Date, &raw, &Value::Date(wanted))?;
            check(&Kind::Any, "true", &Value::Number(wanted as f64))?;
        }
    }
}
