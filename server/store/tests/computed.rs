//! Values that are not stored: compared, sorted by, indexed, and indexed anew.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use common::{attribute, commit, compare, delete, number, options, patch, put, run, schema};
use harper_store::{
    Attribute, Budget, Comparator, Computed, Database, Error, Evaluate, Evaluator, Filter, Hooks,
    Kind, NoValue, Prepared, Query, Sort, Step, Store, Table, TableSchema,
};
use serde_json::Value as Json;
use tempfile::TempDir;

/// For this number nothing has a value.
const BROKEN: i64 = 666;

/// For this one it takes a while to make it.
const SLOW: i64 = 1000;

/// `n` times the number that is the expression; `odd` is another number each time.
#[derive(Default)]
struct Times(AtomicI64);

impl Evaluate for Times {
    fn evaluate(&self, computed: &Computed, record: &str) -> Result<String, NoValue> {
        let record: Json = serde_json::from_str(record).unwrap();
        Ok(match (computed.from.parse::<i64>(), record["n"].as_i64()) {
            (_, Some(SLOW)) => {
                std::thread::sleep(Duration::from_millis(5));
                String::from("1")
            }
            (_, Some(BROKEN)) => return Err(NoValue("it is too slow".into())),
            (Ok(factor), Some(n)) => (factor * n).to_string(),
            (Err(_), _) => self.0.fetch_add(1, Ordering::Relaxed).to_string(),
            _ => String::from("null"),
        })
    }
}

fn open(root: &TempDir) -> Store {
    let evaluator = Evaluator::new(Arc::new(Times::default()));
    let hooks = Hooks { evaluator, ..Hooks::default() };
    Store::open_with(root.path(), &root.path().join("database"), options(), hooks).unwrap()
}

fn with(from: &str, version: &str, indexed: bool) -> TableSchema {
    let computed = Some(Computed::new(from.into(), version.into(), vec!["n".into()]));
    let value = Attribute { computed, indexed, ..Attribute::new("value", Kind::Float) };
    schema("T", vec![attribute("id", Kind::Id, false), attribute("n", Kind::Int, false), value])
}

fn fill(database: &Database, table: &Table) {
    for n in 0..10 {
        commit(database, put(table, &n.to_string(), &format!("{{\"n\":{n}}}"))).unwrap();
    }
    commit(database, put(table, "none", "{}")).unwrap();
}

fn keys(database: &Database, table: &Table, query: Query) -> Vec<String> {
    let bodies = run(database, table, query, 3).unwrap();
    let id = |body: &String| {
        let body: Json = serde_json::from_str(body).unwrap();
        assert!(body.get("value").is_none(), "it is not stored");
        body["id"].as_str().unwrap().to_owned()
    };
    bodies.iter().map(id).collect()
}

fn found(database: &Database, table: &Table, filter: Filter) -> Vec<String> {
    keys(database, table, Query { filter: Some(filter), ..Query::default() })
}

fn above(value: i64) -> Filter {
    compare("value", Comparator::Greater, number(value))
}

#[test]
fn a_computed_value_is_compared_and_sorted_by_with_and_without_an_index() {
    for indexed in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let store = open(&root);
        let database = store.database("data").unwrap();
        let table = database.define(with("10", "", indexed)).unwrap();
        fill(&database, &table);
        assert_eq!(found(&database, &table, above(75)), ["8", "9"]);
        assert_eq!(
            found(&database, &table, compare("value", Comparator::Equal, number(30))),
            ["3"]
        );
        let sort = vec![Sort { via: Vec::new(), attribute: "value".into(), descending: true }];
        let first = Query { sort, limit: Some(3), ..Query::default() };
        assert_eq!(keys(&database, &table, first), ["9", "8", "7"]);
        commit(&database, patch(&table, "9", r#"{"n":1}"#)).unwrap();
        commit(&database, delete(&table, "8")).unwrap();
        assert_eq!(found(&database, &table, above(65)), ["7"]);
    }
}

#[test]
fn an_index_is_made_anew_when_the_expression_or_its_version_changes() {
    let root = tempfile::tempdir().unwrap();
    {
        let store = open(&root);
        let database = store.database("data").unwrap();
        let table = database.define(with("10", "", true)).unwrap();
        fill(&database, &table);
        database.define(with("100", "", true)).unwrap();
        assert_eq!(found(&database, &table, above(850)), ["9"]);
    }
    let store = open(&root);
    let database = store.database("data").unwrap();
    let table = database.table("T").unwrap();
    // before anyone has defined the table again
    commit(&database, delete(&table, "9")).unwrap();
    assert_eq!(found(&database, &table, above(750)), ["8"]);
    database.define(with("100", "2", true)).unwrap();
    assert_eq!(found(&database, &table, above(650)), ["7", "8"]);
    database.define(with("100", "2", false)).unwrap();
    assert_eq!(found(&database, &table, above(650)), ["7", "8"]);
}

#[test]
fn an_expression_that_changes_its_mind_leaves_nothing_in_the_index() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root);
    let database = store.database("data").unwrap();
    let table = database.define(with("odd", "", true)).unwrap();
    fill(&database, &table);
    for round in 0..3 {
        commit(&database, put(&table, "1", &format!("{{\"n\":{round}}}"))).unwrap();
    }
    assert_eq!(found(&database, &table, above(-1)).len(), 11);
    for n in 0..10 {
        commit(&database, delete(&table, &n.to_string())).unwrap();
    }
    // an entry without its record would be an error
    assert_eq!(found(&database, &table, above(-1)), ["none"]);
}

