//! Queries that make no sense are refused with a sentence, and never do half of what was asked.

use crate::harness::Home;

const SCHEMA: &str = "
type Dog @table @export { id: ID @primaryKey name: String @indexed age: Int @indexed born: Date good: Boolean }";

#[test]
fn what_cannot_be_understood_is_400_and_deletes_nothing() {
    let server = Home::with_schema(SCHEMA).start();
    let client = server.client();
    for id in 0..5 {
        client.put(&format!("/Dog/{id}"), r#"{"name":"Rex","age":1}"#).expect(204);
    }
    let cases = [
        ("name==*x", "leading *"),
        ("id==*x", "leading *"),
        ("nosuch=1", "nosuch is not a defined attribute"),
        ("name=Rex&nosuch=1", "nosuch"),
        ("explain", ""),
        ("limit=2", "limit is not a defined attribute"),
        ("age=zz=1", "Unknown query comparator"),
        ("age=in=1", "Unknown query comparator"),
        ("age=long=1", "Unknown query comparator \"long\""),
        ("age=gt=1|lt=3", "second bounds"),
        ("sort(nosuch)&limit(1)", "(at position 6 of the query)"),
        ("age=abc", "Invalid value for attribute age: \"abc\", expecting Int"),
        ("age=", "expecting Int"),
        ("age=gt=x", "expecting Int"),
        ("born=yesterday", "expecting Date"),
        ("good=1", "expecting Boolean"),
        ("age==number:x", "expecting"),
        ("born==date:x", "expecting Date"),
        ("good==boolean:x", "expecting Boolean"),
        ("limit(x)", "limit(x)"),
        ("limit(1,2,3)", "limit(1,2,3)"),
        ("limit(5,1)", "limit(5,1)"),
        ("limit(-1)", "limit(-1)"),
        ("limit(1", "not closed"),
        ("(name=Rex", "not closed"),
        ("name=Rex)", "closing bracket"),
        ("[name=Rex)", "not closed"),
        ("name=a&age=1|age=2", "mixed"),
        ("group-by(name)", "unknown function"),
        ("not(name=Rex)", "unknown function"),
        ("!name", ""),
        ("name", "not followed by an operator"),
        ("=5", "name is missing"),
        ("owner.name=x", "owner is not a defined attribute"),
        ("select(owner{name)", "} is missing"),
        ("select()", "names no attribute"),
        ("sort()", "names no attribute"),
        ("sort(nosuch)", "not a defined attribute"),
        ("name=%ff", "UTF-8"),
        ("name=sw=%ff", "UTF-8"),
        ("()", "a group is empty"),
        ("name=Rex&()", "a group is empty"),
        ("name=x|()", "a group is empty"),
        ("(name=Rex)(age=1)", ""),
        ("(name=Rex)age=1", ""),
        ("limit(1)&name=Rex&limit(5)", "limit"),
        ("select(id)&name=Rex&select(name)", "select"),
        ("sort(id)&name=Rex&sort(age)", "sort"),
    ];
    for (query, part) in cases {
        for method in ["GET", "DELETE"] {
            let refused = client.request(method, &format!("/Dog/?{query}")).send().expect(400);
            assert_eq!(
                refused.json()["type"],
                "urn:harper:problem:invalid-query",
                "{method} {query}"
            );
            assert!(refused.error().contains(part), "{method} {query}: {refused}");
        }
    }
    assert_eq!(client.get("/Dog/?select(id)").text(), r#"["0","1","2","3","4"]"#);
    let refused = client.get("/Dog/?name=a&nosuch=1").error();
    assert!(refused.contains("position 8"), "{refused}");
}

#[test]
fn queries_have_limits() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch().set("query.sortRecordsMax=10").start();
    let client = server.client();
    let nested = format!("{}name=a{}", "(".repeat(17), ")".repeat(17));
    assert!(client.get(&format!("/Dog/?{nested}")).expect(400).error().contains("nested"));
    let many = vec!["age=1"; 257].join("|");
    assert!(client.get(&format!("/Dog/?{many}")).expect(400).error().contains("256 conditions"));
    for id in 0..11 {
        client
            .put(
                &format!("/Dog/{id:02}"),
                &format!(r#"{{"good":{},"age":{}}}"#, id % 2 == 0, 20 - id),
            )
            .expect(204);
    }
    let refused = client.get("/Dog/?sort(good)").expect(400);
    assert!(refused.error().contains("more than 10 records"), "{refused}");
    client.get("/Dog/?sort(good)&limit(3)").expect(200);
    let by_index = client.get("/Dog/?sort(age)&select(id)").expect(200).json();
    assert_eq!(
        (&by_index[0], &by_index[10]),
        (&"10".into(), &"00".into()),
        "an index holds nothing"
    );
    client.get("/Dog/?sort(-id)").expect(200);
    assert_eq!(server.metric("harper_rejected_total{reason=\"sort_records\"}"), 1.0);
}

#[test]
fn a_value_to_compare_with_has_a_limit() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch().set("query.valueBytesMax=10").start();
    let client = server.client();
    client.put("/Dog/1", r#"{"name":"0123456789"}"#).expect(204);
    assert_eq!(client.get("/Dog/?name=ct=0123456789&select(id)").text(), r#"["1"]"#);
    let refused = client.get("/Dog/?id=1&(age=1|name=ct=0123456789a)").expect(400);
    assert!(refused.error().contains("a value of 11 bytes, at most 10"), "{refused}");
    let body =
        r#"{"conditions":[{"attribute":"name","comparator":"contains","value":"0123456789a"}]}"#;
    client.request("QUERY", "/Dog/").json(body).send().expect(400);
    client.delete("/Dog/?name=ne=0123456789a").expect(400);
    client.get("/Dog/1").expect(200);
    assert_eq!(server.metric("harper_rejected_total{reason=\"value_bytes\"}"), 3.0);
}

#[test]
fn a_search_without_an_index_is_bounded() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch().set("query.scanRecordsMax=10").start();
    let client = server.client();
    for id in 0..20 {
        let body = format!(r#"{{"good":{},"age":{id}}}"#, id == 19);
        client.put(&format!("/Dog/{id:02}"), &body).expect(204);
    }
    let refused = client.get("/Dog/?good=true").expect(400);
    assert!(refused.error().contains("read more than 10 records of Dog"), "{refused}");
    client.delete("/Dog/?good=true").expect(400);
    assert_eq!(client.get("/Dog/?good=false&limit(2)&select(id)").text(), r#"["00","01"]"#);
    client.get("/Dog/?good=true&limit(1)").expect(400);
    let whole = client.get("/Dog/?select(id)").expect(200).json();
    assert_eq!(whole.as_array().unwrap().len(), 20, "what is returned may be any number");
    assert_eq!(client.get("/Dog/?good=true&age=gt=14&select(id)").text(), r#"["19"]"#);
    assert_eq!(server.metric("harper_rejected_total{reason=\"scan_records\"}"), 3.0);
}
