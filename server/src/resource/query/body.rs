//! The body of a `QUERY`: the same as a query in a URL, as JSON.
//!
//! ```text
//! {"conditions": [{"attribute": "age", "comparator": "greater_than", "value": 5},
//!                 {"operator": "or", "conditions": […]}],
//!  "operator": "and", "limit": 10, "offset": 20, "select": ["name", {"name": "owner", "select": ["name"]}],
//!  "sort": {"attribute": "age", "descending": true, "next": {…}}, "explain": false}
//! ```

use super::condition::{self, comparator};
use super::functions::sort_by;
use super::{Parsed, text};
use crate::error::{Answer, Code, Failure};
use crate::resource::model::Scope;
use crate::resource::select::{Asked, Form, Selection};
use harper_store::{Comparator, Filter, Sort};
use serde_json::{Map, Value};

/// Conditions or selections within one another.
const DEPTH_MAX: usize = 16;
/// Keys of an order.
const SORTS_MAX: usize = 16;

/// Parses a body.
///
/// # Errors
/// 400 naming the mistake and the member it is in; 403 for what may not be read.
pub(super) fn parse(scope: &Scope<'_>, body: &[u8]) -> Answer<Parsed> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        Failure::new(Code::InvalidBody, format!("The query is not valid JSON: {error}"))
    })?;
    let mut reader = Reader { scope, conditions: 0 };
    let mut parsed = Parsed::default();
    let members = object(&value, "the query")?;
    for (name, value) in members {
        match name.as_str() {
            "conditions" => {}
            "operator" => drop(is_or(members, "")?),
            "limit" => parsed.query.limit = count(value, name)?,
            "offset" => parsed.query.offset = count(value, name)?.unwrap_or(0),
            "select" => parsed.select = reader.select(value)?,
            "sort" => parsed.query.sort = reader.sort(value)?,
            "explain" => parsed.explains = flag(value, name)?,
            other => return Err(wrong("", &format!("there is no member {other}"))),
        }
    }
    if let Some(conditions) = members.get("conditions") {
        parsed.query.filter = reader.all(conditions, is_or(members, "")?, "conditions", 0)?;
    }
    Ok(parsed)
}

struct Reader<'a> {
    scope: &'a Scope<'a>,
    conditions: usize,
}

impl Reader<'_> {
    /// Conditions joined by `and` or `or`; none is no filter.
    fn all(
        &mut self,
        value: &Value,
        is_or: bool,
        place: &str,
        depth: usize,
    ) -> Answer<Option<Filter>> {
        if depth > DEPTH_MAX {
            return Err(wrong(place, &format!("conditions are nested deeper than {DEPTH_MAX}")));
        }
        let Value::Array(items) = value else { return Err(wrong(place, "expected an array")) };
        let mut filters = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            filters.push(self.one(item, &format!("{place}[{index}]"), depth)?);
        }
        Ok(match (filters.len(), is_or) {
            (0 | 1, _) => filters.pop(),
            (_, true) => Some(Filter::Or(filters)),
            (_, false) => Some(Filter::And(filters)),
        })
    }

    fn one(&mut self, value: &Value, place: &str, depth: usize) -> Answer<Filter> {
        let members = object(value, place)?;
        if let Some(conditions) = members.get("conditions") {
            known(members, &["conditions", "operator"], place)?;
            let inner = format!("{place}.conditions");
            let filter = self.all(conditions, is_or(members, place)?, &inner, depth + 1)?;
            return filter.ok_or_else(|| wrong(&inner, "a group is empty"));
        }
        self.conditions += 1;
        if self.conditions > text::CONDITIONS_MAX {
            return Err(wrong(place, &format!("more than {} conditions", text::CONDITIONS_MAX)));
        }
        // the operations API has older names for these
        let known_names =
            ["attribute", "search_attribute", "comparator", "search_type", "value", "search_value"];
        known(members, &known_names, place)?;
        let member = |name: &str, older: &str| members.get(name).or_else(|| members.get(older));
        let name = match member("attribute", "search_attribute") {
            Some(Value::String(name)) => name.clone(),
            Some(Value::Array(path)) => path_name(path, place)?,
            _ => return Err(wrong(place, "attribute is missing")),
        };
        let value =
            member("value", "search_value").ok_or_else(|| wrong(place, "value is missing"))?;
        let word = match member("comparator", "search_type") {
            None => "equals",
            Some(Value::String(word)) => word,
            Some(_) => return Err(wrong(place, "comparator is not a string")),
        };
        self.compare(&name, word, value).map_err(|failure| placed(failure, place))
    }

    fn compare(&self, name: &str, word: &str, value: &Value) -> Answer<Filter> {
        let one = |comparator, value| {
            let reached = self.scope.reach(name)?;
            let value = condition::of_json(&reached, comparator, value)?;
            Ok(condition::compare(reached, comparator, value))
        };
        if word == "between" {
            let [least, greatest] = value.as_array().map_or(&[][..], Vec::as_slice) else {
                return Err(Failure::new(
                    Code::InvalidQuery,
                    "between needs an array of two values",
                ));
            };
            let mut filter = one(Comparator::GreaterEqual, least)?;
            condition::narrow(&mut filter, one(Comparator::LessEqual, greatest)?);
            return Ok(filter);
        }
        one(comparator(word).ok_or_else(|| condition::unknown(word))?, value)
    }

    fn sort(&self, value: &Value) -> Answer<Vec<Sort>> {
        let (mut keys, mut next) = (Vec::new(), Some(value).filter(|value| !value.is_null()));
        while let Some(value) = next {
            if keys.len() == SORTS_MAX {
                return Err(wrong("sort", &format!("more than {SORTS_MAX} attributes")));
            }
            let members = object(value, "sort")?;
            known(members, &["attribute", "descending", "next"], "sort")?;
            let name = match members.get("attribute") {
                Some(Value::String(name)) => name.clone(),
                Some(Value::Array(path)) => path_name(path, "sort")?,
                _ => return Err(wrong("sort", "attribute is missing")),
            };
            let descending = members
                .get("descending")
                .map_or(Ok(false), |value| flag(value, "sort.descending"))?;
            let key = sort_by(self.scope, &name, descending);
            keys.push(key.map_err(|failure| placed(failure, "sort"))?);
            next = members.get("next").filter(|value| !value.is_null());
        }
        Ok(keys)
    }

    fn select(&self, value: &Value) -> Answer<Option<Selection>> {
        if value.is_null() {
            return Ok(None);
        }
        let asked = asked(value, "select", 0)?;
        let selection = Selection::new(self.scope, asked);
        selection.map(Some).map_err(|failure| placed(failure, "select"))
    }
}

