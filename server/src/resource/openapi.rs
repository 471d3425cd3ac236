//! The description of everything that the applications serve over REST, in OpenAPI 3.1. It is made from the tables'
//! schemas, the media types and the list of errors, so that it says what the server does.

mod paths;
mod schemas;

use super::guard;
use super::table::TableResource;
use crate::content::Media;
use crate::error::Answer;
use crate::exchange::{Request, Response};
use crate::reply;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};

/// Where it is served, unless a table has that path.
pub(crate) const PATH: &str = "/openapi";
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// What the applications say of themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// A name.
    pub title: String,
    /// The applications' own version.
    pub version: String,
}

/// Answers for [`PATH`].
///
/// # Errors
/// 401 and 403 for anybody but a super user: the description names every attribute; 405.
pub(crate) fn answer<'a>(
    request: &Request,
    about: &About,
    tables: impl Iterator<Item = &'a TableResource>,
) -> Answer<Response> {
    match request.head.method {
        Method::GET | Method::HEAD if request.identity.is_super_user() => {
            let media = Media::negotiate(&request.head.headers)?;
            reply::value(StatusCode::OK, media, document(about, tables).to_string().as_bytes())
        }
        Method::GET | Method::HEAD => Err(guard::refused(&request.identity)),
        Method::OPTIONS => {
            let mut response = reply::no_content();
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(ALLOW));
            Ok(response)
        }
        ref method => Err(reply::method_not_allowed(method, PATH, ALLOW)),
    }
}

fn document<'a>(about: &About, tables: impl Iterator<Item = &'a TableResource>) -> Value {
    let mut tables: Vec<_> = tables.map(|table| (table.path.as_str(), &*table.schema)).collect();
    tables.sort_unstable_by_key(|(path, _)| *path);
    let (mut all, mut schemas) = (Map::new(), schemas::common());
    let mut tags = Vec::new();
    for (path, schema) in tables {
        let name = component(path);
        tags.push(
            json!({"name": path, "description": format!("Records of the table {}", schema.name)}),
        );
        paths::push(path, &name, schema, &mut all);
        schemas::push(&name, schema, &mut schemas);
    }
    all.insert(PATH.to_owned(), paths::this());
    json!({
        "openapi": "3.1.0",
        "info": {"title": about.title, "version": about.version, "description": paths::INTRODUCTION},
        "servers": [{"url": "/"}],
        "security": [{"basic": []}, {"bearer": []}],
        "tags": tags,
        "paths": all,
        "components": {
            "schemas": schemas,
            "parameters": paths::parameters(),
            "headers": paths::headers(),
            "responses": paths::problems(),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    })
}

/// A table's path as the name of a component, which may hold letters, digits, dots, hyphens and underscores.
fn component(path: &str) -> String {
    path.chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use harper_store::{Attribute, Kind, TableSchema};

    #[test]
    fn every_reference_has_its_component() {
        let schema = TableSchema::new(
            "data",
            "T",
            vec![Attribute::new("id", Kind::Id), Attribute::new("photo", Kind::Blob)],
        );
        let (mut all, mut components) = (Map::new(), schemas::common());
        paths::push("a/b c", &component("a/b c"), &schema, &mut all);
        schemas::push(&component("a/b c"), &schema, &mut components);
        all.insert(PATH.to_owned(), paths::this());
        let root = json!({"paths": all, "components": {
            "schemas": components,
            "parameters": paths::parameters(),
            "headers": paths::headers(),
            "responses": paths::problems(),
        }});
        let text = root.to_string();
        let references = text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next());
        let mut count = 0;
        for reference in references.map(Option::unwrap) {
            assert!(root.pointer(reference).is_some(), "{reference}");
            count += 1;
        }
        assert!(count > 50, "{count}");
        assert!(root["paths"]["/a/b%20c/{id}.photo"]["put"].is_object(), "{text}");
    }
}
