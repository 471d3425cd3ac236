//! Relationships in every direction, against the same relationships in the test's memory.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use common::{Fixture, attribute, commit, compare, delete, number, put, run, schema, text};
use harper_store::{
    Comparator, Database, Element, Error, Filter, Join, Kind, Limits, Query, Sort, Table,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// A dog has an owner, friends who may be none, and a kennel named by its text.
#[derive(Debug, Clone)]
struct Dog {
    age: i64,
    owner: Option<usize>,
    friends: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Owner {
    name: Option<String>,
    city: Option<usize>,
}

/// The tables and the model of what is in them.
struct World {
    database: Arc<Database>,
    dogs: Table,
    owners: Table,
    cities: Table,
    model: Model,
}

#[derive(Debug, Clone)]
struct Model {
    dogs: Vec<Dog>,
    owners: Vec<Owner>,
    cities: Vec<i64>,
}

/// What can be asked of a dog.
#[derive(Debug, Clone)]
enum Ask {
    Age(i64),
    OwnerName(String),
    OwnerCity(i64),
    FriendAge(i64),
    FriendOfName(String),
    SiblingAge(i64),
    And(Vec<Ask>),
    Or(Vec<Ask>),
}

fn join(local: &str, table: &Table, foreign: &str) -> Join {
    Join { local: local.into(), table: table.clone(), foreign: foreign.into() }
}

impl World {
    fn new(fixture: &Fixture, model: Model, indexed: bool) -> World {
        let database = fixture.database();
        let ids = Kind::Array(Box::new(Element { kind: Kind::Id, required: false }));
        let define = |name, attributes| database.define(schema(name, attributes)).unwrap();
        let id = || attribute("id", Kind::Id, false);
        let dogs = define(
            "Dog",
            vec![
                id(),
                attribute("age", Kind::Int, indexed),
                attribute("ownerId", Kind::Id, true),
                attribute("friendIds", ids, true),
                attribute("copyOfOwner", Kind::Id, false),
            ],
        );
        let owners = define(
            "Owner",
            vec![
                id(),
                attribute("name", Kind::String, indexed),
                attribute("cityId", Kind::Int, indexed),
            ],
        );
        let cities = define(
            "City",
            vec![attribute("id", Kind::Int, false), attribute("size", Kind::Int, indexed)],
        );
        let world = World { database, dogs, owners, cities, model };
        world.fill();
        world
    }

    fn fill(&self) {
        let record = |members: Vec<(&str, Option<Json>)>| {
            let given = members.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
            Json::Object(given.collect()).to_string()
        };
        let mut ops = Vec::new();
        for (at, dog) in self.model.dogs.iter().enumerate() {
            let owner = dog.owner.map(owner_id).map(Json::from);
            let friends: Vec<_> = dog.friends.iter().map(|friend| dog_id(*friend)).collect();
            let body = record(vec![
                ("age", Some(json!(dog.age))),
                ("ownerId", owner.clone()),
                ("copyOfOwner", owner),
                ("friendIds", Some(json!(friends))),
            ]);
            ops.push(put(&self.dogs, &dog_id(at), &body));
        }
        for (at, owner) in self.model.owners.iter().enumerate() {
            let body = record(vec![
                ("name", owner.name.clone().map(Json::from)),
                ("cityId", owner.city.map(Json::from)),
            ]);
            ops.push(put(&self.owners, &owner_id(at), &body));
        }
        for (at, size) in self.model.cities.iter().enumerate() {
            ops.push(put(&self.cities, &at.to_string(), &format!("{{\"size\":{size}}}")));
        }
        self.database.commit(ops).unwrap();
    }

    fn filter(&self, ask: &Ask, local_owner: &str) -> Filter {
        let related = |join, filter| Filter::Related { join, filter: Box::new(filter) };
        let owner = || join(local_owner, &self.owners, "id");
        let age = |age: i64| compare("age", Comparator::GreaterEqual, number(age));
        let name = |name: &str| compare("name", Comparator::StartsWith, text(name));
        let all = |asks: &[Ask]| asks.iter().map(|ask| self.filter(ask, local_owner)).collect();
        match ask {
            Ask::Age(least) => age(*least),
            Ask::OwnerName(start) => related(owner(), name(start)),
            Ask::OwnerCity(least) => {
                let size = compare("size", Comparator::GreaterEqual, number(*least));
                related(owner(), related(join("cityId", &self.cities, "id"), size))
            }
            Ask::FriendAge(least) => related(join("friendIds", &self.dogs, "id"), age(*least)),
            Ask::FriendOfName(start) => {
                let by_owner = related(join("ownerId", &self.owners, "id"), name(start));
                related(join("id", &self.dogs, "friendIds"), by_owner)
            }
            Ask::SiblingAge(least) => {
                let siblings = related(join("id", &self.dogs, "ownerId"), age(*least));
                related(owner(), siblings)
            }
            Ask::And(asks) => Filter::And(all(asks)),
            Ask::Or(asks) => Filter::Or(all(asks)),
        }
    }
}

fn dog_id(at: usize) -> String {
    format!("d{at}")
}

/// Some ids are too long for an index to hold whole.
fn owner_id(at: usize) -> String {
    if at.is_multiple_of(3) { format!("{}{at}", "o".repeat(300)) } else { format!("o{at}") }
}

impl Model {
    fn owner(&self, dog: &Dog) -> Option<&Owner> {
        dog.owner.and_then(|at| self.owners.get(at))
    }

    fn has_name(&self, dog: &Dog, start: &str) -> bool {
        let owner = self.owner(dog).and_then(|owner| owner.name.as_ref());
        owner.is_some_and(|name| name.starts_with(start))
    }

    fn holds(&self, at: usize, ask: &Ask) -> bool {
        let dog = &self.dogs[at];
        match ask {
            Ask::Age(least) => dog.age >= *least,
            Ask::OwnerName(start) => self.has_name(dog, start),
            Ask::OwnerCity(least) => self.city(dog).is_some_and(|size| size >= *least),
            Ask::FriendAge(least) => {
                let friends = dog.friends.iter().filter_map(|friend| self.dogs.get(*friend));
                friends.into_iter().any(|friend| friend.age >= *least)
            }
            Ask::FriendOfName(start) => self
                .dogs
                .iter()
                .any(|other| other.friends.contains(&at) && self.has_name(other, start)),
            Ask::SiblingAge(least) => {
                let owner = dog.owner.filter(|at| *at < self.owners.len());
                let is_sibling = |other: &&Dog| owner.is_some() && other.owner == owner;
                self.dogs.iter().filter(is_sibling).any(|other| other.age >= *least)
            }
            Ask::And(asks) => asks.iter().all(|ask| self.holds(at, ask)),
            Ask::Or(asks) => asks.iter().any(|ask| self.holds(at, ask)),
        }
    }

    fn city(&self, dog: &Dog) -> Option<i64> {
        self.cities.get(self.owner(dog)?.city?).copied()
    }
}

fn ask() -> impl Strategy<Value = Ask> {
    let start = || "[ab]{0,2}";
    let leaf = prop_oneof![
        (0i64..12).prop_map(Ask::Age),
        start().prop_map(Ask::OwnerName),
        (0i64..6).prop_map(Ask::OwnerCity),
        (0i64..12).prop_map(Ask::FriendAge),
        start().prop_map(Ask::FriendOfName),
        (0i64..12).prop_map(Ask::SiblingAge),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Ask::And),
            proptest::collection::vec(inner, 1..4).prop_map(Ask::Or),
        ]
    })
}

