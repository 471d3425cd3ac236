//! Queries against a small store: how they are read, and what they select.

use super::*;
use crate::auth::Identity;
use crate::auth::permission;
use crate::auth::users::{Role, User};
use crate::error::Code;
use crate::metrics::WorkerMetrics;
use crate::resource::model::{Entity, Model, Relation};
use crate::resource::select::{Reading, RelatedLimits};
use harper_store::{
    Attribute, Budget, Database, Element, Key, Op, Precondition, Prepared, Store, Table,
    TableSchema,
};
use serde_json::json;
use std::rc::Rc;
use std::sync::Arc;

/// Dogs with owners and friends, and owners with dogs.
struct Fixture {
    model: Model,
    database: Arc<Database>,
    _root: tempfile::TempDir,
}

fn user(permission: &str) -> Identity {
    let node = harper_config::parse(permission).unwrap();
    let permission = permission::parse("r", &node).unwrap().permission;
    let (id, name, shown) = (String::new(), String::from("r"), json!({}));
    let role = Arc::new(Role { id, name, permission, shown });
    let (username, password) = (String::new(), String::new());
    Identity::User(Rc::new(User {
        username,
        password,
        active: true,
        role,
        since_s: 0,
        is_stored: true,
    }))
}

fn fixture() -> Fixture {
    let root = tempfile::tempdir().unwrap();
    let options =
        harper_store::Options { map_bytes: 64 << 20, free_bytes_min: 0, ..Default::default() };
    let store = Store::open(root.path(), &root.path().join("d"), options);
    let database = store.unwrap().database("data").unwrap();
    let attribute =
        |name: &str, kind: Kind| Attribute { indexed: true, ..Attribute::new(name, kind) };
    let ids = Kind::Array(Box::new(Element { kind: Kind::Id, required: false }));
    let dog = vec![
        attribute("id", Kind::Id),
        attribute("name", Kind::String),
        attribute("age", Kind::Int),
        attribute("ownerId", Kind::Id),
        attribute("friendIds", ids),
        Attribute::new("home", Kind::Any),
        Attribute::new("born", Kind::Date),
        Attribute::new("any", Kind::Any),
    ];
    let owner = vec![attribute("id", Kind::Id), attribute("name", Kind::String)];
    let relation = |name: &str, target, local: &str, foreign: &str, is_many| Relation {
        name: name.into(),
        target,
        local: local.into(),
        foreign: foreign.into(),
        is_many,
        is_enumerable: false,
    };
    let relations = [
        vec![
            relation("owner", 1, "ownerId", "id", false),
            relation("friends", 0, "friendIds", "id", true),
        ],
        vec![relation("dogs", 0, "id", "ownerId", true)],
    ];
    let mut model = Model::default();
    for ((name, attributes), relations) in
        [("Dog", dog), ("Owner", owner)].into_iter().zip(relations)
    {
        let table = database.define(TableSchema::new("data", name, attributes)).unwrap();
        model.tables.push(Entity { schema: table.schema(), table, relations });
    }
    let fixture = Fixture { model, database, _root: root };
    fixture.put(0, "1", r#"{"name":"Rex","age":3,"ownerId":"a","friendIds":["2","2","9"],"home":{"city":"Ulm","x":1}}"#);
    fixture.put(0, "2", r#"{"name":"Bo","age":5,"ownerId":"a","home":[{"city":"A"},7]}"#);
    fixture.put(0, "3", r#"{"ownerId":"nobody"}"#);
    fixture.put(1, "a", r#"{"name":"Ann"}"#);
    fixture
}

impl Fixture {
    fn table(&self, at: usize) -> Table {
        self.model.tables[at].table.clone()
    }

    fn put(&self, at: usize, id: &str, body: &str) {
        let table = self.table(at);
        let key = Key::from_path(&table.schema(), id).unwrap();
        let body = Prepared::put(&table.schema(), body.as_bytes()).unwrap();
        self.database.commit(vec![Op::Put { table, key, body, when: Precondition::None }]).unwrap();
    }

    fn parse(&self, text: &str) -> Answer<Parsed> {
        parse(&self.model.scope(0, &user("super_user: true")), text)
    }

    fn parse_body(&self, text: &str) -> Answer<Parsed> {
        parse_body(&self.model.scope(0, &user("super_user: true")), text.as_bytes())
    }

    /// The conditions as the store has them.
    fn filter(&self, text: &str) -> String {
        let parsed =
            self.parse(text).unwrap_or_else(|failure| panic!("{text}: {}", failure.message));
        format!("{:?}", parsed.query.filter.unwrap())
    }

    /// What is selected of the dogs that are found.
    fn select(&self, parsed: Parsed, records_max: usize) -> Answer<String> {
        let related = RelatedLimits { records_max, bytes_max: 10_000 };
        let mut run = self.table(0).query(parsed.query).unwrap();
        let select = parsed.select.unwrap();
        let txn = self.database.read().unwrap();
        let metrics = WorkerMetrics::default();
        let mut reading = Reading::new(&txn, &metrics, related);
        let (mut out, mut failed) = (Vec::new(), None);
        let budget = Budget { rows_max: usize::MAX, bytes_max: usize::MAX };
        run.step(&txn, budget, &mut |record| match select.push(record, &mut reading, &mut out) {
            Ok(is_there) => out.extend_from_slice(if is_there { b" " } else { b"- " }),
            Err(failure) => failed = Some(failure),
        })
        .unwrap();
        failed.map_or_else(|| Ok(String::from_utf8(out).unwrap().trim_end().to_owned()), Err)
    }

    fn selected(&self, text: &str) -> String {
        self.select(self.parse(text).unwrap_or_else(|f| panic!("{text}: {}", f.message)), 100)
            .unwrap()
    }

    fn mistake(&self, text: &str) -> String {
        let Err(failure) = self.parse(text) else { panic!("{text} is understood") };
        assert_eq!(failure.code, Code::InvalidQuery, "{text}");
        failure.message.into_owned()
    }
}

#[test]
fn every_form_of_a_comparison_is_understood() {
    let fixture = fixture();
    for (text, comparator, value) in [
        ("name=Rex*", "Equal", r#"String("Rex*")"#),
        ("name===a%20b", "Equal", r#"String("a b")"#),
        ("name==Re*", "StartsWith", r#"String("Re")"#),
        ("name==Re%2A", "Equal", r#"String("Re*")"#),
        ("name==string:Re*", "Equal", r#"String("Re*")"#),
        ("name==null", "Equal", "Null"),
        ("name[]=x", "Equal", r#"String("x")"#),
        ("name%5B%5D=x", "Equal", r#"String("x")"#),
        ("name=a%7Cb", "Equal", r#"String("a|b")"#),
        ("age=5", "Equal", "Number(5.0)"),
        ("age!=5", "NotEqual", "Number(5.0)"),
        ("age!==5", "NotEqual", "Number(5.0)"),
        ("age=gt=5", "Greater", "Number(5.0)"),
        ("age=greater_than_equal=5", "GreaterEqual", "Number(5.0)"),
        ("age>=5", "GreaterEqual", "Number(5.0)"),
        ("age%3C5", "Less", "Number(5.0)"),
        ("age%3E=5", "GreaterEqual", "Number(5.0)"),
        ("age==number:5", "Equal", "Number(5.0)"),
        ("name==string:5", "Equal", r#"String("5")"#),
        ("name=ct=a=b", "Contains", r#"String("a=b")"#),
        ("name=sw=Z%C3%BC", "StartsWith", r#"String("Zü")"#),
        ("name=A=b=", "Equal", r#"String("A=b=")"#),
    ] {
        let found = fixture.filter(text);
        assert!(found.contains(&format!("comparator: {comparator},")), "{text}: {found}");
        assert!(found.contains(&format!("value: {value} ")), "{text}: {found}");
    }
}

#[test]
fn groups_joins_and_second_bounds() {
    let fixture = fixture();
    let filter = |text: &str| fixture.filter(text);
    assert!(filter("name=a&(age=1|age=2)").starts_with("And([Compare"));
    let any = filter("name=a|age=1|age=2");
    assert!(any.starts_with("Or(["));
    for text in [
        "name=a|age=1|age=2&select(id)&limit(5)",
        "select(id)&name=a|age=1|age=2",
        "&limit(5)&&select(id)&name=a|age=1|age=2&",
    ] {
        assert_eq!(filter(text), any, "a function is none of the conditions: {text}");
    }
    for text in ["age=gt=2&lt=6", "age=gt=2&=lt=6", "age>2&<6"] {
        let range = filter(text);
        assert!(
            range.contains("Greater,") && range.contains(r#""age", comparator: Less,"#),
            "{range}"
        );
    }
    let join = r#"Related { join: Join { local: "ownerId", table: Table(data.Owner), foreign: "id" }, filter: Compare { attribute: "name", "#;
    assert!(filter("owner.name=Ann").starts_with(join), "{}", filter("owner.name=Ann"));
    let far = filter("owner.dogs.friends.age=gt=1&le=3");
    assert_eq!(far.matches("Related").count(), 3, "{far}");
    assert!(far.contains("And([Compare"), "one record is within both bounds: {far}");
    let separate = filter("friends.age=gt=1&friends.age=lt=3");
    assert!(separate.starts_with("And([Related"), "{separate}");
}

#[test]
fn a_body_is_the_same_query() {
    let fixture = fixture();
    let body = |text: &str| {
        format!(
            "{:?}",
            fixture.parse_body(text).unwrap_or_else(|f| panic!("{text}: {}", f.message)).query
        )
    };
    let url = |text: &str| format!("{:?}", fixture.parse(text).unwrap().query);
    let one = |comparator: &str, value: &str| {
        body(&format!(
            r#"{{"conditions":[{{"attribute":"age","comparator":"{comparator}","value":{value}}}]}}"#
        ))
    };
    assert_eq!(one("greater_than", "5"), url("age=gt=5"));
    assert_eq!(one("gt", "\"5\""), url("age=gt=5"));
    assert_eq!(one("between", "[1,5]"), url("age=ge=1&le=5"));
    assert_eq!(one("equals", "null"), url("age==null"));
    assert_eq!(
        body(
            r#"{"conditions":[{"search_attribute":"owner.name","search_type":"starts_with","search_value":"A"},
            {"operator":"OR","conditions":[{"attribute":["friends","age"],"value":1},{"attribute":"any","value":"5"}]}],
            "operator":"and","limit":10,"offset":5,
            "sort":{"attribute":"age","descending":true,"next":{"attribute":"owner.name"}}}"#
        ),
        url("owner.name=sw=A&(friends.age=1|any==string:5)&limit(5,15)&sort(-age,owner.name)")
    );
    assert_eq!(body("{}"), url(""));
    assert!(fixture.parse_body(r#"{"explain":true}"#).unwrap().explains);
    let born = r#"{"conditions":[{"attribute":"born","comparator":"lt","value":1000}]}"#;
    assert_eq!(body(born), url("born=lt=1000"));
    for (text, part) in [
        ("[]", "expected an object"),
        ("{", "not valid JSON"),
        (r#"{"condition":[]}"#, "there is no member condition"),
        (r#"{"conditions":{}}"#, "conditions: expected an array"),
        (r#"{"conditions":[1]}"#, "conditions[0]: expected an object"),
        (r#"{"conditions":[{"value":1}]}"#, "conditions[0]: attribute is missing"),
        (r#"{"conditions":[{"attribute":"age"}]}"#, "conditions[0]: value is missing"),
        (
            r#"{"conditions":[{"attribute":"age","value":{}}]}"#,
            "conditions[0]: Invalid value for attribute age",
        ),
        (
            r#"{"conditions":[{"attribute":"age","value":1,"comparator":"in"}]}"#,
            "Unknown query comparator \"in\"",
        ),
        (
            r#"{"conditions":[{"attribute":"age","value":1,"comparator":"between"}]}"#,
            "array of two values",
        ),
        (
            r#"{"conditions":[{"attribute":"nosuch","value":1}]}"#,
            "nosuch is not a defined attribute",
        ),
        (r#"{"conditions":[{"conditions":[]}]}"#, "conditions[0].conditions: a group is empty"),
        (r#"{"operator":"xor"}"#, "operator is and, or or"),
        (r#"{"limit":-1}"#, "limit: expected a whole number"),
        (r#"{"sort":{"attribute":"nosuch"}}"#, "sort: nosuch"),
        (r#"{"select":[]}"#, "select: expected a name"),
        (r#"{"select":[{"select":["a"]}]}"#, "select[0]: name is missing"),
        (r#"{"explain":1}"#, "explain: expected true or false"),
    ] {
        let Err(failure) = fixture.parse_body(text) else { panic!("{text} is understood") };
        assert!(failure.message.contains(part), "{text}: {}", failure.message);
    }
    let deep = format!("{}{}", r#"{"conditions":[{"conditions":["#.repeat(20), "]}]}".repeat(20));
    assert!(fixture.parse_body(&deep).is_err());
}

#[test]
fn functions_set_range_and_order() {
    let fixture = fixture();
    let parsed = fixture.parse("age=gt=1&sort(-age,+owner.name)&limit(5,15)&explain()").unwrap();
    assert_eq!((parsed.query.offset, parsed.query.limit, parsed.explains), (5, Some(10), true));
    let order = parsed.query.sort.iter();
    let order: Vec<_> = order.map(|s| (s.via.len(), s.attribute.as_str(), s.descending)).collect();
    assert_eq!(order, [(0, "age", true), (1, "name", false)]);
    let limit = |text: &str| fixture.parse(text).unwrap().query.limit;
    assert_eq!(limit("limit(0)"), Some(0));
    assert_eq!(limit("&age=1&&limit(2)&"), Some(2));
}

#[test]
fn each_form_of_a_selection_returns_what_it_promises() {
    let fixture = fixture();
    for (text, expected) in [
        ("id=1&select(name)", r#""Rex""#),
        ("id=3&select(name)", "-"),
        ("id=1&select(name,)", r#"{"name":"Rex"}"#),
        ("id=1&select(age,nosuch,name,age)", r#"{"age":3,"name":"Rex"}"#),
        ("id=3&select([name,id])", r#"[null,"3"]"#),
        ("id=1&select($id,)", r#"{"$id":"1"}"#),
        ("id=1&select(home{city})", r#"{"city":"Ulm"}"#),
        ("id=2&select(home[city])", r#"[["A"],7]"#),
        ("id=1&select(name,owner{name})", r#"{"name":"Rex","owner":{"name":"Ann"}}"#),
        ("id=1&select%28owner%7Bid%2Cname%7D%29", ""),
        ("id=1&select(owner)", r#"{"id":"a","name":"Ann"}"#),
        ("id=3&select(id,owner)", r#"{"id":"3"}"#),
        ("id=3&select([id,owner])", r#"["3",null]"#),
        ("id=1&select(friends(name))", r#"["Bo"]"#),
        ("id=3&select(friends)", "[]"),
        ("id=1&select(friends[id,age])", r#"[["2",5]]"#),
        ("id=1&select(owner(dogs(name,)))", r#"[{"name":"Rex"},{"name":"Bo"}]"#),
        (
            "id=1&select(owner{dogs{name,owner(name)}})",
            r#"{"dogs":[{"name":"Rex","owner":"Ann"},{"name":"Bo","owner":"Ann"}]}"#,
        ),
        ("id=1&select(friends(nosuch))", "[null]"),
        ("sort(-owner.name,id)&select(id)", r#""1" "2" "3""#),
        ("owner.dogs.name=Bo&select(id)", r#""1" "2""#),
    ] {
        if text.contains("select%28") {
            assert!(fixture.mistake(text).contains("not followed by an operator"), "{text}");
        } else {
            assert_eq!(fixture.selected(text), expected, "{text}");
        }
    }
    let encoded = "id=1&select(owner%7Bid%2Cname%7D)";
    assert_eq!(fixture.selected(encoded), r#"{"id":"a","name":"Ann"}"#);
    let body = r#"{"conditions":[{"attribute":"id","value":"1"}],"select":["name",{"name":"owner","select":["name"]}]}"#;
    let parsed = fixture.parse_body(body).unwrap();
    assert_eq!(fixture.select(parsed, 100).unwrap(), r#"{"name":"Rex","owner":{"name":"Ann"}}"#);
    let parsed = fixture.parse_body(r#"{"select":"$updatedtime"}"#).unwrap();
    assert!(
        fixture.select(parsed, 100).unwrap().split(' ').all(|time| time.parse::<u64>().is_ok())
    );
}

#[test]
fn related_records_are_bounded_and_tags_tell_selections_apart() {
    let fixture = fixture();
    let text = "id=1&select(owner(dogs))";
    assert!(fixture.select(fixture.parse(text).unwrap(), 3).is_ok(), "an owner and two dogs");
    let failure = fixture.select(fixture.parse(text).unwrap(), 2).unwrap_err();
    assert!(failure.message.contains("more than 2 records"), "{}", failure.message);
    let tag = |text: &str| {
        let select = fixture.parse(text).unwrap().select.unwrap();
        select.tag().map(str::to_owned)
    };
    let mut tags =
        ["select(name)", "select(name,)", "select([name])", "select(id,)", "select(home{city})"]
            .map(tag)
            .to_vec();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 5);
    assert_eq!(tag("select(owner{name})"), None, "its version is not theirs");
}

#[test]
fn nothing_that_is_not_understood_is_dropped() {
    let fixture = fixture();
    let deep = format!("select({}name{})", "owner{dogs{".repeat(5), "}}".repeat(5));
    let far = format!("{}name=x", "owner.dogs.".repeat(5));
    for (text, part) in [
        ("name==*x", "leading *"),
        ("nosuch=1", "nosuch is not a defined attribute (at position 1 "),
        ("age=zz=1", "Unknown query comparator \"zz\" (at position 4 "),
        ("age=long=1", "Unknown query comparator \"long\""),
        ("age=abc", "expecting Int (at position 5 "),
        ("limit(x)", "limit(x)"),
        ("limit(5,1)", "limit(5,1)"),
        ("(name=Rex", "not closed"),
        ("name=Rex)", "without its opening"),
        ("name=a&age=1|age=2", "mixed"),
        ("frob(1)", "unknown function frob"),
        ("name", "not followed by an operator"),
        ("=5", "name is missing"),
        ("age=5&=lt=6", "name is missing"),
        ("age=gt=5&=gt=6", "name is missing"),
        ("age=gt=5|lt=6", "second bounds"),
        ("lt=6", "lt is not a defined attribute"),
        ("owner=x", "owner is a relationship"),
        ("owner.nosuch=x", "nosuch is not a defined attribute"),
        ("nosuch.name=x", "nosuch is not a defined attribute"),
        ("name.x=x", "name is an attribute and no relationship"),
        (&far, "more than 8 relationships"),
        ("select(owner.name)", "write owner{name}"),
        ("select(owner{name)", "} is missing (at position 18 "),
        ("select(owner{})", "names no attribute (at position 14 "),
        ("select({a})", "a name is missing"),
        ("select(a})", "} is not expected here (at position 9 "),
        ("select([a)", "] is missing"),
        (&deep, "nested deeper than 8"),
        ("select()", "names no attribute"),
        ("sort(nosuch)", "not a defined attribute (at position 6 "),
        ("sort(age,-nosuch)", "(at position 10 "),
        ("explain(1)", "no arguments"),
        ("explain", "not followed by an operator"),
        ("name=%ff", "not UTF-8"),
        ("limit(1)&limit(5)", "limit( ) is given twice"),
        ("name=x|()", "a group is empty"),
        ("(age=1)(age=2)", "missing between two conditions"),
        ("(age=1)name=a", "missing between two conditions"),
        ("age=1|", "not followed by a condition"),
        ("age=1|limit(5)", "joined with &"),
        ("limit(5)|age=1", "not | (at position 9 "),
        ("age=1|age=2&limit(5)&name=a", "mixed"),
        ("age=1|&age=2", "mixed"),
    ] {
        assert!(fixture.mistake(text).contains(part), "{text}: {}", fixture.mistake(text));
    }
    assert!(fixture.mistake("name=a&nosuch=1").contains("position 8"));
    assert!(fixture.mistake(&"(".repeat(40)).contains("nested"));
    assert!(fixture.mistake(&format!("select({})", "a,".repeat(300))).contains("256 names"));
}

#[test]
fn what_may_not_be_read_is_neither_asked_nor_shown() {
    let fixture = fixture();
    let own = "{Dog: {read: true, attributes: {name: {read: true}, ownerId: {read: true}}}}";
    let both = "{Dog: {read: true}, Owner: {read: true, attributes: {id: {read: true}}}}";
    let parse = |rights: &str, text: &str| {
        parse(&fixture.model.scope(0, &user(&format!("data: {rights}"))), text)
    };
    for (rights, text) in [
        (own, "age=1"),
        (own, "sort(age)"),
        (own, "owner.name=x"),
        (own, "select(owner)"),
        (own, "friends.name=x"),
        (both, "owner.name=x"),
        (both, "sort(owner.name)"),
    ] {
        let Err(failure) = parse(rights, text) else { panic!("{text} is allowed") };
        assert_eq!(failure.code, Code::Forbidden, "{text}: {}", failure.message);
    }
    assert!(parse(both, "owner.id=a").is_ok() && parse(own, "name=Rex").is_ok());
    let selected =
        |rights: &str, text: &str| fixture.select(parse(rights, text).unwrap(), 9).unwrap();
    assert_eq!(selected(own, "name=Rex&select(name,age)"), r#"{"name":"Rex"}"#);
    assert_eq!(selected(both, "name=Rex&select(owner)"), r#"{"id":"a"}"#);
    assert_eq!(selected(both, "name=Rex&select(owner{id,name})"), r#"{"id":"a"}"#);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_text_is_parsed_or_refused_without_a_panic(
        texts in proptest::collection::vec("([a-z=!<>&|()\\[\\]{}%0-9,*:.é-]|select|limit|age|owner|%3C){0,24}", 40),
    ) {
        thread_local!(static FIXTURE: Fixture = fixture());
        FIXTURE.with(|fixture| {
            for text in &texts {
                let _ = fixture.parse(text);
                let _ = fixture.parse_body(text);
            }
        });
    }
}
