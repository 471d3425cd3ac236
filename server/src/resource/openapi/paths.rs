//! The operations: what can be asked at each path of a table, and every answer to it.

use super::schemas;
use crate::content::{Format, Media};
use crate::error::Code;
use harper_store::{Kind, TableSchema};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

/// What a path may hold unencoded (RFC 3986 §3.3).
const SEGMENTS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What holds for the whole interface.
pub(super) const INTRODUCTION: &str = "Every answer comes in the media type that `Accept` prefers, or that an \
    extension of the path names (`/Table/id.csv`). Records have strong entity tags, which work as conditions on reads \
    and writes. Errors are problem details (RFC 9457) in the same types.";

/// How collections are queried.
const QUERY: &str = "The query string is made of conditions joined by `&` (and) or `|` (or), grouped with `( )` or \
    `[ ]`: `attribute=value`, `attribute==value` (typed, `*` at the end matches the rest), `!=`, `=gt=`, `=ge=`, \
    `=lt=`, `=le=`, `=sw=`, `=ew=`, `=ct=`; and of `select(a,b)`, `sort(+a,-b)`, `limit(n)` or `limit(start,end)`. \
    A relationship is followed as in `owner.name=Ann`, `sort(owner.name)` and `select(name,owner{name})`; `explain()` answers how the query is run. \
    With `select` the answer has another shape.";

/// Problems that any request can end in.
const ALWAYS: [Code; 7] = [
    Code::BadRequest,
    Code::LoginRequired,
    Code::Forbidden,
    Code::NotFound,
    Code::NotAcceptable,
    Code::Overloaded,
    Code::Internal,
];
/// Problems of requests with a body.
const OF_BODIES: [Code; 3] =
    [Code::BodyTooLarge, Code::UnsupportedMediaType, Code::InsufficientStorage];

/// Adds the paths of a table; `name` is that of its schemas.
pub(super) fn push(path: &str, name: &str, schema: &TableSchema, paths: &mut Map<String, Value>) {
    let table = Described { path, name, schema };
    let base = format!("/{}", utf8_percent_encode(path, SEGMENTS));
    paths.insert(base.clone(), table.description());
    paths.insert(format!("{base}/"), table.collection());
    paths.insert(format!("{base}/{{id}}"), table.record());
    if matches!(schema.key_attribute().kind, Kind::Id | Kind::String | Kind::Any) {
        paths.insert(format!("{base}/{{id}}/"), table.below());
    }
    paths.insert(format!("{base}/{{id}}.{{property}}"), table.property());
    for attribute in &schema.attributes {
        if matches!(attribute.kind, Kind::Bytes | Kind::Blob) {
            let attribute = utf8_percent_encode(&attribute.name, SEGMENTS);
            paths.insert(format!("{base}/{{id}}.{attribute}"), table.binary());
        }
    }
}

/// The path of the description itself.
pub(super) fn this() -> Value {
    let schema = json!({"type": "object", "required": ["openapi", "info", "paths"]});
    let read = operation("Describe the interface", "For super users.", &[]).answer(
        "200",
        "This description.",
        content(&schema, Shape::Value),
    );
    json!({"get": read.0, "head": read.head().0})
}

/// A table and the names of its components.
struct Described<'a> {
    path: &'a str,
    name: &'a str,
    schema: &'a TableSchema,
}