fn model() -> impl Strategy<Value = Model> {
    let dog =
        (0i64..10, proptest::option::of(0usize..8), proptest::collection::vec(0usize..24, 0..4))
            .prop_map(|(age, owner, friends)| Dog { age, owner, friends });
    let owner = (proptest::option::of("[ab]{0,3}"), proptest::option::of(0usize..5))
        .prop_map(|(name, city)| Owner { name, city });
    (
        proptest::collection::vec(dog, 0..20),
        proptest::collection::vec(owner, 0..7),
        proptest::collection::vec(0i64..5, 0..4),
    )
        .prop_map(|(dogs, owners, cities)| Model { dogs, owners, cities })
}

fn ids(records: &[String]) -> Vec<String> {
    let id = |record: &String| {
        let record: Json = serde_json::from_str(record).unwrap();
        record["id"].as_str().unwrap().to_owned()
    };
    records.iter().map(id).collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn joins_find_what_the_model_finds(
        model in model(),
        asks in proptest::collection::vec(ask(), 10),
        indexed in any::<bool>(),
    ) {
        let fixture = Fixture::new();
        let world = World::new(&fixture, model, indexed);
        for ask in &asks {
            let wanted: Vec<_> =
                (0..world.model.dogs.len()).filter(|at| world.model.holds(*at, ask)).map(dog_id).collect();
            for local_owner in ["ownerId", "copyOfOwner"] {
                let filter = Some(world.filter(ask, local_owner));
                let query = Query { filter, ..Query::default() };
                for rows_max in [1, 1000] {
                    let found = run(&world.database, &world.dogs, query.clone(), rows_max).unwrap();
                    prop_assert_eq!(sorted(ids(&found)), sorted(wanted.clone()), "{:?} by {}", ask, local_owner);
                }
            }
        }
    }

    #[test]
    fn records_sort_by_related_ones(model in model(), descending in any::<bool>()) {
        let fixture = Fixture::new();
        let world = World::new(&fixture, model, true);
        let via = vec![join("ownerId", &world.owners, "id"), join("cityId", &world.cities, "id")];
        let sort = vec![Sort { via, attribute: "size".into(), descending }];
        let found = run(&world.database, &world.dogs, Query { sort, ..Query::default() }, 3).unwrap();
        let mut wanted: Vec<usize> = (0..world.model.dogs.len()).collect();
        wanted.sort_by_key(|at| (world.model.city(&world.model.dogs[*at]), dog_id(*at)));
        if descending {
            wanted.reverse();
        }
        let wanted: Vec<_> = wanted.into_iter().map(dog_id).collect();
        prop_assert_eq!(ids(&found), wanted);
    }
}