#[test]
fn a_body_cannot_have_the_value() {
    let table = with("10", "", false);
    let refused = Prepared::put(&table, br#"{"value":1}"#).unwrap_err().to_string();
    assert_eq!(refused, "Computed property value may not be directly assigned a value");
    assert!(Prepared::patch(&table, br#"{"value":1}"#).is_err());
}

#[test]
fn a_record_without_a_value_is_refused_where_an_index_needs_it_and_nothing_of_it_stays() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root);
    let database = store.database("data").unwrap();
    let mut schema = with("10", "", true);
    schema.attributes[1].indexed = true;
    let table = database.define(schema).unwrap();
    fill(&database, &table);
    let broken = format!("{{\"n\":{BROKEN}}}");
    let refused = commit(&database, put(&table, "5", &broken)).unwrap_err();
    assert!(matches!(refused, Error::Unevaluated { .. }));
    let refused = database.commit(vec![put(&table, "a", "{}"), patch(&table, "5", &broken)]);
    let sentence = "Computed property value is indexed and cannot be evaluated: it is too slow";
    assert_eq!(refused.unwrap_err().to_string(), sentence);
    let next = commit(&database, put(&table, "b", r#"{"n":20}"#)).unwrap();
    assert_eq!(next.meta.sequence, 12, "what was refused has taken no number");
    assert_eq!(found(&database, &table, above(75)), ["8", "9", "b"]);
    assert_eq!(found(&database, &table, compare("n", Comparator::Equal, number(5))), ["5"]);
    assert_eq!(found(&database, &table, compare("n", Comparator::Equal, number(BROKEN))), [""; 0]);
}

#[test]
fn a_record_without_a_value_meets_no_condition_and_no_index_is_made_without_it() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root);
    let database = store.database("data").unwrap();
    let table = database.define(with("10", "", false)).unwrap();
    fill(&database, &table);
    commit(&database, put(&table, "bad", &format!("{{\"n\":{BROKEN}}}"))).unwrap();
    let null = compare("value", Comparator::Equal, harper_store::Value::Null);
    let unlike = compare("value", Comparator::NotEqual, number(0));
    assert_eq!(found(&database, &table, null.clone()), ["none"]);
    assert_eq!(found(&database, &table, unlike).len(), 10);
    let refused = database.define(with("10", "", true)).unwrap_err().to_string();
    assert!(refused.contains("the key \"bad\"") && refused.contains("too slow"), "{refused}");
    assert_eq!(found(&database, &table, null), ["none"], "the index is not used");
    commit(&database, put(&table, "10", r#"{"n":10}"#)).unwrap();
    commit(&database, delete(&table, "bad")).unwrap();
    database.define(with("10", "", true)).unwrap();
    assert_eq!(found(&database, &table, above(85)), ["9", "10"]);
}

#[test]
fn a_step_ends_early_when_values_are_slow_to_make() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root);
    let database = store.database("data").unwrap();
    let table = database.define(with("10", "", false)).unwrap();
    let slow = format!("{{\"n\":{SLOW}}}");
    database.commit((0..40).map(|at| put(&table, &at.to_string(), &slow)).collect()).unwrap();
    let condition = compare("value", Comparator::Equal, number(1));
    let sort = vec![Sort { via: Vec::new(), attribute: "value".into(), descending: true }];
    for query in
        [Query { filter: Some(condition), ..Query::default() }, Query { sort, ..Query::default() }]
    {
        let mut run = table.query(query).unwrap();
        let (mut steps, mut found) = (1, 0);
        let budget = Budget { rows_max: 1000, bytes_max: usize::MAX };
        while run.step(&database.read().unwrap(), budget, &mut |_| found += 1).unwrap()
            == Step::More
        {
            steps += 1;
        }
        assert_eq!(found, 40);
        assert!(steps >= 10, "{steps} steps for 200 ms");
    }
    database.define(with("10", "", true)).unwrap();
    assert_eq!(found(&database, &table, compare("value", Comparator::Equal, number(1))).len(), 40);
}