impl Described<'_> {
    fn reference(&self, suffix: &str) -> Value {
        json!({"$ref": format!("#/components/schemas/{}{suffix}", self.name)})
    }

    fn operation(&self, summary: &str, text: &str, problems: &[Code]) -> Operation {
        operation(summary, text, problems).tagged(self.path)
    }

    fn description(&self) -> Value {
        let schema = json!({"$ref": "#/components/schemas/Description"});
        let read = self.operation("Describe the table", "", &[]).answer(
            "200",
            "The table and its attributes.",
            content(&schema, Shape::Value),
        );
        let options = self.options();
        json!({"get": read.0, "head": read.head().0, "options": options})
    }

    fn options(&self) -> Value {
        let options = self.operation("List the methods", "", &[]);
        options.answer("204", "The methods are in `Allow`.", json!({"headers": header("Allow")})).0
    }

    fn collection(&self) -> Value {
        let list = json!({"type": "array", "items": self.reference("")});
        let read = self
            .operation("Query records", QUERY, &[])
            .with("parameters", self.conditions())
            .answer("200", "The records found.", content(&list, Shape::List));
        let key = self.reference("Key");
        let keys = json!({"anyOf": [key, {"type": "array", "items": key}]});
        let mut made = content(&keys, Shape::Value);
        made["headers"] = header("Location");
        let create = self
            .write("Create records", "One record, or all of an array in one transaction.")
            .problem(Code::Conflict)
            .with("requestBody", self.body("Input", true))
            .answer("201", "The key, or the keys of an array.", made);
        let put = self
            .write("Put records", "All of an array in one transaction, under the keys in them.")
            .with("requestBody", self.body("Input", true))
            .answer("204", "Stored.", json!({}));
        let patch = self
            .write("Change records", "All of an array in one transaction; see PATCH of one record.")
            .with("requestBody", self.body("Patch", true))
            .answer("204", "Changed.", json!({}));
        let delete = self
            .operation("Delete records", &format!("Needs a condition. {QUERY}"), &OF_BODIES[2..])
            .with("parameters", self.conditions())
            .answer("200", "Whether any record was deleted.", boolean());
        json!({
            "get": read.0,
            "head": read.head().0,
            "post": create.0,
            "put": put.0,
            "patch": patch.0,
            "delete": delete.0,
            "options": self.options(),
        })
    }

    /// The records whose keys begin with the same parts.
    fn below(&self) -> Value {
        let list = json!({"type": "array", "items": self.reference("")});
        let text = format!("The records whose keys begin with `id/`. {QUERY}");
        let read = self
            .operation("Query records below a key", &text, &[])
            .with("parameters", self.conditions())
            .answer("200", "The records found.", content(&list, Shape::List));
        let delete = self
            .operation("Delete records below a key", &text, &OF_BODIES[2..])
            .with("parameters", self.conditions())
            .answer("200", "Whether any record was deleted.", boolean());
        json!({
            "parameters": [self.id()],
            "get": read.0,
            "head": read.head().0,
            "delete": delete.0,
            "options": self.options(),
        })
    }

    /// One value of a record.
    fn property(&self) -> Value {
        let key = self.schema.primary_key;
        let attributes = self.schema.attributes.iter().enumerate();
        let plain = attributes.filter(|(at, attribute)| {
            *at != key && !matches!(attribute.kind, Kind::Bytes | Kind::Blob)
        });
        let mut names: Vec<_> = plain.map(|(_, attribute)| &attribute.name).collect();
        // a schema needs one name at least
        if names.is_empty() {
            names.push(&self.schema.key_attribute().name);
        }
        let mut found = content(&json!({}), Shape::Value);
        found["headers"] = header("ETag");
        let read = self
            .operation("Read a property", "The bare value of an attribute or a relationship.", &[])
            .problem(Code::PreconditionFailed)
            .with("parameters", parameter_list(&["IfMatch", "IfNoneMatch"]))
            .answer("200", "The value.", found)
            .answer("304", "Not changed.", json!({"headers": header("ETag")}));
        let property = json!({
            "name": "property",
            "in": "path",
            "required": true,
            "schema": {"type": "string", "enum": names},
        });
        json!({
            "parameters": [self.id(), property],
            "get": read.0,
            "head": read.head().0,
        })
    }

    fn record(&self) -> Value {
        let mut found = content(&self.reference(""), Shape::Record);
        found["headers"] = header("ETag");
        let read = self
            .operation("Read a record", "A body of another type is answered as it was stored.", &[])
            .problem(Code::PreconditionFailed)
            .problem(Code::RangeNotSatisfiable)
            .with("parameters", parameter_list(&["IfMatch", "IfNoneMatch", "Range", "IfRange"]))
            .answer("200", "The record.", found)
            .answer("206", "Parts of a body that was stored as it was sent.", any_content())
            .answer("304", "Not changed.", json!({"headers": header("ETag")}));
        let conditions = || parameter_list(&["IfMatch", "IfNoneMatch"]);
        let put = self
            .write("Put a record", "Creates or replaces it.")
            .problem(Code::PreconditionFailed)
            .with("parameters", conditions())
            .with("requestBody", self.body("Input", false))
            .answer("204", "Stored.", json!({}));
        let patch = self
            .write("Change a record", "The members given are changed (RFC 7396, one level).")
            .problem(Code::PreconditionFailed)
            .with("parameters", conditions())
            .with("requestBody", self.body("Patch", false))
            .answer("204", "Changed.", json!({}));
        let delete = self
            .operation("Delete a record", "", &OF_BODIES[2..])
            .problem(Code::PreconditionFailed)
            .with("parameters", conditions())
            .answer("200", "Whether there was a record.", boolean());
        json!({
            "parameters": [self.id()],
            "get": read.0,
            "head": read.head().0,
            "put": put.0,
            "patch": patch.0,
            "delete": delete.0,
            "options": self.options(),
        })
    }

    fn binary(&self) -> Value {
        let mut bytes = any_content();
        bytes["headers"] = header("ETag");
        let read = self
            .operation("Read a binary attribute", "", &[])
            .problem(Code::PreconditionFailed)
            .problem(Code::RangeNotSatisfiable)
            .with("parameters", parameter_list(&["IfMatch", "IfNoneMatch", "Range", "IfRange"]))
            .answer("200", "The bytes.", bytes)
            .answer("206", "Parts of the bytes.", any_content())
            .answer("304", "Not changed.", json!({"headers": header("ETag")}));
        let upload = self
            .write("Upload a binary attribute", "The body becomes the value, whatever its type.")
            .problem(Code::PreconditionFailed)
            .with("parameters", parameter_list(&["IfMatch", "IfNoneMatch"]))
            .with(
                "requestBody",
                json!({"required": true, "content": {"application/octet-stream": {}}}),
            )
            .answer("204", "Stored.", json!({}));
        json!({
            "parameters": [self.id()],
            "get": read.0,
            "head": read.head().0,
            "put": upload.0,
            "options": self.options(),
        })
    }

    fn write(&self, summary: &str, text: &str) -> Operation {
        self.operation(summary, text, &OF_BODIES)
    }

    fn id(&self) -> Value {
        let key = self.schema.key_attribute();
        json!({
            "name": "id",
            "in": "path",
            "required": true,
            "description": format!("{}; its parts may be separated by slashes.", key.name),
            "schema": self.reference("Key"),
        })
    }

    /// A condition of equality for each attribute that can be compared.
    fn conditions(&self) -> Value {
        let attributes = self.schema.attributes.iter().filter_map(|attribute| {
            let schema = schemas::compared(&attribute.kind)?;
            let description = format!("{} equals; see the description for other conditions.", attribute.name);
            Some(json!({"name": attribute.name, "in": "query", "description": description, "schema": schema}))
        });
        Value::Array(attributes.collect())
    }

    fn body(&self, suffix: &str, is_list: bool) -> Value {
        let one = self.reference(suffix);
        let many = json!({"type": "array", "items": one});
        let is_patch = suffix == "Patch";
        let mut types = Map::new();
        for media in Media::ALL {
            let schema = match media.format {
                Format::Json | Format::Yaml if is_list => Some(json!({"anyOf": [one, many]})),
                Format::Json | Format::Yaml | Format::Form => Some(one.clone()),
                Format::Text => continue,
                Format::Cbor | Format::MsgPack | Format::NdJson | Format::Csv => None,
            };
            let schema = schema.map_or_else(|| json!({}), |schema| json!({"schema": schema}));
            types.insert(media.name.to_owned(), schema);
        }
        types.insert("multipart/form-data".to_owned(), json!({"schema": one}));
        if is_patch {
            types.insert("application/merge-patch+json".to_owned(), json!({"schema": one}));
        } else if !is_list {
            // any type that has no other meaning is kept as it is
            types.insert("application/octet-stream".to_owned(), json!({}));
        }
        json!({"required": true, "content": types})
    }
}