fn small() -> Model {
    let dog = |age, owner, friends: &[usize]| Dog { age, owner, friends: friends.to_vec() };
    let owner = |name: &str, city| Owner { name: Some(name.into()), city };
    Model {
        dogs: vec![dog(1, Some(1), &[1, 2, 1]), dog(2, Some(1), &[0]), dog(3, Some(2), &[9])],
        owners: vec![owner("nobody", None), owner("Ann", Some(0)), owner("Bob", Some(1))],
        cities: vec![5, 6],
    }
}

#[test]
fn the_plan_begins_where_there_is_an_index() {
    let fixture = Fixture::new();
    let world = World::new(&fixture, small(), true);
    let plan = |ask: Ask, local: &str| {
        let filter = Some(world.filter(&ask, local));
        world.dogs.query(Query { filter, ..Query::default() }).unwrap().plan().to_string()
    };
    let by_name = || Ask::OwnerName("Ann".into());
    assert_eq!(plan(by_name(), "ownerId"), "index ownerId for Owner by (index name range)");
    assert_eq!(plan(by_name(), "copyOfOwner"), "primary key scan, filter");
    assert_eq!(
        plan(Ask::OwnerCity(6), "ownerId"),
        "index ownerId for Owner by (index cityId for City by (index size range))"
    );
    assert_eq!(
        plan(Ask::And(vec![by_name(), Ask::Age(3)]), "ownerId"),
        "index age range, filter",
        "fewer entries"
    );
    assert_eq!(plan(Ask::FriendAge(3), "ownerId"), "index friendIds for Dog by (index age range)");
}

#[test]
fn a_relationship_is_followed_from_a_record() {
    let fixture = Fixture::new();
    let world = World::new(&fixture, small(), true);
    let follow = |table: &Table, join: Join, id: &str| {
        let txn = world.database.read().unwrap();
        let related = table.related(&join).unwrap();
        let record = table.get(&txn, &common::key(table, id)).unwrap().unwrap();
        let mut found = Vec::new();
        let visit = &mut |record: harper_store::Record<'_>| {
            found.push(String::from_utf8(record.body.to_vec()).unwrap());
            true
        };
        related.each(&txn, record.body, visit).unwrap();
        ids(&found)
    };
    let dogs = || world.dogs.clone();
    assert_eq!(follow(&world.owners, join("id", &dogs(), "ownerId"), "o1"), ["d0", "d1"]);
    let friends = || join("friendIds", &world.dogs, "id");
    assert_eq!(follow(&world.dogs, friends(), "d0"), ["d1", "d2"], "each once, in order");
    assert!(follow(&world.dogs, friends(), "d2").is_empty());
    assert_eq!(follow(&world.dogs, join("id", &dogs(), "friendIds"), "d1"), ["d0"]);
    let error = world.owners.related(&join("id", &dogs(), "copyOfOwner")).unwrap_err();
    assert!(matches!(error, Error::NoIndex { .. }), "{error}");
    let other = fixture.store.as_ref().unwrap().database("other").unwrap();
    let attributes = vec![attribute("id", Kind::Id, false)];
    let mut schema = schema("X", attributes);
    schema.database = "other".into();
    let other = other.define(schema).unwrap();
    let error = world.dogs.related(&join("ownerId", &other, "id")).unwrap_err();
    assert!(matches!(error, Error::WrongDatabase { .. }), "{error}");
}

