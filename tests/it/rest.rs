//! Tables over HTTP: methods, statuses, headers and errors.

mod collection;
mod computed;
mod conditional;
mod errors;
mod keys;
mod record;
mod validation;

use crate::harness::{Home, Server};

/// The tables of these tests.
const SCHEMA: &str = r#"
type Dog @table @export {
  id: ID @primaryKey
  name: String @indexed
  age: Int @indexed
  tags: [String]
}
type Timed @table @export { id: ID @primaryKey name: String created: Date @createdTime updated: Long @updatedTime }
type Sealed @table @export @sealed { id: ID @primaryKey name: String! age: Int }
type Num @table @export { id: Int @primaryKey name: String }
type Big @table @export { id: Long @primaryKey }
type Free @table @export { id: Any @primaryKey }
type Nice @table @export(name: "nice/path") { id: ID @primaryKey }
type Odd @table @export(name: "a b/ü") { id: ID @primaryKey }
type Hidden @table { id: ID @primaryKey }
type Place { town: String! lat: Float }
type Types @table @export {
  id: ID @primaryKey
  string: String
  int: Int
  long: Long
  float: Float
  big: BigInt
  boolean: Boolean
  any: Any
  date: Date
  bytes: Bytes
  blob: Blob
  other: ID
  list: [Int!]
  place: Place
}
"#;

fn start() -> Server {
    Home::with_schema(SCHEMA).start()
}
