//! Random queries: the server finds what the model finds, with an index and without.

use super::model::{Condition, records, schema};
use crate::harness::{Client, Home, Random};
use serde_json::{Value, json};

/// Records in each table.
const RECORDS: usize = 500;
/// Queries of each kind.
const QUERIES: usize = 250;

fn keys(client: &Client, table: &str, query: &str) -> Vec<String> {
    let reply = client.get(&format!("/{table}/?{query}&select(id)")).expect(200);
    serde_json::from_slice(&reply.body).unwrap()
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys
}

fn model(all: &[Value], holds: impl Fn(&Value) -> bool) -> Vec<String> {
    let found = all.iter().filter(|record| holds(record));
    found.map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn conditions_find_the_same_with_and_without_an_index() {
    let server = Home::with_schema(&schema()).start();
    let client = server.client();
    let mut random = Random(0x5eed_0001);
    let mut all = records(RECORDS, &mut random);
    for table in ["Indexed", "Plain"] {
        client.put(&format!("/{table}/"), &json!(all).to_string()).expect(204);
    }
    singles(&client, &all, &mut random);
    groups(&client, &all, &mut random);
    // the same again after many records have changed and gone
    change(&client, &mut all, &mut random);
    singles(&client, &all, &mut random);
}

fn singles(client: &Client, all: &[Value], random: &mut Random) {
    let mut met = 0;
    for _ in 0..QUERIES {
        let condition = Condition::random(random);
        let expected = model(all, |record| condition.holds(record));
        met += usize::from(!expected.is_empty());
        for table in ["Indexed", "Plain"] {
            let found = sorted(keys(client, table, &condition.text()));
            assert_eq!(found, expected, "{table}: {}", condition.text());
        }
    }
    assert!(met > QUERIES / 2, "most conditions must be met by something: {met}");
}

fn groups(client: &Client, all: &[Value], random: &mut Random) {
    for _ in 0..QUERIES {
        let [a, b, c] = [(); 3].map(|()| Condition::random(random));
        let (at, bt, ct) = (a.text(), b.text(), c.text());
        type Holds<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
        let forms: [(String, Holds<'_>); 4] = [
            (format!("{at}&{bt}"), Box::new(|r| a.holds(r) && b.holds(r))),
            (format!("({at}|{bt})"), Box::new(|r| a.holds(r) || b.holds(r))),
            (format!("{at}&({bt}|{ct})"), Box::new(|r| a.holds(r) && (b.holds(r) || c.holds(r)))),
            (format!("[({at}&{bt})|{ct}]"), Box::new(|r| (a.holds(r) && b.holds(r)) || c.holds(r))),
        ];
        let (text, holds) = &forms[random.below(4) as usize];
        let expected = model(all, holds);
        for table in ["Indexed", "Plain"] {
            let found = keys(client, table, text);
            assert_eq!(sorted(found), expected, "{table}: {text}");
        }
    }
}

fn change(client: &Client, all: &mut Vec<Value>, random: &mut Random) {
    let fresh = records(RECORDS, random);
    for (at, record) in fresh.into_iter().enumerate().step_by(3) {
        all[at] = record;
    }
    for table in ["Indexed", "Plain"] {
        let changed: Vec<_> = all.iter().step_by(3).collect();
        client.put(&format!("/{table}/"), &json!(changed).to_string()).expect(204);
        for record in all.iter().skip(1).step_by(5) {
            let id = record["id"].as_str().unwrap();
            client.delete(&format!("/{table}/{id}")).expect(200);
        }
    }
    let mut at = 0;
    all.retain(|_| {
        at += 1;
        (at + 3) % 5 != 0
    });
}

#[test]
fn order_and_range_are_those_of_the_whole_result() {
    let server = Home::with_schema(&schema()).start();
    let client = server.client();
    let mut random = Random(0x5eed_0002);
    let all = records(RECORDS, &mut random);
    for table in ["Indexed", "Plain"] {
        client.put(&format!("/{table}/"), &json!(all).to_string()).expect(204);
    }
    for sort in
        ["age", "-age", "name", "-weight", "born,-age", "-good,name", "any", "-id", "big,id"]
    {
        let whole = keys(&client, "Indexed", &format!("sort({sort})"));
        assert_eq!(whole.len(), RECORDS, "{sort}: records without the attribute are there too");
        assert_eq!(keys(&client, "Plain", &format!("sort({sort})")), whole, "{sort}");
        ordered(&all, &whole, sort);
        for (start, end) in [(0, 10), (5, 15), (490, 600), (0, 0), (600, 700)] {
            let expected = &whole[start.min(RECORDS)..end.min(RECORDS)];
            for table in ["Indexed", "Plain"] {
                let query = format!("sort({sort})&limit({start},{end})");
                assert_eq!(keys(&client, table, &query), expected, "{table}: {query}");
            }
        }
    }
    for _ in 0..60 {
        let condition = Condition::random(&mut random);
        let query = format!("{}&sort(-age,name)", condition.text());
        let whole = keys(&client, "Plain", &query);
        assert_eq!(keys(&client, "Indexed", &query), whole, "{query}");
        let limited = keys(&client, "Indexed", &format!("{query}&limit(3,9)"));
        assert_eq!(limited, whole[3.min(whole.len())..9.min(whole.len())], "{query}");
    }
}

/// Fails when two neighbours of one type stand the wrong way round by the first attribute of `sort`.
fn ordered(all: &[Value], keys: &[String], sort: &str) {
    let first = sort.split(',').next().unwrap();
    let (name, descending) = match first.strip_prefix('-') {
        Some(name) => (name, true),
        None => (first, false),
    };
    let value = |key: &String| {
        let record = all.iter().find(|record| record["id"] == key.as_str()).unwrap();
        record.get(name).cloned().unwrap_or(Value::Null)
    };
    for pair in keys.windows(2) {
        let (a, b) = (value(&pair[0]), value(&pair[1]));
        let (a, b) = if descending { (b, a) } else { (a, b) };
        let order = super::model::compare(&a, &b);
        assert_ne!(order, Some(std::cmp::Ordering::Greater), "{sort}: {pair:?} {a} {b}");
        assert!(!b.is_null() || a.is_null(), "{sort}: null comes first: {pair:?}");
    }
}
