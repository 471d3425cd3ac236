//! What fuzzers drive: everything that reads what a stranger wrote. Each takes any bytes, and fails when they do what no
//! input may. `tests/fuzz` runs them with libFuzzer; the test here runs its seeds and changes of them, which needs no
//! other tool.

#![allow(clippy::unwrap_used, reason = "a fuzzer's fixture that cannot be made must fail")]

use crate::auth::Identity;
use crate::auth::users::User;
use crate::components;
use crate::content::{BodyType, Format, Limits, Shape, to_json};
use crate::resource::model::{Entity, Model};
use crate::resource::query;
use bytes::Bytes;
use harper_config::Sources;
use harper_store::{Attribute, Kind, Store, TableSchema};
use std::path::Path;
use std::rc::Rc;

/// What a body may stand for here.
const BYTES_MAX: usize = 1 << 20;

/// The entry of HTTP/1: `data` is where to cut, then what a connection receives.
pub fn entry(data: &[u8]) {
    crate::conn::fuzz_entry(data);
}

/// The text of a query.
pub fn query(data: &[u8]) {
    thread_local! {
        static DOGS: (Model, tempfile::TempDir) = dogs();
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    DOGS.with(|(model, _)| {
        let identity = Identity::User(Rc::new(User::local()));
        // a mistake is an answer like any other
        let _ = query::parse(&model.scope(0, &identity), text);
        let _ = query::parse_body(&model.scope(0, &identity), data);
    });
}

/// The file of a schema.
pub fn schema(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut problems = Vec::new();
    components::parse_schema(Path::new("schema.graphql"), text, &mut problems);
}

/// A request body: the first byte chooses its type. What it stands for is JSON.
pub fn body(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let kinds = [
        BodyType::Record(Format::Cbor),
        BodyType::Record(Format::MsgPack),
        BodyType::Record(Format::Yaml),
        BodyType::Record(Format::Csv),
        BodyType::Record(Format::Form),
        BodyType::Multipart("b".to_owned()),
        BodyType::Record(Format::NdJson),
    ];
    let kind = &kinds[usize::from(*choice) % kinds.len()];
    let limits = Limits { parts_max: 10, json_bytes_max: BYTES_MAX };
    let schema = TableSchema::new("data", "Dog", attributes());
    for shape in [Shape::One, Shape::Many] {
        let made = to_json(kind, &schema, shape, limits, Bytes::copy_from_slice(body));
        let is_json = |json: &Bytes| serde_json::from_slice::<serde::de::IgnoredAny>(json).is_ok();
        // lines are JSON already, and read with the record
        if let (Ok(json), false) = (made, matches!(kind, BodyType::Record(Format::NdJson))) {
            assert!(is_json(&json), "{kind:?}: {}", String::from_utf8_lossy(&json));
        }
    }
}

/// A body in a content coding: the first byte chooses it.
pub fn coding(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let codings = ["br", "gzip", "deflate", "zstd"];
    let coding = codings[usize::from(*choice) % codings.len()];
    if let Ok(decoded) = crate::coding::decode(coding, body, BYTES_MAX) {
        assert!(decoded.len() <= BYTES_MAX);
    }
}

/// Frames of a client over WebSocket: the first byte says how they are cut, and whether messages may be compressed.
pub fn frames(data: &[u8]) {
    crate::ws::fuzz_decode(data);
}

/// A configuration file.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let sources = Sources { file: Some(("harperdb-config.yaml", text)), ..Sources::default() };
    let loaded = harper_config::load(&sources);
    assert!(loaded.config.is_some() || !loaded.problems.is_empty());
}

fn attributes() -> Vec<Attribute> {
    let kinds = [
        ("id", Kind::Id),
        ("name", Kind::String),
        ("age", Kind::Int),
        ("big", Kind::BigInt),
        ("born", Kind::Date),
        ("data", Kind::Bytes),
        ("any", Kind::Any),
    ];
    let attribute = |(name, kind)| Attribute { indexed: true, ..Attribute::new(name, kind) };
    kinds.into_iter().map(attribute).collect()
}

fn dogs() -> (Model, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    let options =
        harper_store::Options { map_bytes: 16 << 20, free_bytes_min: 0, ..Default::default() };
    let store = Store::open(root.path(), &root.path().join("d"), options).unwrap();
    let table = store
        .database("data")
        .unwrap()
        .define(TableSchema::new("data", "Dog", attributes()))
        .unwrap();
    let entity = Entity { schema: table.schema(), table, relations: Vec::new() };
    (Model { tables: vec![entity] }, root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Changes of each seed that are tried.
    const CHANGES: u64 = 1000;

    /// Runs the seeds of a target and changes of them, the same in every run.
    fn smoke(name: &str, target: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds").join(name);
        let mut paths: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        assert!(!seeds.is_empty(), "{}", folder.display());
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for seed in &seeds {
            target(seed);
            for _ in 0..CHANGES {
                let mut data = seed.clone();
                for _ in 0..=random.below(4) {
                    random.change(&mut data, &seeds);
                }
                target(&data);
            }
        }
    }

    /// xorshift.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 11).unwrap() % end.max(1)
        }

        fn change(&mut self, data: &mut Vec<u8>, seeds: &[Vec<u8>]) {
            let at = self.below(data.len() + 1);
            match self.below(5) {
                0 if at < data.len() => data[at] ^= 1 << self.below(8),
                1 => data.insert(at, [0, b'\n', b'\r', b'"', b'[', 0xff][self.below(6)]),
                2 => data.truncate(at),
                3 => {
                    let end = (at + self.below(16)).min(data.len());
                    let again = data[at..end].repeat(1 + self.below(8));
                    data.splice(at..at, again);
                }
                _ => {
                    let other = &seeds[self.below(seeds.len())];
                    data.truncate(at);
                    data.extend_from_slice(&other[self.below(other.len() + 1)..]);
                }
            }
        }
    }

    #[test]
    fn seeds_and_changes_of_them_are_survived() {
        smoke("entry", entry);
        smoke("query", query);
        smoke("schema", schema);
        smoke("body", body);
        smoke("coding", coding);
        smoke("config", config);
        smoke("frames", frames);
    }
}