#[test]
fn what_is_looked_up_counts_and_changes_between_steps_are_seen() {
    let fixture = Fixture::new();
    let world = World::new(&fixture, small(), false);
    let filter = Some(world.filter(&Ask::OwnerName("nobody".into()), "copyOfOwner"));
    let limits = Limits { scan_records_max: 4, ..Limits::default() };
    let query = Query { filter, limits, ..Query::default() };
    let error = run(&world.database, &world.dogs, query.clone(), 100).unwrap_err();
    assert!(
        matches!(error, Error::ScanTooLarge { max: 4, .. }),
        "three dogs, and an owner of each"
    );
    let limits = Limits { scan_records_max: 6, ..Limits::default() };
    assert!(run(&world.database, &world.dogs, Query { limits, ..query }, 100).unwrap().is_empty());
    let filter = Some(world.filter(&Ask::OwnerName("Ann".into()), "ownerId"));
    commit(&world.database, delete(&world.owners, "o1")).unwrap();
    let query = Query { filter, ..Query::default() };
    assert!(run(&world.database, &world.dogs, query, 1).unwrap().is_empty());
}

#[test]
fn null_is_related_to_nothing() {
    for indexed in [false, true] {
        let fixture = Fixture::new();
        let database = fixture.database();
        let id = || attribute("id", Kind::Id, false);
        let name = attribute("name", Kind::String, true);
        let city = attribute("city", Kind::String, true);
        let clubs = database.define(schema("Club", vec![id(), name, city])).unwrap();
        let nick = attribute("nick", Kind::String, indexed);
        let dogs = database.define(schema("Dog", vec![id(), nick])).unwrap();
        for (id, name) in [("a", "null"), ("b", "\"X\"")] {
            let body = format!("{{\"name\":{name},\"city\":\"x\"}}");
            commit(&database, put(&clubs, id, &body)).unwrap();
            commit(&database, put(&dogs, id, &format!("{{\"nick\":{name}}}"))).unwrap();
        }
        let join = join("nick", &clubs, "name");
        let filter = Box::new(compare("city", Comparator::Equal, text("x")));
        let filter = Some(Filter::Related { join: join.clone(), filter });
        let found = run(&database, &dogs, Query { filter, ..Query::default() }, 100).unwrap();
        assert_eq!(found, [r#"{"id":"b","nick":"X"}"#], "with an index here: {indexed}");
        let related = dogs.related(&join).unwrap();
        let txn = database.read().unwrap();
        let mut count = 0;
        let body = br#"{"id":"a","nick":null}"#;
        related
            .each(&txn, body, &mut |_| {
                count += 1;
                true
            })
            .unwrap();
        assert_eq!(count, 0);
    }
}

#[test]
fn a_condition_on_related_records_that_none_has_to_search_is_not_refused() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let id = || attribute("id", Kind::Id, false);
    let others =
        database.define(schema("O", vec![id(), attribute("note", Kind::String, false)])).unwrap();
    let one = attribute("oId", Kind::Id, true);
    let table = database.define(schema("P", vec![id(), one])).unwrap();
    for at in 0..10 {
        let note = format!("{{\"note\":\"{at}\"}}");
        commit(&database, put(&others, &at.to_string(), &note)).unwrap();
    }
    commit(&database, put(&table, "1", r#"{"oId":"7"}"#)).unwrap();
    let note = |note| Filter::Related {
        join: join("oId", &others, "id"),
        filter: Box::new(compare("note", Comparator::Equal, text(note))),
    };
    let limits = Limits { scan_records_max: 5, ..Limits::default() };
    let of = |filter| Query { filter: Some(filter), limits, ..Query::default() };
    let with_key = Filter::And(vec![compare("id", Comparator::Equal, text("1")), note("7")]);
    assert_eq!(run(&database, &table, of(with_key), 100).unwrap().len(), 1);
    let refused = run(&database, &others, of(compare("note", Comparator::Equal, text("7"))), 100);
    assert!(matches!(refused, Err(Error::ScanTooLarge { .. })), "a search of it still is");
}
