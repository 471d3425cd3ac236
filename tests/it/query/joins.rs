//! Relationships: conditions, orders and selections that follow them, against the same in the test's memory.

use crate::harness::{Client, Home, Random, Server};
use serde_json::{Value, json};

const SCHEMA: &str = "
type Dog @table @export {
  id: ID @primaryKey
  name: String @indexed
  age: Int @indexed
  born: Date
  ownerId: ID @indexed
  looseOwnerId: ID
  friendIds: [ID] @indexed
  owner: Owner @relationship(from: ownerId)
  looseOwner: Owner @relationship(from: looseOwnerId)
  friends: [Dog] @relationship(from: friendIds)
  fans: [Dog] @relationship(to: friendIds)
}
type Owner @table @export {
  id: ID @primaryKey
  name: String @indexed
  cityName: String
  dogs: [Dog] @relationship(to: ownerId)
  city: [City] @relationship(from: cityName, to: name)
}
type City @table @export { id: Int @primaryKey name: String size: Int owners: [Owner] @relationship(from: name, to: cityName) }
";

fn start() -> Server {
    let server = Home::with_schema(SCHEMA).start();
    let client = server.client();
    let dogs = json!([
        {"id": "1", "name": "Rex", "age": 3, "born": "2020-01-02T00:00:00.000Z", "ownerId": "a", "looseOwnerId": "a", "friendIds": ["2", "3"]},
        {"id": "2", "name": "Bo", "age": 5, "ownerId": "a", "looseOwnerId": "a", "friendIds": ["1"]},
        {"id": "3", "name": "Cy", "age": 7, "ownerId": "b", "looseOwnerId": "b"},
        {"id": "4", "name": "Di", "age": 1, "ownerId": "gone"},
        {"id": "5", "name": "Ed"},
    ]);
    client.put("/Dog/", &dogs.to_string()).expect(204);
    let owners = json!([
        {"id": "a", "name": "Ann", "cityName": "Ulm"},
        {"id": "b", "name": "Bob", "cityName": "Rom"},
        {"id": "c", "name": "Cid"},
    ]);
    client.put("/Owner/", &owners.to_string()).expect(204);
    let cities =
        json!([{"id": 1, "name": "Ulm", "size": 10}, {"id": 2, "name": "Rom", "size": 50}]);
    client.put("/City/", &cities.to_string()).expect(204);
    server
}

#[track_caller]
fn ids(client: &Client, path: &str) -> String {
    let list = client.get(path).expect(200).json();
    let ids = list.as_array().unwrap().iter().map(|id| match id {
        Value::String(id) => id.clone(),
        other => other.to_string(),
    });
    ids.collect()
}

#[test]
fn conditions_follow_relationships_in_every_direction() {
    let server = start();
    let client = server.client();
    for (path, expected) in [
        ("/Dog/?owner.name=Ann", "12"),
        ("/Dog/?looseOwner.name=Ann", "12"),
        ("/Dog/?owner.name=sw=B", "3"),
        ("/Dog/?owner.name!=Ann", "3"),
        ("/Dog/?owner.id=gone", ""),
        ("/Dog/?owner.city.size=gt=20", "3"),
        ("/Dog/?owner.dogs.friends.name=Rex", "12"),
        ("/Dog/?friends.age=gt=5", "1"),
        ("/Dog/?friends.owner.name=Ann", "12"),
        ("/Dog/?fans.name=Bo", "1"),
        ("/Dog/?owner.name=Ann&age=gt=3", "2"),
        ("/Dog/?(owner.name=Bob|age=1)", "34"),
        ("/Dog/?(owner.name=Bob|friends.name=Rex)&age=gt=0", "23"),
        ("/Owner/?dogs.name=Rex", "a"),
        ("/Owner/?dogs.age=gt=2&lt=6", "a"),
        ("/Owner/?city.name=Rom", "b"),
        ("/City/?owners.dogs.name=Cy", "2"),
    ] {
        assert_eq!(ids(&client, &format!("{path}&select(id)&sort(id)")), expected, "{path}");
    }
    let one_dog = "/Owner/?dogs.age=gt=3&lt=4&select(id)";
    assert_eq!(ids(&client, one_dog), "", "one dog is within both bounds");
    let two_dogs = "/Owner/?dogs.age=gt=3&dogs.age=lt=4&select(id)";
    assert_eq!(ids(&client, two_dogs), "a", "two conditions may be met by two dogs");
}