/// One operation object.
struct Operation(Value);

fn operation(summary: &str, text: &str, problems: &[Code]) -> Operation {
    let mut operation = json!({"summary": summary, "responses": {
        "default": {"$ref": "#/components/responses/problem"},
    }});
    if !text.is_empty() {
        operation["description"] = json!(text);
    }
    ALWAYS
        .iter()
        .chain(problems)
        .fold(Operation(operation), |operation, code| operation.problem(*code))
}

impl Operation {
    fn tagged(self, tag: &str) -> Self {
        self.with("tags", json!([tag]))
    }

    fn with(mut self, member: &str, value: Value) -> Self {
        self.0[member] = value;
        self
    }

    fn answer(mut self, status: &str, description: &str, mut answer: Value) -> Self {
        answer["description"] = json!(description);
        self.0["responses"][status] = answer;
        self
    }

    fn problem(mut self, code: Code) -> Self {
        let (name, status, _) = code.row();
        let reference = json!({"$ref": format!("#/components/responses/{name}")});
        self.0["responses"][status.as_str()] = reference;
        self
    }

    /// The same without bodies.
    fn head(mut self) -> Self {
        if let Some(responses) = self.0["responses"].as_object_mut() {
            for (status, answer) in responses {
                if let Some(answer) = answer.as_object_mut() {
                    answer.remove("content");
                    if answer.contains_key("$ref") {
                        *answer = Map::new();
                        answer
                            .insert("description".to_owned(), json!(format!("As GET, {status}.")));
                    }
                }
            }
        }
        self
    }
}