/// A name alone is its bare value, an array are objects, as is each `{"name": …, "select": …}` in it.
fn asked(value: &Value, place: &str, depth: usize) -> Answer<Asked> {
    if depth > DEPTH_MAX {
        return Err(wrong(place, &format!("selections are nested deeper than {DEPTH_MAX}")));
    }
    let items = match value {
        Value::String(name) => {
            return Ok(Asked { form: Form::Values, items: vec![(name.clone(), None)] });
        }
        Value::Array(items) if !items.is_empty() => items,
        _ => return Err(wrong(place, "expected a name or an array of names")),
    };
    let items = items.iter().enumerate().map(|(index, item)| {
        let place = format!("{place}[{index}]");
        let members = match item {
            Value::String(name) => return Ok((name.clone(), None)),
            other => object(other, &place)?,
        };
        known(members, &["name", "select"], &place)?;
        let Some(Value::String(name)) = members.get("name") else {
            return Err(wrong(&place, "name is missing"));
        };
        let inner = members.get("select").filter(|value| !value.is_null());
        let inner = inner.map(|value| asked(value, &format!("{place}.select"), depth + 1));
        Ok((name.clone(), inner.transpose()?))
    });
    Ok(Asked { form: Form::Objects, items: items.collect::<Answer<_>>()? })
}

fn path_name(path: &[Value], place: &str) -> Answer<String> {
    let names: Option<Vec<_>> = path.iter().map(Value::as_str).collect();
    match names {
        Some(names) if !names.is_empty() => Ok(names.join(".")),
        _ => Err(wrong(place, "attribute is a name or an array of names")),
    }
}

fn object<'v>(value: &'v Value, place: &str) -> Answer<&'v Map<String, Value>> {
    value.as_object().ok_or_else(|| wrong(place, "expected an object"))
}

fn known(members: &Map<String, Value>, names: &[&str], place: &str) -> Answer<()> {
    match members.keys().find(|name| !names.contains(&name.as_str())) {
        Some(other) => Err(wrong(place, &format!("there is no member {other}"))),
        None => Ok(()),
    }
}

fn is_or(members: &Map<String, Value>, place: &str) -> Answer<bool> {
    match members.get("operator").map(Value::as_str) {
        None => Ok(false),
        Some(Some(word)) if word.eq_ignore_ascii_case("and") => Ok(false),
        Some(Some(word)) if word.eq_ignore_ascii_case("or") => Ok(true),
        Some(_) => Err(wrong(place, "operator is and, or or")),
    }
}

fn count(value: &Value, place: &str) -> Answer<Option<usize>> {
    if value.is_null() {
        return Ok(None);
    }
    let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
    count.map(Some).ok_or_else(|| wrong(place, "expected a whole number that is not negative"))
}

fn flag(value: &Value, place: &str) -> Answer<bool> {
    value.as_bool().ok_or_else(|| wrong(place, "expected true or false"))
}

fn wrong(place: &str, what: &str) -> Box<Failure> {
    placed(Failure::new(Code::InvalidQuery, what.to_owned()), place)
}

fn placed(mut failure: Box<Failure>, place: &str) -> Box<Failure> {
    if failure.code == Code::InvalidQuery && !place.is_empty() {
        failure.message = format!("{place}: {}", failure.message).into();
    }
    failure
}
