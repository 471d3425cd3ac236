//! A table over HTTP: its description, its collection and its records (RFC 9110 §9.3).

use super::binary;
use super::event_stream;
use super::extension;
use super::failure::store_failure;
use super::guard;
use super::model::{Entity, Model};
use super::prepare;
use super::query;
use super::write::{self, Change};
use crate::auth::access::{Access, View};
use crate::auth::permission::Right;
use crate::content::Media;
use crate::error::{Answer, Code, Failure};
use crate::exchange::{Request, Response};
use crate::reply;
use crate::services::Services;
use harper_store::{Attribute, Database, Key, Table, TableSchema};
use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

const ALLOW_RECORD: &str = "GET, HEAD, PUT, PATCH, DELETE, OPTIONS";
const ALLOW_BYTES: &str = "GET, HEAD, PUT, OPTIONS";
const ALLOW_COLLECTION: &str = "GET, HEAD, QUERY, POST, PUT, PATCH, DELETE, OPTIONS";
const ALLOW_DESCRIPTION: &str = "GET, HEAD, OPTIONS";

/// A table that answers requests.
#[derive(Clone)]
pub(crate) struct TableResource {
    /// The path without slashes at its ends.
    pub path: String,
    /// The table.
    pub table: Table,
    /// Its attributes.
    pub schema: Arc<TableSchema>,
    /// Where it is kept.
    pub database: Arc<Database>,
    /// All tables, to which its records may be related.
    pub model: Arc<Model>,
    /// Its place among them.
    pub entity: usize,
    /// Whether reads tell the date of the last write.
    pub is_dated: bool,
    /// Whether clients may connect over WebSocket.
    pub has_sockets: bool,
}

/// What the rest of a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// `/Table`
    Description,
    /// `/Table/`, or anything with a query
    Collection,
    /// `/Table/a/`: the records whose text keys begin with `a/`
    Prefix(Cow<'a, str>),
    /// `/Table/a`
    Record(Cow<'a, str>),
    /// `/Table/a.name`: what is declared under this name, of the record `a`
    Property(Cow<'a, str>, Cow<'a, str>),
}

impl<'a> Target<'a> {
    /// Reads what follows the table's path. A dot separates a record and what `declares` knows; an encoded one is part
    /// of the key.
    ///
    /// # Errors
    /// 400 for text that is not UTF-8 after decoding.
    pub(crate) fn parse(
        rest: &'a str,
        has_query: bool,
        declares: impl Fn(&str) -> bool,
    ) -> Answer<Self> {
        let Some(rest) = rest.strip_prefix('/') else {
            return Ok(if has_query { Self::Collection } else { Self::Description });
        };
        if rest.is_empty() {
            return Ok(Self::Collection);
        }
        if let Some((id, name)) = extension::last_dot(rest).filter(|(id, _)| !id.is_empty()) {
            let name = decoded(name)?;
            if declares(&name) {
                return Ok(Self::Property(decoded(id)?, name));
            }
        }
        let text = decoded(rest)?;
        Ok(if rest.ends_with('/') { Self::Prefix(text) } else { Self::Record(text) })
    }
}

fn decoded(text: &str) -> Answer<Cow<'_, str>> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| Failure::new(Code::BadRequest, "The path is not UTF-8 after percent-decoding"))
}

impl TableResource {
    /// The table among all.
    pub(super) fn entity(&self) -> &Entity {
        &self.model.tables[self.entity]
    }

    /// Whether a name is that of an attribute or a relationship.
    pub(super) fn declares(&self, name: &str) -> bool {
        self.schema.attribute(name).is_some() || self.entity().relation(name).is_some()
    }

    /// Answers a request for what `rest` names below the table's path.
    ///
    /// # Errors
    /// The failure that the client is told.
    pub(crate) async fn answer(
        &self,
        services: &Services,
        request: &mut Request,
        rest: &str,
    ) -> Answer<Response> {
        let access = guard::admit(&request.identity, &request.head.method, &self.schema)?;
        let has_query = request.head.uri.query().is_some_and(|query| !query.is_empty());
        let declares = |name: &str| self.declares(name);
        let (rest, media) = extension::split(declares, rest);
        if let Some(media) = media {
            // what the path asks for takes the place of what the header does
            request.set(header::ACCEPT, HeaderValue::from_static(media.name));
        }
        let target = Target::parse(rest, has_query, declares)?;
        if event_stream::is_wanted(request)
            && let Some(filter) = self.watched(services, &target)?
        {
            return self.event_stream(services, request, filter);
        }
        if request.head.method == Method::GET
            && let Target::Record(id) = &target
            && let Some(response) =
                self.get_small(services, request, &access, &self.key(services, id)?)?
        {
            return Ok(response);
        }
        // boxed, or each answer would move the room that a query takes
        match target {
            Target::Property(id, name) => {
                let bytes = self.schema.attribute(&name).filter(|found| binary::is_binary(found));
                match bytes {
                    Some(found) => {
                        Box::pin(self.attribute(services, request, access, &id, found)).await
                    }
                    None => Box::pin(self.property(services, request, access, &id, &name)).await,
                }
            }
            Target::Record(id) => Box::pin(self.record(services, request, access, &id)).await,
            Target::Collection => Box::pin(self.collection(services, request, access, None)).await,
            Target::Prefix(prefix) => {
                let prefix = Some(prefix.into_owned());
                Box::pin(self.collection(services, request, access, prefix)).await
            }
            Target::Description => self.description(request, &access),
        }
    }