#[test]
fn orders_follow_relationships_and_keep_records_without() {
    let server = start();
    let client = server.client();
    for (sort, expected) in [
        ("owner.name,id", "45123"),
        ("-owner.name,-id", "32154"),
        ("owner.city.size,-age", "45213"),
        ("friends.age,id", "34521"),
    ] {
        let found = ids(&client, &format!("/Dog/?sort({sort})&select(id)"));
        assert_eq!(found, expected, "{sort}");
    }
    assert_eq!(ids(&client, "/Dog/?sort(-owner.name,id)&limit(1,3)&select(id)"), "12");
}

#[test]
fn selections_follow_relationships() {
    let server = start();
    let client = server.client();
    let rex = |select: &str| client.get(&format!("/Dog/1?select({select})")).expect(200).json();
    assert_eq!(rex("name,owner{name}"), json!({"name": "Rex", "owner": {"name": "Ann"}}));
    assert_eq!(rex("owner"), json!({"id": "a", "name": "Ann", "cityName": "Ulm"}));
    assert_eq!(rex("friends[id,age]"), json!([["2", 5], ["3", 7]]));
    assert_eq!(rex("fans(name)"), json!(["Bo"]));
    assert_eq!(
        rex("owner{city{size},dogs{name,owner{id}}}"),
        json!({"city": [{"size": 10}], "dogs": [{"name": "Rex", "owner": {"id": "a"}}, {"name": "Bo", "owner": {"id": "a"}}]})
    );
    let list = client.get("/Dog/?sort(id)&select(id,owner{name})").expect(200).json();
    assert_eq!(list[3], json!({"id": "4"}), "what is not there is left out");
    assert_eq!(list.as_array().unwrap().len(), 5);
    assert_eq!(client.get("/Owner/?id=c&select(dogs)").json(), json!([[]]));
    let plain = client.get("/Dog/1").expect(200);
    assert!(plain.json().get("owner").is_none(), "left out of plain reads");
    let related = client.get("/Dog/1?select(owner{name})").expect(200);
    assert!(!related.headers.contains_key("etag"), "the dog's version is not its owner's");
    client.patch("/Owner/a", r#"{"name":"Anna"}"#).expect(204);
    assert_eq!(rex("owner(name)"), json!("Anna"));
    let cbor = client
        .request("GET", "/Dog/?id=3&select(id,owner{id,dogs{born}},friends)")
        .header("accept", "application/cbor")
        .send()
        .expect(200);
    assert!(ciborium::from_reader::<ciborium::Value, _>(cbor.body.as_slice()).is_ok());
    let typed = client
        .request("GET", "/Owner/?id=a&select(id,dogs{born})")
        .header("accept", "application/cbor")
        .send();
    let list: ciborium::Value = ciborium::from_reader(typed.body.as_slice()).unwrap();
    assert!(
        format!("{list:?}").contains("Tag(0"),
        "a date of a related record is a date: {list:?}"
    );
    let csv = client.get("/Dog/.csv?sort(id)&select(id,owner{name})&limit(1)").expect(200);
    assert_eq!(csv.text(), "\"id\",\"owner\"\r\n\"1\",\"{\"\"name\"\":\"\"Anna\"\"}\"\r\n");
}

#[test]
fn what_is_enumerable_is_part_of_plain_reads() {
    let server = Home::with_schema(
        "type Dog @table @export { id: ID ownerId: ID owner: Owner @relationship(from: ownerId) @enumerable }\n\
         type Owner @table @export { id: ID dogs: [Dog] @relationship(to: ownerId) @enumerable }",
    )
    .start();
    let client = server.client();
    client.put("/Dog/", r#"[{"id":"1","ownerId":"a"},{"id":"2"}]"#).expect(204);
    client.put("/Owner/a", r#"{"more":1}"#).expect(204);
    let owner = json!({"id": "a", "more": 1});
    let rex = json!({"id": "1", "ownerId": "a", "owner": owner});
    assert_eq!(client.get("/Dog/1").expect(200).json(), rex);
    assert_eq!(client.get("/Dog/").json(), json!([rex, {"id": "2"}]));
    assert_eq!(client.get("/Dog/1?select(ownerId,)").json(), json!({"ownerId": "a"}));
    let dogs = client.get("/Owner/a").json();
    assert_eq!(dogs, json!({"id": "a", "more": 1, "dogs": [{"id": "1", "ownerId": "a"}]}));
    let csv = client.get("/Dog/.csv?id=2").expect(200).text();
    assert_eq!(csv, "\"id\",\"ownerId\",\"owner\"\r\n\"2\",,\r\n");
}

#[test]
fn the_bytes_of_related_records_have_a_limit() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch().set("query.heldBytesMax=200000").start();
    let client = server.client();
    client.put("/Owner/a", r#"{"name":"Ann"}"#).expect(204);
    client.put("/Owner/b", r#"{"name":"Bob"}"#).expect(204);
    let note = "x".repeat(40_000);
    for id in 0..10 {
        // four are Ann's, six Bob's
        let owner = if id < 4 { "a" } else { "b" };
        let body = json!({"name": id.to_string(), "ownerId": owner, "note": note});
        client.put(&format!("/Dog/{id}"), &body.to_string()).expect(204);
    }
    let dogs = client.get("/Owner/a?select(dogs)").expect(200).json();
    assert_eq!(dogs.as_array().unwrap().len(), 4);
    let many = client.get("/Dog/?ownerId=a&select(id,owner{dogs})").expect(200).json();
    assert_eq!(many[3]["owner"]["dogs"][3]["note"], note, "of each record by itself");
    for path in
        ["/Owner/b?select(id,dogs)", "/Owner/?select(dogs)&id=b", "/Dog/9?select(owner{dogs})"]
    {
        let refused = client.get(path).expect(400);
        assert!(refused.error().contains("more than 200000 bytes"), "{refused}");
    }
    assert_eq!(
        client.get("/Owner/b?select(dogs{id})").expect(200).json().as_array().unwrap().len(),
        6
    );
    assert_eq!(server.metric("harper_rejected_total{reason=\"held_bytes\"}"), 3.0);
}

#[test]
fn related_records_have_a_limit_and_cycles_an_end() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch().set("query.relatedRecordsMax=3").start();
    let client = server.client();
    for id in 0..4 {
        client.put(&format!("/Dog/{id}"), r#"{"ownerId":"a"}"#).expect(204);
    }
    client.put("/Owner/a", r#"{"name":"Ann"}"#).expect(204);
    let refused = client.get("/Owner/a?select(dogs)").expect(400);
    assert!(refused.error().contains("more than 3 records"), "{refused}");
    client.get("/Owner/?select(dogs)").expect(400);
    client.get("/Dog/?select(owner)").expect(200);
    let deep = "owner.dogs.".repeat(5);
    let refused = client.get(&format!("/Dog/?{deep}name=x")).expect(400);
    assert!(refused.error().contains("more than 8 relationships"), "{refused}");
    let deep = format!("{}id{}", "owner{dogs{".repeat(5), "}}".repeat(5));
    client.get(&format!("/Dog/?select({deep})")).expect(400);
    assert_eq!(server.metric("harper_rejected_total{reason=\"related_records\"}"), 2.0);
}

#[test]
fn a_relationship_is_described_and_not_written() {
    let server = start();
    let client = server.client();
    let described = client.get("/Dog").expect(200).json();
    let attributes = described["attributes"].as_array().unwrap();
    let owner = attributes.iter().find(|attribute| attribute["name"] == "owner").unwrap();
    assert_eq!(
        *owner,
        json!({"name": "owner", "type": "Owner", "relationship": {"from": "ownerId", "to": "id"}})
    );
    let body = r#"{"name":"Rex","owner":{"id":"a"}}"#;
    for reply in [
        client.put("/Dog/1", body),
        client.patch("/Dog/1", body),
        client.post("/Dog/", body),
        client.put("/Dog/", r#"[{"id":"1","owner":null}]"#),
    ] {
        let refused = reply.expect(400);
        assert!(refused.error().contains("owner is a relationship"), "{refused}");
    }
    assert_eq!(client.get("/Dog/1").json()["age"], 3);
}

#[test]
fn deleting_by_related_records_deletes_those_alone() {
    let server = start();
    let client = server.client();
    let plan = client.delete("/Dog/?owner.name=Ann&explain()").expect(200).json();
    assert_eq!(plan["table"], "Dog");
    assert_eq!(ids(&client, "/Dog/?select(id)"), "12345", "explaining deletes nothing");
    client.delete("/Dog/?owner.nosuch=x").expect(400);
    client.delete("/Dog/?owner.name=Ann&select(id)").expect(400);
    assert_eq!(client.delete("/Dog/?owner.name=Ann&age=gt=4").expect(200).text(), "true");
    assert_eq!(ids(&client, "/Dog/?select(id)"), "1345");
    assert_eq!(client.delete("/Dog/?looseOwner.name=Bob").text(), "true");
    assert_eq!(client.delete("/Dog/?owner.name=Nobody").text(), "false");
    assert_eq!(ids(&client, "/Dog/?select(id)"), "145");
}

#[test]
fn a_schema_whose_relationships_lead_nowhere_is_refused() {
    let home = Home::with_schema("type Dog @table { id: ID  o: Owner @relationship(from: nope) }");
    let refused = home.launch().fail();
    let message = crate::harness::server::text(&refused.stderr);
    assert!(
        message.contains("schema.graphql:1:") && message.contains("there is no table Owner"),
        "{message}"
    );
}

/// Records of the random tests.
struct World {
    dogs: Vec<(i64, Option<usize>, Vec<usize>)>,
    owners: Vec<String>,
}

impl World {
    fn random(random: &mut Random) -> Self {
        let below = |random: &mut Random, n: u64| random.below(n) as usize;
        let dogs = (0..300).map(|_| {
            let owner = (random.below(5) > 0).then(|| below(random, 45));
            let friends = (0..random.below(4)).map(|_| below(random, 320)).collect();
            (random.below(20) as i64, owner, friends)
        });
        let dogs = dogs.collect();
        let owners = (0..40).map(|_| format!("n{}", random.below(12))).collect();
        Self { dogs, owners }
    }

    fn fill(&self, client: &Client) {
        let dogs = self.dogs.iter().enumerate().map(|(id, (age, owner, friends))| {
            let owner = owner.map(|owner| format!("o{owner}"));
            let friends: Vec<_> = friends.iter().map(|id| format!("d{id:03}")).collect();
            json!({"id": format!("d{id:03}"), "age": age, "ownerId": owner, "looseOwnerId": owner, "friendIds": friends})
        });
        client.put("/Dog/", &json!(dogs.collect::<Vec<_>>()).to_string()).expect(204);
        let owners = self.owners.iter().enumerate();
        let owners = owners.map(|(id, name)| json!({"id": format!("o{id}"), "name": name}));
        client.put("/Owner/", &json!(owners.collect::<Vec<_>>()).to_string()).expect(204);
    }

    /// A random condition, and whether a dog meets it.
    fn condition(&self, random: &mut Random) -> (String, Box<dyn Fn(usize) -> bool + '_>) {
        let (age, name) = (random.below(20) as i64, format!("n{}", random.below(12)));
        let owner = |at: usize| self.dogs[at].1.and_then(|owner| self.owners.get(owner));
        let has = |name: String| move |at: usize| owner(at) == Some(&name);
        match random.below(6) {
            0 => (format!("age=ge={age}"), Box::new(move |at| self.dogs[at].0 >= age)),
            1 => (format!("owner.name={name}"), Box::new(has(name))),
            2 => (format!("looseOwner.name={name}"), Box::new(has(name))),
            3 => {
                let is_old =
                    move |friend: &usize| self.dogs.get(*friend).is_some_and(|dog| dog.0 >= age);
                let text = format!("friends.age=ge={age}");
                (text, Box::new(move |at| self.dogs[at].2.iter().any(is_old)))
            }
            4 => {
                let has = has(name.clone());
                let is_fan =
                    move |at: usize, fan: usize| self.dogs[fan].2.contains(&at) && has(fan);
                let all = 0..self.dogs.len();
                (
                    format!("fans.owner.name={name}"),
                    Box::new(move |at| all.clone().any(|fan| is_fan(at, fan))),
                )
            }
            _ => {
                let holds = move |at: usize| {
                    let owner = self.dogs[at].1.filter(|owner| *owner < self.owners.len());
                    owner.is_some() && self.dogs.iter().any(|dog| dog.1 == owner && dog.0 >= age)
                };
                (format!("owner.dogs.age=ge={age}"), Box::new(holds))
            }
        }
    }
}

#[test]
fn random_joins_find_what_the_model_finds() {
    let server = start();
    let client = server.client();
    client.delete("/Dog/?id=ge=0").expect(200);
    client.delete("/Owner/?id=ge=0").expect(200);
    let mut random = Random(0x5eed_0004);
    let world = World::random(&mut random);
    world.fill(&client);
    let mut met = 0;
    for _ in 0..150 {
        let [(a, holds_a), (b, holds_b), (c, holds_c)] =
            [(); 3].map(|()| world.condition(&mut random));
        let forms: [(String, &dyn Fn(usize) -> bool); 4] = [
            (a.clone(), &|at| holds_a(at)),
            (format!("{a}&{b}"), &|at| holds_a(at) && holds_b(at)),
            (format!("({a}|{b})"), &|at| holds_a(at) || holds_b(at)),
            (format!("{a}&({b}|{c})"), &|at| holds_a(at) && (holds_b(at) || holds_c(at))),
        ];
        for (text, holds) in forms {
            let expected: String = (0..world.dogs.len())
                .filter(|at| holds(*at))
                .map(|at| format!("d{at:03}"))
                .collect();
            met += usize::from(!expected.is_empty());
            let found = ids(&client, &format!("/Dog/?{text}&sort(id)&select(id)"));
            assert_eq!(found, expected, "{text}");
        }
    }
    assert!(met > 200, "most must be met by something: {met}");
}
