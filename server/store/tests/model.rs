//! The store against a map: random writes, then random queries, through indexes and without.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;

use common::{Fixture, ascending, attribute, delete, descending, patch, put, run, schema};
use harper_store::{
    Comparator, Database, Element, Filter, Kind, Op, Query, Table, TableSchema, Value,
};
use proptest::prelude::*;
use serde_json::Value as Json;

/// What the table should hold: id to record.
type Model = BTreeMap<String, serde_json::Map<String, Json>>;

#[derive(Debug, Clone)]
enum Write {
    Put(String, serde_json::Map<String, Json>),
    Patch(String, serde_json::Map<String, Json>),
    Add(String, i64),
    Delete(String),
    Reopen,
}

/// Attributes of three kinds: one value, anything, an array.
fn attributes(indexed: bool) -> TableSchema {
    let strings = Kind::Array(Box::new(Element { kind: Kind::String, required: false }));
    schema(
        "T",
        vec![
            attribute("id", Kind::Id, false),
            attribute("n", Kind::Float, indexed),
            attribute("s", Kind::String, indexed),
            attribute("any", Kind::Any, indexed),
            attribute("list", strings, indexed),
        ],
    )
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab]{1,2}", 1 => Just("a".repeat(500)), 1 => Just("a".repeat(501))]
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[ab\0\"é]{0,3}",
        1 => Just("a".repeat(256)),
        1 => Just("a".repeat(257)),
        1 => Just("a".repeat(256) + "b"),
    ]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![(-4i32..4).prop_map(f64::from), Just(0.5), Just(-1.5), Just(1e300)]
}

fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        number().prop_map(Json::from),
        string().prop_map(Json::from),
    ]
}

fn record() -> impl Strategy<Value = serde_json::Map<String, Json>> {
    let anything = prop_oneof![
        3 => scalar(),
        1 => proptest::collection::vec(scalar(), 0..4).prop_map(Json::from),
        1 => Just(serde_json::json!({"a": [1, {"b": "}"}]})),
    ];
    let members = (
        proptest::option::of(prop_oneof![number().prop_map(Json::from), Just(Json::Null)]),
        proptest::option::of(prop_oneof![string().prop_map(Json::from), Just(Json::Null)]),
        proptest::option::of(anything),
        proptest::option::of(proptest::collection::vec(string(), 0..4).prop_map(Json::from)),
    );
    members.prop_map(|(n, s, any, list)| {
        let members = [("n", n), ("s", s), ("any", any), ("list", list)];
        let given = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.map(|(name, value)| (name.to_owned(), value)).collect()
    })
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        6 => (id(), record()).prop_map(|(id, record)| Write::Put(id, record)),
        3 => (id(), record()).prop_map(|(id, record)| Write::Patch(id, record)),
        1 => (id(), -3i64..3).prop_map(|(id, by)| Write::Add(id, by)),
        2 => id().prop_map(Write::Delete),
        1 => Just(Write::Reopen),
    ]
}

fn comparator() -> impl Strategy<Value = Comparator> {
    use Comparator::{
        Contains, EndsWith, Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual, StartsWith,
    };
    proptest::sample::select(vec![
        Equal,
        NotEqual,
        Less,
        LessEqual,
        Greater,
        GreaterEqual,
        StartsWith,
        EndsWith,
        Contains,
    ])
}

fn condition() -> impl Strategy<Value = Filter> {
    let value = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Boolean),
        4 => number().prop_map(Value::Number),
        4 => string().prop_map(Value::String),
    ];
    let name = proptest::sample::select(vec!["id", "n", "s", "any", "list"]);
    (name, comparator(), value).prop_map(|(name, comparator, value)| Filter::Compare {
        attribute: name.into(),
        comparator,
        value,
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    condition().prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Filter::And),
            proptest::collection::vec(inner, 1..4).prop_map(Filter::Or),
        ]
    })
}

fn query() -> impl Strategy<Value = Query> {
    let name = proptest::sample::select(vec!["id", "n", "s", "any", "list"]);
    let sort = (name, any::<bool>()).prop_map(|(name, is_descending)| {
        if is_descending { descending(name) } else { ascending(name) }
    });
    let key_prefix = proptest::option::weighted(0.2, "[ab]".prop_map(String::from));
    (proptest::option::weighted(0.8, filter()), proptest::collection::vec(sort, 0..3), key_prefix)
        .prop_map(|(filter, sort, key_prefix)| Query {
            filter,
            sort,
            key_prefix,
            ..Query::default()
        })
}

fn text(record: &serde_json::Map<String, Json>) -> String {
    Json::Object(record.clone()).to_string()
}

fn apply(model: &mut Model, write: &Write) {
    let with_id = |id: &String, rest: &serde_json::Map<String, Json>| {
        let mut record = serde_json::Map::new();
        record.insert("id".into(), Json::from(id.clone()));
        record.extend(rest.clone());
        record
    };
    match write {
        Write::Put(id, record) => {
            model.insert(id.clone(), with_id(id, record));
        }
        Write::Patch(id, members) => {
            let record =
                model.entry(id.clone()).or_insert_with(|| with_id(id, &Default::default()));
            record.extend(members.clone());
        }
        Write::Add(id, by) => {
            let record =
                model.entry(id.clone()).or_insert_with(|| with_id(id, &Default::default()));
            let sum = record.get("count").and_then(Json::as_i64).unwrap_or(0) + by;
            record.insert("count".into(), Json::from(sum));
        }
        Write::Delete(id) => {
            model.remove(id);
        }
        Write::Reopen => {}
    }
}

