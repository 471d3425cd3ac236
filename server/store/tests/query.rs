//! Queries, their plans, and indexes as they are built and dropped.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{
    Fixture, ascending, attribute, commit, compare, delete, descending, number, put, run, schema,
    text,
};
use harper_store::{Budget, Comparator, Error, Filter, Kind, Limits, Query, Sort, Step, Table};

#[test]
fn an_index_is_built_for_what_exists_and_dropped_when_it_goes() {
    let mut fixture = Fixture::new();
    let attributes =
        |indexed| vec![attribute("id", Kind::Int, false), attribute("tags", Kind::Any, indexed)];
    let find = |database: &harper_store::Database| {
        let table = database.table("T").unwrap();
        let filter = Some(compare("tags", Comparator::Equal, text("x")));
        let query = Query { filter, ..Query::default() };
        let plan = table.query(query.clone()).unwrap().plan().to_string();
        (plan, run(database, &table, query, 7).unwrap().len())
    };
    {
        let database = fixture.database();
        let table = database.define(schema("T", attributes(false))).unwrap();
        for at in 0..25 {
            let ops = (0..100).map(|n| {
                let id = at * 100 + n;
                let tags = if id % 5 == 0 { r#"["x","y"]"# } else { r#""z""# };
                put(&table, &id.to_string(), &format!("{{\"tags\":{tags}}}"))
            });
            database.commit(ops.collect()).unwrap();
        }
        assert_eq!(find(&database), ("primary key scan, filter".into(), 500));
        database.define(schema("T", attributes(true))).unwrap();
        assert_eq!(find(&database), ("index tags range".into(), 500));
        commit(&database, put(&table, "5", "{}")).unwrap();
        assert_eq!(find(&database).1, 499);
    }
    fixture.reopen().unwrap();
    let database = fixture.database();
    assert_eq!(find(&database), ("index tags range".into(), 499));
    let table = database.table("T").unwrap();
    let filter = Some(compare("tags", Comparator::Equal, text("x")));
    let mut running = table.query(Query { filter, ..Query::default() }).unwrap();
    database.define(schema("T", attributes(false))).unwrap();
    let budget = harper_store::Budget { rows_max: 10, bytes_max: 10 };
    let txn = database.read().unwrap();
    let step = running.step(&txn, budget, &mut |_| {});
    assert!(matches!(step, Err(Error::IndexChanged { .. })));
    drop(txn);
    assert_eq!(find(&database), ("primary key scan, filter".into(), 499));
    database.define(schema("T", attributes(true))).unwrap();
    assert_eq!(find(&database), ("index tags range".into(), 499));
}

#[test]
fn an_index_forgets_what_it_held_before_it_was_dropped() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let attributes =
        |indexed| vec![attribute("id", Kind::Id, false), attribute("a", Kind::Int, indexed)];
    let table = database.define(schema("T", attributes(true))).unwrap();
    commit(&database, put(&table, "1", r#"{"a":1}"#)).unwrap();
    database.define(schema("T", attributes(false))).unwrap();
    commit(&database, put(&table, "1", r#"{"a":2}"#)).unwrap();
    database.define(schema("T", attributes(true))).unwrap();
    let count = |value| {
        let filter = Some(compare("a", Comparator::Equal, common::number(value)));
        run(&database, &table, Query { filter, ..Query::default() }, 10).unwrap().len()
    };
    assert_eq!((count(1), count(2)), (0, 1));
}

#[test]
fn a_value_that_becomes_an_element_is_found_once() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let attributes = vec![attribute("id", Kind::Id, false), attribute("a", Kind::Any, true)];
    let table = database.define(schema("T", attributes)).unwrap();
    let count = |comparator, value: &str| {
        let filter = Some(compare("a", comparator, text(value)));
        run(&database, &table, Query { filter, ..Query::default() }, 10).unwrap().len()
    };
    commit(&database, put(&table, "1", r#"{"a":"y"}"#)).unwrap();
    assert_eq!(count(Comparator::Greater, ""), 1);
    commit(&database, put(&table, "1", r#"{"a":["x","y"]}"#)).unwrap();
    assert_eq!(count(Comparator::Greater, ""), 1);
    commit(&database, put(&table, "1", r#"{"a":"y"}"#)).unwrap();
    assert_eq!((count(Comparator::Equal, "x"), count(Comparator::Equal, "y")), (0, 1));
}

#[test]
fn two_bounds_on_an_array_may_be_met_by_different_elements() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let attributes = vec![attribute("id", Kind::Id, false), attribute("a", Kind::Any, true)];
    let table = database.define(schema("T", attributes)).unwrap();
    commit(&database, put(&table, "1", r#"{"a":["a","z"]}"#)).unwrap();
    let filter = Filter::And(vec![
        compare("a", Comparator::Greater, text("m")),
        compare("a", Comparator::Less, text("n")),
    ]);
    let query = Query { filter: Some(filter), ..Query::default() };
    assert_eq!(run(&database, &table, query, 10).unwrap().len(), 1);
}

#[test]
fn an_index_is_built_while_records_are_written() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let attributes =
        |indexed| vec![attribute("id", Kind::Int, false), attribute("a", Kind::Int, indexed)];
    let table = database.define(schema("T", attributes(false))).unwrap();
    let ops = (0..5000).map(|id| put(&table, &id.to_string(), r#"{"a":1}"#));
    database.commit(ops.collect()).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for id in (0..5000).step_by(50) {
                commit(&database, put(&table, &id.to_string(), r#"{"a":2}"#)).unwrap();
                commit(&database, delete(&table, &(id + 1).to_string())).unwrap();
            }
        });
        database.define(schema("T", attributes(true))).unwrap();
        writer.join().unwrap();
    });
    let count = |value| {
        let filter = Some(compare("a", Comparator::Equal, common::number(value)));
        let query = Query { filter, ..Query::default() };
        assert_eq!(table.query(query.clone()).unwrap().plan().to_string(), "index a range");
        run(&database, &table, query, 1000).unwrap().len()
    };
    assert_eq!((count(1), count(2)), (4800, 100));
}

#[test]
fn keys_of_every_length_are_stored_and_indexed() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let attributes = vec![attribute("id", Kind::Id, false), attribute("a", Kind::String, true)];
    let table = database.define(schema("T", attributes)).unwrap();
    let ids: Vec<String> = [1, 399, 400, 1978].iter().map(|n| "k".repeat(*n)).collect();
    let long = "v".repeat(3000);
    for id in &ids {
        commit(&database, put(&table, id, &format!("{{\"a\":\"{long}\"}}"))).unwrap();
    }
    let count = |value: &str| {
        let filter = Some(compare("a", Comparator::Equal, text(value)));
        run(&database, &table, Query { filter, ..Query::default() }, 2).unwrap().len()
    };
    assert_eq!(count(&long), 4);
    assert_eq!(count(&long[1..]), 0, "cut strings are compared whole in the record");
    for id in &ids {
        commit(&database, delete(&table, id)).unwrap();
    }
    assert_eq!(count(&long), 0);
}

#[test]
fn long_keys_sort_as_keys_though_an_index_hashes_them() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let attributes = vec![attribute("id", Kind::Id, false), attribute("a", Kind::Int, true)];
    let table = database.define(schema("T", attributes)).unwrap();
    let ids = ["a".repeat(500), "a".repeat(501), "a".repeat(502), "b".into()];
    for id in &ids {
        commit(&database, put(&table, id, r#"{"a":1}"#)).unwrap();
    }
    let filter = Some(compare("a", Comparator::Equal, common::number(1)));
    let query = Query { filter, sort: vec![ascending("a"), ascending("id")], ..Query::default() };
    let found = run(&database, &table, query, 100).unwrap();
    let expected: Vec<_> = ids.iter().map(|id| format!("{{\"id\":\"{id}\",\"a\":1}}")).collect();
    assert_eq!(found, expected);
}

#[test]
fn too_many_records_to_sort_are_refused() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let attributes = vec![attribute("id", Kind::Int, false), attribute("a", Kind::Int, false)];
    let table = database.define(schema("T", attributes)).unwrap();
    let ops = (0..20).map(|id| put(&table, &id.to_string(), &format!("{{\"a\":{}}}", 20 - id)));
    database.commit(ops.collect()).unwrap();
    let limits = Limits { sort_records_max: 10, ..Limits::default() };
    let query = Query { sort: vec![ascending("a")], limits, ..Query::default() };
    let error = run(&database, &table, query.clone(), 100).unwrap_err();
    assert!(matches!(error, Error::SortTooLarge { max: 10 }));
    let first = run(&database, &table, Query { limit: Some(2), offset: 1, ..query }, 3).unwrap();
    assert_eq!(first, [r#"{"id":18,"a":2}"#, r#"{"id":17,"a":3}"#]);
}

#[test]
fn undeclared_attributes_cannot_be_queried() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let table = database.define(schema("T", vec![attribute("id", Kind::Id, false)])).unwrap();
    let filter = Filter::Or(vec![compare("x", Comparator::Equal, text("1"))]);
    let error = table.query(Query { filter: Some(filter), ..Query::default() }).unwrap_err();
    assert_eq!(error.to_string(), "x is not a defined attribute");
    let sort = vec![descending("y")];
    assert!(table.query(Query { sort, ..Query::default() }).is_err());
}

#[test]
fn plans_use_the_best_index() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let attributes = vec![
        attribute("id", Kind::Id, false),
        attribute("a", Kind::Int, true),
        attribute("b", Kind::String, true),
        attribute("c", Kind::Int, false),
    ];
    let table = database.define(schema("T", attributes)).unwrap();
    use Comparator::{Contains, Equal, Greater, Less, StartsWith};
    let eq = |name: &str| compare(name, Equal, common::number(1));
    let plan = |filter: Option<Filter>, sort: &[(&str, bool)], prefix: Option<&str>| {
        let sort = sort.iter().map(
            |(name, is_descending)| {
                if *is_descending { descending(name) } else { ascending(name) }
            },
        );
        let key_prefix = prefix.map(Into::into);
        let query = Query { filter, sort: sort.collect(), key_prefix, ..Query::default() };
        table.query(query).unwrap().plan().to_string()
    };
    let and = |filters: Vec<Filter>| Some(Filter::And(filters));
    assert_eq!(plan(None, &[], None), "primary key scan");
    assert_eq!(plan(None, &[("id", true)], None), "primary key scan backwards");
    assert_eq!(plan(None, &[], Some("a/")), "primary key range");
    assert_eq!(plan(Some(eq("a")), &[], None), "index a range");
    assert_eq!(plan(and(vec![eq("c"), eq("a")]), &[], None), "index a range, filter");
    let starts = || compare("b", StartsWith, text("x"));
    let both = and(vec![starts(), eq("a")]);
    assert_eq!(plan(both, &[], None), "index a range, intersect index b range, filter");
    let between = || {
        and(vec![compare("a", Greater, common::number(1)), compare("a", Less, common::number(5))])
    };
    assert_eq!(plan(between(), &[], None), "index a range");
    assert_eq!(plan(between(), &[("a", true)], None), "index a range backwards");
    assert_eq!(plan(between(), &[("a", true), ("id", true)], None), "index a range, sort");
    assert_eq!(plan(between(), &[("b", false)], None), "index a range, sort");
    let contains = Some(compare("b", Contains, text("x")));
    assert_eq!(plan(contains, &[], None), "index b range, filter");
    let or = |second: Filter| Some(Filter::Or(vec![eq("a"), second]));
    assert_eq!(plan(or(starts()), &[], None), "union of index a range and index b range");
    assert_eq!(plan(or(eq("c")), &[], None), "primary key scan, filter");
    let mismatch = Some(compare("b", StartsWith, common::number(1)));
    assert_eq!(plan(mismatch, &[], None), "nothing");
    assert_eq!(plan(None, &[("a", false)], None), "index a scan", "all of no records");
    commit(&database, put(&table, "1", "{}")).unwrap();
    assert_eq!(plan(None, &[("a", false)], None), "primary key scan, sort");
}

/// 4,000 records: `even` and `third` are indexed, `plain` is the number again and is not.
fn numbers(fixture: &Fixture) -> (std::sync::Arc<harper_store::Database>, Table) {
    let database = fixture.database();
    let attributes = vec![
        attribute("id", Kind::Int, false),
        attribute("even", Kind::Boolean, true),
        attribute("rest", Kind::Int, true),
        attribute("n", Kind::Int, true),
        attribute("plain", Kind::Int, false),
    ];
    let table = database.define(schema("T", attributes)).unwrap();
    let ops = (0..4000).map(|id| {
        let body =
            format!(r#"{{"even":{},"rest":{},"n":{id},"plain":{id}}}"#, id % 2 == 0, id % 97);
        put(&table, &id.to_string(), &body)
    });
    database.commit(ops.collect()).unwrap();
    (database, table)
}

#[test]
fn the_range_with_fewest_entries_is_read_and_others_narrow_it() {
    let fixture = Fixture::new();
    let (database, table) = numbers(&fixture);
    let even = || compare("even", Comparator::Equal, harper_store::Value::Boolean(true));
    let above = |n| compare("n", Comparator::Greater, number(n));
    let explain = |filters: Vec<Filter>, sort: Vec<Sort>, limit| {
        let filter = Some(Filter::And(filters));
        let run = table.query(Query { filter, sort, limit, ..Query::default() }).unwrap();
        run.explain(&database.read().unwrap()).unwrap()
    };
    let few = explain(vec![even(), above(3989)], vec![], None);
    assert_eq!(few.plan, "index n range, intersect index even range, filter");
    assert_eq!((few.reads[0].entries, few.intersections[0].entries), (10, 2000));
    assert_eq!((few.records, few.filters, few.full_scan), (4000, true, false));
    let many = explain(vec![even(), above(100)], vec![], None);
    assert_eq!(many.reads[0].index.as_deref(), Some("even"));
    // few are sorted, many are read in order
    let by_n = |limit| explain(vec![even()], vec![descending("n")], limit).plan;
    assert_eq!(by_n(Some(5)), "index n scan backwards, intersect index even range, filter");
    assert_eq!(by_n(None), "index even range, sort");
    let rest = compare("rest", Comparator::Equal, number(5));
    let sorted = explain(vec![rest], vec![descending("n")], Some(5));
    assert_eq!((sorted.plan.as_str(), sorted.sorts_in_memory), ("index rest range, sort", true));
    let scan = explain(vec![compare("plain", Comparator::Equal, number(1))], vec![], None);
    assert!(scan.full_scan && scan.reads[0].extent == "whole" && scan.reads[0].index.is_none());
}

#[test]
fn an_intersection_finds_what_each_condition_finds() {
    let fixture = Fixture::new();
    let (database, table) = numbers(&fixture);
    let even = compare("even", Comparator::Equal, harper_store::Value::Boolean(true));
    for (low, high, step) in [(1000, 3500, 100), (500, 4000, 1), (0, 3999, 10_000)] {
        let filters = vec![
            even.clone(),
            compare("n", Comparator::GreaterEqual, number(low)),
            compare("n", Comparator::Less, number(high)),
            compare("rest", Comparator::Less, number(9)),
        ];
        let filter = Some(Filter::And(filters));
        let found = run(&database, &table, Query { filter, ..Query::default() }, step).unwrap();
        let wanted = (low..high).filter(|id| id % 2 == 0 && id % 97 < 9).count();
        assert_eq!(found.len(), wanted, "{low} to {high}");
    }
}

#[test]
fn a_search_that_reads_too_much_is_refused() {
    let fixture = Fixture::new();
    let (database, table) = numbers(&fixture);
    let limits = Limits { scan_records_max: 1000, ..Limits::default() };
    let query = |name: &str, n, limit| {
        let filter = Some(compare(name, Comparator::Equal, number(n)));
        Query { filter, limit, limits, ..Query::default() }
    };
    let error = table.query(query("plain", 5, None)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the query would read more than 1000 records of T to find those it wants: \
         add a condition on an indexed attribute"
    );
    let find = |query| run(&database, &table, query, 100);
    assert_eq!(find(query("plain", 5, Some(1))).unwrap().len(), 1, "found soon enough");
    let error = find(query("plain", 3000, Some(1))).unwrap_err();
    assert!(matches!(error, Error::ScanTooLarge { max: 1000, .. }));
    assert_eq!(find(query("n", 3000, None)).unwrap().len(), 1, "an index finds it");
    let all = Query { limits, ..Query::default() };
    assert_eq!(find(all).unwrap().len(), 4000, "nothing is read in vain");
}

#[test]
fn a_sorted_record_that_was_written_meanwhile_is_tested_again() {
    for indexed in [false, true] {
        let fixture = Fixture::new();
        let database = fixture.database();
        let attributes = vec![
            attribute("id", Kind::Id, false),
            attribute("status", Kind::String, indexed),
            attribute("age", Kind::Int, false),
        ];
        let table = database.define(schema("Dog", attributes)).unwrap();
        let dog = |id: &str, status: &str, age: u8| {
            let body = format!("{{\"status\":\"{status}\",\"age\":{age}}}");
            commit(&database, put(&table, id, &body)).unwrap();
        };
        for (age, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
            dog(id, "old", age as u8);
        }
        let filter = Some(compare("status", Comparator::Equal, text("old")));
        let query = Query { filter, sort: vec![ascending("age")], ..Query::default() };
        let mut run = table.query(query).unwrap();
        let mut found = Vec::new();
        let mut step = |rows_max, found: &mut Vec<String>| {
            let txn = database.read().unwrap();
            run.step(&txn, Budget { rows_max, bytes_max: usize::MAX }, &mut |record| {
                found.push(String::from_utf8_lossy(record.body).into_owned());
            })
            .unwrap()
        };
        while found.is_empty() {
            assert_eq!(step(1, &mut found), Step::More);
        }
        dog("b", "new", 1);
        dog("c", "old", 9);
        while step(1, &mut found) == Step::More {}
        let ids: Vec<_> = found.iter().map(|body| &body[7..8]).collect();
        assert_eq!(ids, ["a", "c", "d"], "indexed: {indexed}");
    }
}