    fn key(&self, services: &Services, id: &str) -> Answer<Key> {
        Key::from_path(&self.schema, id).map_err(|error| store_failure(&services.metrics, error))
    }

    async fn record(
        &self,
        services: &Services,
        request: &mut Request,
        access: Access,
        id: &str,
    ) -> Answer<Response> {
        if !matches!(request.head.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            refuse_query(request)?;
        }
        if request.head.method == Method::PUT
            && prepare::is_verbatim(request)
            && let Some((id, attribute)) = binary::attribute(&self.schema, id)
        {
            return self.attribute(services, request, access, id, attribute).await;
        }
        let key = self.key(services, id);
        match request.head.method {
            Method::GET | Method::HEAD => self.get(services, request, &access, &key?, None).await,
            Method::PUT => {
                write::record(self, services, request, &access, key?, Change::Replace).await
            }
            Method::PATCH => {
                write::record(self, services, request, &access, key?, Change::Merge).await
            }
            Method::DELETE => write::delete(self, services, request, key?).await,
            Method::OPTIONS => Ok(options(ALLOW_RECORD)),
            ref method => Err(reply::method_not_allowed(method, &self.path, ALLOW_RECORD)),
        }
    }

    /// Answers for `/Table/key.name`: a property is only read, and only where no record has the whole as its key.
    async fn property(
        &self,
        services: &Services,
        request: &mut Request,
        access: Access,
        id: &str,
        name: &str,
    ) -> Answer<Response> {
        let whole = format!("{id}.{name}");
        let is_read = matches!(request.head.method, Method::GET | Method::HEAD);
        if !is_read || self.has(services, &whole)? {
            return self.record(services, request, access, &whole).await;
        }
        let key = self.key(services, id)?;
        self.get(services, request, &access, &key, Some(name)).await
    }

    async fn collection(
        &self,
        services: &Services,
        request: &mut Request,
        access: Access,
        prefix: Option<String>,
    ) -> Answer<Response> {
        match request.head.method {
            Method::GET | Method::HEAD | Method::OPTIONS => {}
            Method::DELETE => refuse_conditions(request)?,
            _ => {
                refuse_query(request)?;
                refuse_conditions(request)?;
            }
        }
        match request.head.method {
            Method::GET | Method::HEAD => self.list(services, request, access, prefix).await,
            Method::DELETE => {
                // what is deleted tells what is there
                if !access.allows(Right::Read) {
                    return Err(guard::refused(&request.identity));
                }
                let parsed = self.parse(services, request, prefix)?;
                write::check_deletion(&parsed)?;
                if parsed.explains {
                    return self.explain_query(services, request, parsed.query).await;
                }
                write::delete_matching(self, services, request, parsed.query).await
            }
            ref method if method.as_str() == "QUERY" => {
                self.query(services, request, access, prefix).await
            }
            Method::OPTIONS => Ok(options(ALLOW_COLLECTION)),
            Method::POST if prefix.is_none() => write::post(self, services, request, &access).await,
            Method::PUT if prefix.is_none() => {
                write::collection(self, services, request, &access, Change::Replace).await
            }
            Method::PATCH if prefix.is_none() => {
                write::collection(self, services, request, &access, Change::Merge).await
            }
            ref method => Err(reply::method_not_allowed(method, &self.path, ALLOW_COLLECTION)),
        }
    }

