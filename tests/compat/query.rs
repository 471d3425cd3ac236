//! What may stand behind the question mark.

use crate::{Row, World, differs, same};
use serde_json::{Value, json};

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    same("a=v, a===v", |w| {
        assert_eq!(dogs(w, "name=Rex"), ["1"]);
        assert_eq!(dogs(w, "age===3"), ["1", "3"]);
        assert_eq!(dogs(w, "name=R*"), [""; 0]);
    }),
    same("a==v, a=eq=v", |w| {
        assert_eq!(dogs(w, "name==R*"), ["1", "2"]);
        assert_eq!(dogs(w, "age=eq=number:3"), ["1", "3"]);
    }),
    same("!=, =ne=, >, >=, <, <=, =gt=, =ge=, =lt=, =le=", |w| {
        assert_eq!(dogs(w, "age!=3"), ["2", "4"]);
        assert_eq!(dogs(w, "age=ne=3"), ["2", "4"]);
        assert_eq!(dogs(w, "age=gt=3"), ["2", "4"]);
        assert_eq!(dogs(w, "age=ge=9"), ["4"]);
        assert_eq!(dogs(w, "age=lt=5"), ["1", "3"]);
        assert_eq!(dogs(w, "age=le=5"), ["1", "2", "3"]);
    }),
    same("=sw=, =ew=, =ct=", |w| {
        assert_eq!(dogs(w, "name=sw=R"), ["1", "2"]);
        assert_eq!(dogs(w, "name=ew=x"), ["1"]);
        assert_eq!(dogs(w, "name=ct=e"), ["1", "3"]);
    }),
    same("number:, boolean:, date:, string:, null", |w| {
        assert_eq!(dogs(w, "extra==number:6"), ["1"]);
        assert_eq!(dogs(w, "good==boolean:true"), ["1"]);
        assert_eq!(dogs(w, "born=gt=date:2016-01-01"), ["1"]);
        assert_eq!(dogs(w, "extra==string:6"), ["2"]);
        assert_eq!(dogs(w, "breed==null"), ["3"]);
    }),
    same("&, |, groups", |w| {
        assert_eq!(dogs(w, "age=3&name=Rex"), ["1"]);
        assert_eq!(dogs(w, "name=Rex|name=Ben"), ["1", "3"]);
        assert_eq!(dogs(w, "(name=Rex|name=Ben)&breed=Pug"), ["1"]);
        assert_eq!(dogs(w, "[name=Rex|name=Ben]&breed=Pug"), ["1"]);
        w.admin.get("/Dog/?name=a&name=b|name=c").expect(400);
    }),
    same("a.b=c", |w| {
        assert_eq!(dogs(w, "owner.name=Ann"), ["1", "2"]);
        let owners = w.admin.get("/Owner/?dogs.name=Rex").expect(200).json();
        assert_eq!(owners[0]["id"], "ann");
        let sorted =
            w.admin.get("/Dog/?ownerId=ge=a&sort(owner.name)&select(id)").expect(200).json();
        assert_eq!(sorted.as_array().unwrap().len(), 3);
    }),
    same("select", |w| {
        let get = |text: &str| w.admin.get(&format!("/Dog/?{text}")).expect(200).json();
        assert_eq!(get("name=Rex&select(age)"), json!([3]));
        assert_eq!(get("name=Rex&select(age,)"), json!([{"age": 3}]));
        assert_eq!(get("name=Rex&select(age,name)"), json!([{"age": 3, "name": "Rex"}]));
        assert_eq!(get("name=Rex&select([age,name])"), json!([[3, "Rex"]]));
        assert_eq!(
            get("name=Rex&select(name,owner{name})"),
            json!([{"name": "Rex", "owner": {"name": "Ann"}}])
        );
        assert_eq!(w.admin.get("/Dog/1?select(age,)").expect(200).json(), json!({"age": 3}));
    }),
    same("limit(n), limit(start,end)", |w| {
        assert_eq!(dogs(w, "limit(2)"), ["1", "2"]);
        assert_eq!(dogs(w, "limit(1,3)"), ["2", "3"]);
        assert_eq!(dogs(w, "limit(0)"), [""; 0]);
    }),
    same("sort(a,-b,+c)", |w| {
        let ids = |text: &str| w.admin.get(&format!("/Dog/?{text}&select(id)")).expect(200).json();
        assert_eq!(ids("sort(age,-name)"), json!(["1", "3", "2", "4"]));
        assert_eq!(ids("sort(-age,+name)"), json!(["4", "2", "3", "1"]));
    }),
    same("a[]=v; an attribute twice", |w| {
        assert_eq!(dogs(w, "tags[]=small"), ["1", "2"]);
        assert_eq!(dogs(w, "tags=small&tags=old"), ["1"]);
    }),
    same("+ and %xx in a value", |w| {
        w.admin.put("/Dog/plus", r#"{"name":"a+b c"}"#).expect(204);
        assert_eq!(dogs(w, "name=a+b%20c"), ["plus"]);
        w.admin.delete("/Dog/plus").expect(200);
    }),
    same("an attribute without an index", |w| assert_eq!(dogs(w, "weight=gt=20"), ["2"])),
    differs(
        "an undeclared attribute",
        "404",
        "400: the resource exists, the query is wrong",
        |w| {
            assert!(w.admin.get("/Dog/?nosuch=1").expect(400).error().contains("nosuch"));
        },
    ),
    differs(
        "sort(weight) alone",
        "404",
        "the records are sorted in memory, within `query.sortRecordsMax`",
        |w| {
            w.admin.get("/Dog/?sort(weight)").expect(200);
        },
    ),
    same("unknown operator of two letters", |w| drop(w.admin.get("/Dog/?age=zz=1").expect(400))),
    differs(
        "longer operator, bad limit, open group, unknown function, mixed and/or, not()",
        "500, or ignored",
        "400 with the place",
        |w| {
            for text in [
                "age=long=1",
                "limit(x)",
                "(age=1",
                "age=1)",
                "foo(age)",
                "age=1&age=2|age=3",
                "not(age=1)",
                "limit=2",
            ] {
                w.admin.get(&format!("/Dog/?{text}")).expect(400);
            }
        },
    ),
    same("bad value for the type", |w| {
        assert!(w.admin.get("/Dog/?age=abc").expect(400).error().contains("abc"));
    }),
    differs(
        "a condition that cannot be parsed",
        "dropped: GET answers the whole table, DELETE empties it",
        "400, and nothing is deleted",
        |w| {
            w.admin.get("/Dog/?name==*x").expect(400);
            w.admin.delete("/Dog/?id==*x").expect(400);
            assert_eq!(dogs(w, ""), ["1", "2", "3", "4"]);
        },
    ),
    differs("age=gt=2&=lt=6", "the second half is ignored", "a range", |w| {
        assert_eq!(dogs(w, "age=gt=3&lt=6"), ["2"]);
    }),
    differs(
        "%3E and %3C as operators",
        "not seen",
        "the same as `<` and `>`, for browsers encode them",
        |w| {
            assert_eq!(dogs(w, "age%3E3"), ["2", "4"]);
            assert_eq!(dogs(w, "age%3C=3"), ["1", "3"]);
        },
    ),
    differs(
        "sort and records without the attribute",
        "left out",
        "kept: a sort drops no record",
        |w| {
            w.admin.put("/Dog/bare", "{}").expect(204);
            let sorted = w.admin.get("/Dog/?sort(breed)&select(id)").expect(200).json();
            assert_eq!(sorted.as_array().unwrap().len(), 5, "{sorted}");
            w.admin.delete("/Dog/bare").expect(200);
        },
    ),
    differs("explain", "none", "`explain()` in a query answers its plan", |w| {
        let plan = w.admin.get("/Dog/?name=Rex&explain()").expect(200).text();
        assert!(plan.contains("name"), "{plan}");
    }),
];