fn operation(table: &Table, write: &Write) -> Option<Op> {
    Some(match write {
        Write::Put(id, record) => put(table, id, &text(record)),
        Write::Patch(id, members) => patch(table, id, &text(members)),
        Write::Add(id, by) => {
            let body = format!("{{\"count\":{{\"__op__\":\"add\",\"value\":{by}}}}}");
            patch(table, id, &body)
        }
        Write::Delete(id) => delete(table, id),
        Write::Reopen => return None,
    })
}

/// Numbers, null or text of an attribute, each element of an array by itself.
fn values(record: &serde_json::Map<String, Json>, name: &str) -> Vec<Json> {
    let scalar = |value: &Json| !value.is_array() && !value.is_object();
    match record.get(name) {
        Some(Json::Array(all)) => all.iter().filter(|value| scalar(value)).cloned().collect(),
        Some(value) if scalar(value) => vec![value.clone()],
        _ => Vec::new(),
    }
}

fn holds(record: &serde_json::Map<String, Json>, filter: &Filter) -> bool {
    match filter {
        Filter::And(all) => all.iter().all(|one| holds(record, one)),
        Filter::Or(any) => any.iter().any(|one| holds(record, one)),
        Filter::Compare { attribute, comparator, value } => {
            values(record, attribute).iter().any(|found| compare(found, *comparator, value))
        }
        Filter::Related { .. } => unreachable!("there is one table here"),
    }
}

fn compare(found: &Json, comparator: Comparator, value: &Value) -> bool {
    let order = match (found, value) {
        (Json::Null, Value::Null) => Some(std::cmp::Ordering::Equal),
        (Json::Bool(a), Value::Boolean(b)) => Some(a.cmp(b)),
        (Json::Number(a), Value::Number(b)) => a.as_f64().unwrap().partial_cmp(b),
        (Json::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    let texts = match (found, value) {
        (Json::String(a), Value::String(b)) => Some((a, b)),
        _ => None,
    };
    match comparator {
        Comparator::Equal => order.is_some_and(|order| order.is_eq()),
        Comparator::NotEqual => !order.is_some_and(|order| order.is_eq()),
        Comparator::Less => order.is_some_and(|order| order.is_lt()),
        Comparator::LessEqual => order.is_some_and(|order| order.is_le()),
        Comparator::Greater => order.is_some_and(|order| order.is_gt()),
        Comparator::GreaterEqual => order.is_some_and(|order| order.is_ge()),
        Comparator::StartsWith => texts.is_some_and(|(a, b)| a.starts_with(b.as_str())),
        Comparator::EndsWith => texts.is_some_and(|(a, b)| a.ends_with(b.as_str())),
        Comparator::Contains => texts.is_some_and(|(a, b)| a.contains(b.as_str())),
    }
}

fn expected(model: &Model, query: &Query) -> Vec<String> {
    let meets = |(id, record): &(&String, &serde_json::Map<String, Json>)| {
        query.filter.as_ref().is_none_or(|filter| holds(record, filter))
            && query.key_prefix.as_ref().is_none_or(|prefix| id.starts_with(prefix))
    };
    model.iter().filter(meets).map(|(_, record)| text(record)).collect()
}

fn all(database: &Database, table: &Table, query: Query) -> Vec<String> {
    let found = run(database, table, query.clone(), 1000).unwrap();
    assert_eq!(found, run(database, table, query, 1).unwrap(), "in steps of one");
    found
}

fn sorted(mut records: Vec<String>) -> Vec<String> {
    records.sort();
    records
}

fn check_query(
    database: &Database,
    tables: &[Table; 2],
    model: &Model,
    query: &Query,
) -> Result<(), TestCaseError> {
    let found = all(database, &tables[0], query.clone());
    let scanned = all(database, &tables[1], query.clone());
    prop_assert_eq!(sorted(found.clone()), sorted(expected(model, query)), "{:?}", query);
    prop_assert_eq!(sorted(scanned.clone()), sorted(found.clone()));
    if !query.sort.is_empty() {
        prop_assert_eq!(&found, &scanned, "order of {:?}", query);
        for (offset, limit) in [(0, 2), (1, 3), (2, 1000)] {
            let part = Query { offset, limit: Some(limit), ..query.clone() };
            let wanted: Vec<_> = found.iter().skip(offset).take(limit).cloned().collect();
            prop_assert_eq!(&all(database, &tables[0], part.clone()), &wanted);
            prop_assert_eq!(&all(database, &tables[1], part), &wanted);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_holds_what_a_map_would(
        writes in proptest::collection::vec(write(), 1..40),
        queries in proptest::collection::vec(query(), 12),
        late_index in any::<bool>(),
    ) {
        let mut fixture = Fixture::new();
        let mut model = Model::new();
        let define = |fixture: &Fixture, indexed| {
            let database = fixture.database();
            let plain = TableSchema { name: "Plain".into(), ..attributes(false) };
            let tables = [database.define(attributes(indexed)).unwrap(), database.define(plain).unwrap()];
            (database, tables)
        };
        let (mut database, mut tables) = define(&fixture, !late_index);
        for write in &writes {
            apply(&mut model, write);
            let ops: Vec<Op> = tables.iter().filter_map(|table| operation(table, write)).collect();
            if ops.is_empty() {
                drop((database, tables));
                fixture.reopen().unwrap();
                (database, tables) = define(&fixture, !late_index);
            } else {
                database.commit(ops).unwrap();
            }
        }
        if late_index {
            (database, tables) = define(&fixture, true);
        }
        let txn = database.read().unwrap();
        prop_assert_eq!(tables[0].count(&txn).unwrap(), model.len() as u64);
        drop(txn);
        let stored: Vec<_> = all(&database, &tables[1], Query::default());
        let modelled: Vec<_> = model.values().map(text).collect();
        prop_assert_eq!(stored, modelled, "in the order of their keys");
        for query in &queries {
            check_query(&database, &tables, &model, query)?;
        }
    }
}