    /// Answers for `/Table/key.attribute`, where the attribute holds bytes.
    async fn attribute(
        &self,
        services: &Services,
        request: &mut Request,
        access: Access,
        id: &str,
        attribute: &Attribute,
    ) -> Answer<Response> {
        if request.head.method == Method::PUT {
            refuse_query(request)?;
        }
        let key = self.key(services, id);
        match request.head.method {
            Method::GET | Method::HEAD => {
                guard::check_seen(&access.view(&self.schema), &attribute.name)?;
                self.get_bytes(services, request, &key?, &attribute.name).await
            }
            Method::PUT => {
                write::attribute(self, services, request, &access, key?, attribute).await
            }
            Method::OPTIONS => Ok(options(ALLOW_BYTES)),
            ref method => Err(reply::method_not_allowed(method, &self.path, ALLOW_BYTES)),
        }
    }

    fn description(&self, request: &Request, access: &Access) -> Answer<Response> {
        match request.head.method {
            Method::GET | Method::HEAD => {
                let media = Media::negotiate(&request.head.headers)?;
                let view = access.view(&self.schema);
                let text = describe(&self.model, self.entity(), &view).to_string();
                reply::value(StatusCode::OK, media, text.as_bytes())
            }
            Method::OPTIONS => Ok(options(ALLOW_DESCRIPTION)),
            ref method => Err(reply::method_not_allowed(method, &self.path, ALLOW_DESCRIPTION)),
        }
    }
}

/// Conditions on a write that would not be looked at are refused: nobody means them to be dropped.
fn refuse_query(request: &Request) -> Answer<()> {
    if request.head.uri.query().is_none_or(str::is_empty) {
        return Ok(());
    }
    let sentence = format!("A query has no meaning with {} here", request.head.method);
    Err(Failure::new(Code::InvalidQuery, sentence))
}

/// Tags and dates are those of one record, not of a collection.
fn refuse_conditions(request: &Request) -> Answer<()> {
    let headers = &request.head.headers;
    let conditions = [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE];
    if !conditions.iter().any(|name| headers.contains_key(name)) {
        return Ok(());
    }
    let sentence = "If-Match, If-None-Match and If-Unmodified-Since have a meaning on a record, not on a collection";
    Err(Failure::new(Code::BadRequest, sentence))
}

fn options(allowed: &'static str) -> Response {
    let mut response = reply::no_content();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A table as the asker may know it.
fn describe(model: &Model, entity: &Entity, view: &View) -> Value {
    let schema = &entity.schema;
    let attributes = schema.attributes.iter().enumerate();
    let attributes = attributes.filter(|(_, attribute)| view.sees(&attribute.name));
    let attributes = attributes.map(|(index, attribute)| {
        let mut entry = json!({"name": attribute.name, "type": query::kind_name(&attribute.kind)});
        if index == schema.primary_key {
            entry["isPrimaryKey"] = json!(true);
        }
        if attribute.indexed {
            entry["indexed"] = json!({});
        }
        if let Some(computed) = &attribute.computed {
            entry["computed"] = json!({"from": computed.from});
            entry["version"] = json!(computed.version);
        }
        entry
    });
    let relations = entity.relations.iter().filter(|relation| view.sees(&relation.local));
    let relations = relations.map(|relation| {
        let target = &model.tables[relation.target].schema.name;
        let kind = if relation.is_many { format!("[{target}]") } else { target.clone() };
        let (from, to) = (&relation.local, &relation.foreign);
        json!({"name": relation.name, "type": kind, "relationship": {"from": from, "to": to}})
    });
    json!({
        "records": "./",
        "name": schema.name,
        "database": schema.database,
        "attributes": attributes.chain(relations).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_path_names_a_target() {
        let declares = |name: &str| name == "name";
        let parse = |rest| Target::parse(rest, false, declares).unwrap();
        assert_eq!(parse(""), Target::Description);
        assert_eq!(Target::parse("", true, declares).unwrap(), Target::Collection);
        assert_eq!(parse("/"), Target::Collection);
        assert_eq!(parse("/a"), Target::Record("a".into()));
        assert_eq!(parse("/a%2Fb"), Target::Record("a/b".into()));
        assert_eq!(parse("/a/b"), Target::Record("a/b".into()));
        assert_eq!(parse("/a/"), Target::Prefix("a/".into()));
        assert_eq!(Target::parse("/%ff", false, declares).unwrap_err().code, Code::BadRequest);
        assert_eq!(parse("/%zz"), Target::Record("%zz".into()));
        assert_eq!(parse("/a.name"), Target::Property("a".into(), "name".into()));
        assert_eq!(parse("/a.b/c.name"), Target::Property("a.b/c".into(), "name".into()));
        for id in ["/a%2Ename", "/.name", "/a.other", "/a.name/b"] {
            assert!(matches!(parse(id), Target::Record(_)), "{id}");
        }
    }
}