/// The ids of the dogs that a query finds, in order of their ids.
fn dogs(w: &World, query: &str) -> Vec<String> {
    if w.admin.get("/Dog/4").status == 404 {
        fill(w);
    }
    let mut ids: Vec<String> = match w.admin.get(&format!("/Dog/?{query}")).expect(200).json() {
        Value::Array(records) => {
            records.iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect()
        }
        other => panic!("{query}: {other}"),
    };
    ids.sort();
    ids
}

fn fill(w: &World) {
    let dogs = json!([
        {"id": "1", "name": "Rex", "breed": "Pug", "age": 3, "good": true, "born": "2020-05-05T00:00:00.000Z",
         "tags": ["small", "old"], "ownerId": "ann", "extra": 6, "weight": 5},
        {"id": "2", "name": "Rolf", "breed": "Boxer", "age": 5, "tags": ["small"], "ownerId": "ann", "extra": "6", "weight": 30.5},
        {"id": "3", "name": "Ben", "breed": null, "age": 3, "ownerId": "bob", "good": false},
        {"id": "4", "name": "Zoo", "breed": "Pug", "age": 9},
    ]);
    w.admin.put("/Dog/", &dogs.to_string()).expect(204);
    w.admin.put("/Owner/", r#"[{"id":"ann","name":"Ann"},{"id":"bob","name":"Bob"}]"#).expect(204);
}
