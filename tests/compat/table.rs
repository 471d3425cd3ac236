//! The application that the rows are asked of.

/// Its files.
pub(crate) const APPLICATION: &[(&str, &str)] = &[
    (
        "app/config.yaml",
        "rest: true\ngraphqlSchema:\n  files: schema.graphql\nroles:\n  files: roles.yaml\nstatic:\n  files: web/**\n",
    ),
    ("app/schema.graphql", SCHEMA),
    ("app/roles.yaml", ROLES),
    ("app/web/index.html", "<!doctype html><title>front page</title>"),
    ("app/web/app.js", "console.log('a script of the page');\n"),
    ("app/web/folder/note.txt", "a note"),
    ("app/web/large.txt", LARGE),
    ("app/secret.txt", "not served"),
];

/// A file that is worth compressing.
const LARGE: &str = concat!(
    "A long text that says the same again and again, as long texts do. A long text that says the same again and ",
    "again, as long texts do. A long text that says the same again and again, as long texts do. A long text that ",
    "says the same again and again, as long texts do. A long text that says the same again and again, as long ",
    "texts do. A long text that says the same again and again, as long texts do. A long text that says the same ",
    "again and again, as long texts do. A long text that says the same again and again, as long texts do. A long ",
    "text that says the same again and again, as long texts do. A long text that says the same again and again, ",
    "as long texts do. A long text that says the same again and again, as long texts do. A long text that says ",
    "the same again and again, as long texts do. A long text that says the same again and again, as long texts ",
    "do. A long text that says the same again and again, as long texts do. A long text that says the same again ",
    "and again, as long texts do. A long text that says the same again and again, as long texts do. A long text ",
    "that says the same again and again, as long texts do. A long text that says the same again and again, so. A ",
    "text of fewer bytes than a packet holds would not be worth it."
);

const SCHEMA: &str = "
type Dog @table @export {
  id: ID @primaryKey
  name: String @indexed
  breed: String @indexed
  age: Int @indexed
  weight: Float
  good: Boolean
  born: Date
  tags: [String] @indexed
  ownerId: ID @indexed
  owner: Owner @relationship(from: ownerId)
  steps: Long
  extra: Any
  data: Bytes
  double: Int @computed(from: \"age * 2\")
}
type Owner @table @export {
  id: ID @primaryKey
  name: String! @indexed
  dogs: [Dog] @relationship(to: ownerId)
}
type Num @table @export { id: Int @primaryKey  name: String }
type Hidden @table { id: ID @primaryKey }
type Nice @table @export(name: \"nice/path\") { id: ID @primaryKey  v: Int }
type Sealed @table @export @sealed { id: ID @primaryKey  name: String! }
type Times @table @export { id: ID @primaryKey  made: Date @createdTime  changed: Float @updatedTime  v: Int }
type Quick @table(expiration: 1) @export { id: ID @primaryKey  v: Int }
";

/// `reader` reads all of Dog; `partial` only the name of a dog, which it may also change.
const ROLES: &str = "
reader:
  super_user: false
  data:
    Dog:
      read: true
      insert: false
      update: false
      delete: false
partial:
  super_user: false
  data:
    Dog:
      read: true
      insert: true
      update: true
      delete: false
      attributes:
        name:
          read: true
          insert: true
          update: true
";
