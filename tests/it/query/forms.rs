//! Every way to write a condition, a selection, an order and a range.

use crate::harness::{Client, Home, Server};
use serde_json::{Value, json};

const SCHEMA: &str = "
type Dog @table @export {
  id: ID @primaryKey
  name: String @indexed
  age: Int @indexed
  born: Date @indexed
  good: Boolean
  tags: [String] @indexed
  note: Any
}";

fn start() -> Server {
    let server = Home::with_schema(SCHEMA).start();
    let dogs = json!([
        {"id": "1", "name": "Rex", "age": 3, "born": "2016-01-01", "good": true, "tags": ["big", "brown"]},
        {"id": "2", "name": "Rexona", "age": 5, "born": "2017-01-01", "good": false, "tags": []},
        {"id": "3", "name": "a=b&c", "age": 7, "born": "2018-01-01", "note": "5"},
        {"id": "4", "name": "5", "age": null, "note": 5, "tags": ["brown"]},
        {"id": "5", "name": "R*", "age": -1, "note": "null"},
        {"id": "6", "note": null},
    ]);
    server.client().put("/Dog/", &dogs.to_string()).expect(204);
    server
}

#[track_caller]
fn ids(client: &Client, query: &str) -> String {
    let reply = client.get(&format!("/Dog/?{query}&select(id)&sort(id)")).expect(200);
    let ids: Vec<String> = serde_json::from_slice(&reply.body).unwrap();
    ids.concat()
}

#[test]
fn every_form_of_a_condition_finds_what_it_should() {
    let server = start();
    let client = server.client();
    let cases = [
        ("name=Rex", "1"),
        ("name===Rex", "1"),
        ("name==Rex", "1"),
        ("name=eq=Rex", "1"),
        ("name=R*", "5"),
        ("name===R*", "5"),
        ("name==R*", "125"),
        ("name==Rex*", "12"),
        ("name=eq=Rex*", "12"),
        ("name=sw=Rex", "12"),
        ("name=ew=ona", "2"),
        ("name=ct=ex", "12"),
        ("name=a%3Db%26c", "3"),
        ("name!=Rex", "2345"),
        ("name!==Rex", "2345"),
        ("name=ne=Rex", "2345"),
        ("age=5", "2"),
        ("age==5", "2"),
        ("age==number:5", "2"),
        ("age==number:5.0", "2"),
        ("age%3E3", "23"),
        ("age%3E=3", "123"),
        ("age%3C3", "5"),
        ("age%3c=3", "15"),
        ("age=gt=3", "23"),
        ("age=ge=3", "123"),
        ("age=lt=3", "5"),
        ("age=le=3", "15"),
        ("age=-1", "5"),
        ("age=gt=2&lt=6", "12"),
        ("age=ge=3&le=5", "12"),
        ("age=gt=2&age=lt=6", "12"),
        ("age==null", "4"),
        ("age=eq=null", "4"),
        ("age!=null", "1235"),
        ("note==null", "6"),
        ("note==string:null", "5"),
        ("note==number:5", "4"),
        ("note==string:5", "3"),
        ("note==5", "4"),
        ("born==2017-01-01", "2"),
        ("born==date:2017-01-01", "2"),
        ("born=gt=date:2016-06-01T00:00:00Z", "23"),
        ("born=1451606400000", "1"),
        ("good==boolean:true", "1"),
        ("good==true", "1"),
        ("good=false", "2"),
        ("tags=brown", "14"),
        ("tags[]=brown", "14"),
        ("tags=brown&tags=big", "1"),
        ("tags=sw=b", "14"),
        ("id=1", "1"),
        ("id=gt=4", "56"),
        ("id=1|id=3", "13"),
        ("(id=1|id=3)&age=3", "1"),
        ("[id=1|id=3]&(age=7)", "3"),
        ("id=1|age=7|age=-1", "135"),
        ("id=1|(age=gt=4&(name=Rexona|name=x))", "12"),
        ("id=1&id=2", ""),
    ];
    for (query, expected) in cases {
        // joined with a sort, an OR must stand in brackets
        let query_in_brackets =
            if query.contains('|') { format!("({query})") } else { query.into() };
        assert_eq!(ids(&client, &query_in_brackets), expected, "{query}");
    }
    let whole = client.get("/Dog/?id=1|id=3").expect(200).json();
    assert_eq!(whole.as_array().unwrap().len(), 2, "alone it needs none");
}

#[test]
fn comparison_signs_are_understood_as_they_are_and_encoded() {
    let server = start();
    for (query, found) in [("age>3", "23"), ("age<=-1", "5"), ("age>=5&age<7", "2")] {
        let encoded = query.replace('<', "%3C").replace('>', "%3E");
        for query in [query, &encoded] {
            let mut wire = server.wire();
            wire.get(&format!("/Dog/?{query}&select(id)"));
            let ids: Vec<String> = serde_json::from_slice(&wire.reply().expect(200).body).unwrap();
            assert_eq!(ids.concat(), found, "{query}");
        }
    }
}

#[test]
fn select_returns_what_it_names() {
    let server = start();
    let client = server.client();
    let cases: [(&str, Value); 7] = [
        ("/Dog/?id=1&select(name)", json!(["Rex"])),
        ("/Dog/?id=1&select(name,)", json!([{"name": "Rex"}])),
        ("/Dog/?id=1&select(age,name)", json!([{"age": 3, "name": "Rex"}])),
        ("/Dog/?id=1&select([name,age])", json!([["Rex", 3]])),
        ("/Dog/?id=6&select(name)", json!([null])),
        ("/Dog/?id=6&select(name,id)", json!([{"id": "6"}])),
        ("/Dog/?id=6&select([name,id])", json!([[null, "6"]])),
    ];
    for (path, expected) in cases {
        assert_eq!(client.get(path).expect(200).json(), expected, "{path}");
    }
    assert_eq!(client.get("/Dog/1?select(name)").expect(200).text(), r#""Rex""#);
    assert_eq!(client.get("/Dog/1?select(name,age)").json(), json!({"name": "Rex", "age": 3}));
    assert_eq!(client.get("/Dog/1?select([age])").json(), json!([3]));
    assert_eq!(
        client.get("/Dog/1?select(name,name)").text(),
        r#"{"name":"Rex"}"#,
        "named twice, sent once"
    );
    client.get("/Dog/9?select(name)").expect(404);
    for query in ["name=x", "limit(1)", "sort(name)"] {
        client.get(&format!("/Dog/1?{query}")).expect(400);
    }
}

#[test]
fn limit_takes_a_count_or_a_range() {
    let server = start();
    let client = server.client();
    let list = |query: &str| client.get(&format!("/Dog/?{query}&select(id)")).expect(200).text();
    assert_eq!(list("limit(2)"), r#"["1","2"]"#);
    assert_eq!(list("limit(0)"), "[]");
    assert_eq!(list("limit(2,4)"), r#"["3","4"]"#, "the end is exclusive");
    assert_eq!(list("limit(4,400)"), r#"["5","6"]"#);
    assert_eq!(list("limit(3,3)"), "[]");
    assert_eq!(list("sort(-id)&limit(2)"), r#"["6","5"]"#);
    assert_eq!(list("sort(+id)&limit(1)"), r#"["1"]"#);
    assert_eq!(
        list("name=sw=R&limit(1,2)"),
        r#"["1"]"#,
        "in the order of the attribute: R*, Rex, Rexona"
    );
}