/// Which formats an answer can have as its schema says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Value,
    Record,
    List,
}

/// An answer in every media type.
fn content(schema: &Value, shape: Shape) -> Value {
    let mut types = Map::new();
    for media in Media::ALL {
        let described = match media.format {
            Format::Json | Format::Yaml => json!({"schema": schema}),
            Format::NdJson if shape != Shape::List => json!({}),
            Format::Csv | Format::Text | Format::Form => json!({"schema": {"type": "string"}}),
            Format::NdJson | Format::Cbor | Format::MsgPack => json!({}),
        };
        types.insert(media.name.to_owned(), described);
    }
    if shape == Shape::Record {
        types.insert("application/octet-stream".to_owned(), json!({}));
    }
    json!({"content": types})
}

fn any_content() -> Value {
    json!({"content": {"*/*": {}}})
}

fn boolean() -> Value {
    content(&json!({"type": "boolean"}), Shape::Value)
}

fn header(name: &str) -> Value {
    json!({name: {"$ref": format!("#/components/headers/{name}")}})
}

fn parameter_list(names: &[&str]) -> Value {
    let reference = |name: &&str| json!({"$ref": format!("#/components/parameters/{name}")});
    Value::Array(names.iter().map(reference).collect())
}

/// The header fields of requests.
pub(super) fn parameters() -> Value {
    let field = |name: &str, text: &str| json!({"name": name, "in": "header", "description": text, "schema": {"type": "string"}});
    json!({
        "IfMatch": field("If-Match", "Entity tags, or `*`: only if the record is one of these (RFC 9110 §13.1.1)."),
        "IfNoneMatch": field("If-None-Match", "Entity tags, or `*`: only if the record is none of these (RFC 9110 §13.1.2)."),
        "Range": field("Range", "Parts of bytes that are stored as they were sent, such as `bytes=0-99` (RFC 9110 §14.2)."),
        "IfRange": field("If-Range", "The whole, if it is not the one with this tag any more (RFC 9110 §13.1.5)."),
    })
}

/// The header fields of answers.
pub(super) fn headers() -> Value {
    let field = |text: &str| json!({"description": text, "schema": {"type": "string"}});
    json!({
        "Allow": field("The methods there are."),
        "ETag": field("The strong entity tag of this representation."),
        "Location": field("Where the new record is; not for an array."),
    })
}

/// The answers that are problems, one for each kind, and one for any.
pub(super) fn problems() -> Value {
    let schema = json!({"$ref": "#/components/schemas/Problem"});
    let answer = |title: &str| {
        let mut answer = content(&schema, Shape::Value);
        answer["description"] = json!(title);
        if let Some(types) = answer["content"].as_object_mut() {
            types.remove(Media::JSON.name);
            types.insert("application/problem+json".to_owned(), json!({"schema": schema}));
        }
        answer
    };
    let codes = ALWAYS.iter().chain(&OF_BODIES).chain(&[
        Code::Conflict,
        Code::PreconditionFailed,
        Code::RangeNotSatisfiable,
    ]);
    let mut responses: Map<_, _> = codes
        .map(|code| code.row())
        .map(|(name, _, title)| (name.to_owned(), answer(title)))
        .collect();
    responses.insert("problem".to_owned(), answer("Any other problem"));
    Value::Object(responses)
}
