//! A table over HTTP: its description, its collection and its records (RFC 9110 §9.3).

use super::binary::{self, Part};
use super::etag;
use super::extension;
use super::failure::store_failure;
use super::guard;
use super::prepare;
use super::query::{self, Parsed};
use super::rows::Rows;
use super::select::{self, Select};
use super::write::{self, Change};
use crate::auth::access::{Access, View};
use crate::auth::permission::Right;
use crate::content::{self, Columns, Format, List, Media};
use crate::error::{Answer, Code, Failure};
use crate::exchange::{Body, Request, Response};
use crate::reply;
use crate::services::Services;
use bytes::Bytes;
use harper_store::{Attribute, Database, Key, Limits, Query, Table, TableSchema};
use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

const ALLOW_RECORD: &str = "GET, HEAD, PUT, PATCH, DELETE, OPTIONS";
const ALLOW_ATTRIBUTE: &str = "GET, HEAD, PUT, OPTIONS";
const ALLOW_COLLECTION: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
const ALLOW_DESCRIPTION: &str = "GET, HEAD, OPTIONS";

/// A table that answers requests.
pub(crate) struct TableResource {
    /// The path without slashes at its ends.
    pub path: String,
    /// The table.
    pub table: Table,
    /// Its attributes.
    pub schema: Arc<TableSchema>,
    /// Where it is kept.
    pub database: Arc<Database>,
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
}

impl<'a> Target<'a> {
    /// Reads what follows the table's path.
    ///
    /// # Errors
    /// 400 for text that is not UTF-8 after decoding.
    pub(crate) fn parse(rest: &'a str, has_query: bool) -> Answer<Self> {
        let Some(rest) = rest.strip_prefix('/') else {
            return Ok(if has_query { Self::Collection } else { Self::Description });
        };
        if rest.is_empty() {
            return Ok(Self::Collection);
        }
        let text = percent_decode_str(rest).decode_utf8().map_err(|_| {
            Failure::new(Code::BadRequest, "The path is not UTF-8 after percent-decoding")
        })?;
        Ok(if rest.ends_with('/') { Self::Prefix(text) } else { Self::Record(text) })
    }
}

impl TableResource {
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
        let (rest, media) = extension::split(&self.schema, rest);
        if let Some(media) = media {
            // what the path asks for takes the place of what the header does
            request.head.headers.insert(header::ACCEPT, HeaderValue::from_static(media.name));
        }
        match Target::parse(rest, has_query)? {
            Target::Record(id) => self.record(services, request, access, &id).await,
            Target::Collection => self.collection(services, request, access, None).await,
            Target::Prefix(prefix) => {
                self.collection(services, request, access, Some(prefix.into_owned())).await
            }
            Target::Description => self.description(request, access),
        }
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
        let binary = binary::attribute(&self.schema, id, '.').or_else(|| {
            let is_upload = request.head.method == Method::PUT && prepare::is_verbatim(request);
            binary::attribute(&self.schema, id, '/').filter(|_| is_upload)
        });
        if let Some((id, attribute)) = binary {
            return self.attribute(services, request, access, id, attribute).await;
        }
        let key = Key::from_path(&self.schema, id);
        let key = key.map_err(|error| store_failure(&services.metrics, error));
        match request.head.method {
            Method::GET | Method::HEAD => self.get(services, request, access, &key?).await,
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
                let Parsed { query, .. } = self.parse(services, request, prefix)?;
                guard::check_query(&access.view(&self.schema), &query)?;
                write::delete_matching(self, services, request, query).await
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
        let key = Key::from_path(&self.schema, id);
        let key = key.map_err(|error| store_failure(&services.metrics, error));
        match request.head.method {
            Method::GET | Method::HEAD => {
                guard::check_seen(&access.view(&self.schema), &attribute.name)?;
                let part = Part::Attribute(attribute.name.clone());
                self.get_binary(services, request, &key?, part).await
            }
            Method::PUT => {
                write::attribute(self, services, request, &access, key?, attribute).await
            }
            Method::OPTIONS => Ok(options(ALLOW_ATTRIBUTE)),
            ref method => Err(reply::method_not_allowed(method, &self.path, ALLOW_ATTRIBUTE)),
        }
    }

    async fn get_binary(
        &self,
        services: &Services,
        request: &Request,
        key: &Key,
        part: Part,
    ) -> Answer<Response> {
        let metrics = &services.metrics;
        let (tag, record_bytes) = {
            let txn = self.database.read().map_err(|error| store_failure(metrics, error))?;
            let found = self.table.get(&txn, key).map_err(|error| store_failure(metrics, error))?;
            let Some(record) = found else { return Err(not_found()) };
            let tag = etag::tag(record.meta.version, &[part.tag()]);
            if let Some(answer) = unchanged(request, record.meta.version, &tag)? {
                return Ok(answer);
            }
            (tag, record.body.len())
        };
        let loaded = binary::load(self, services, key, part, record_bytes).await?;
        binary::answer(request, tag, loaded.ok_or_else(not_found)?)
    }

    async fn get(
        &self,
        services: &Services,
        request: &Request,
        access: Access,
        key: &Key,
    ) -> Answer<Response> {
        match self.get_record(services, request, access, key)? {
            Some(response) => Ok(response),
            None => self.get_binary(services, request, key, Part::Record).await,
        }
    }

    /// The record in the type that is asked for; none when it is kept as the bytes that were sent.
    fn get_record(
        &self,
        services: &Services,
        request: &Request,
        access: Access,
        key: &Key,
    ) -> Answer<Option<Response>> {
        let view = access.view(&self.schema);
        let select = match request.head.uri.query() {
            None | Some("") => None,
            Some(text) => self.record_select(text)?,
        };
        let metrics = &services.metrics;
        let txn = self.database.read().map_err(|error| store_failure(metrics, error))?;
        let found = self.table.get(&txn, key).map_err(|error| store_failure(metrics, error))?;
        let Some(record) = found else { return Err(not_found()) };
        if record.meta.is_content() && select.is_none() && view.sees("data") {
            return Ok(None);
        }
        let media = Media::negotiate(&request.head.headers)?;
        let tag = match &select {
            None => etag::tag(record.meta.version, &[media.tag(), view.tag()]),
            Some(select) => {
                etag::tag(record.meta.version, &[media.tag(), view.tag(), &select.tag()])
            }
        };
        if let Some(answer) = unchanged(request, record.meta.version, &tag)? {
            return Ok(Some(answer));
        }
        let shown = guard::shown(&view, record.body)?;
        // copied out of the map, so that the snapshot ends before the socket is waited for
        let body = if media.format == Format::Json && select.is_none() {
            Bytes::copy_from_slice(&shown)
        } else {
            let (mut out, mut scratch) = (Vec::with_capacity(shown.len()), Vec::new());
            let (is_record, text) = select::text(select.as_ref(), &shown, &mut scratch)?;
            content::encode(media.format, is_record.then_some(&*self.schema), text, &mut out)?;
            Bytes::from(out)
        };
        drop(txn);
        let mut response = Response::new(Body::whole(body));
        let headers = response.headers_mut();
        headers.reserve(8);
        headers.insert(header::ETAG, tag);
        headers.insert(header::VARY, reply::VARY);
        media.describe(headers);
        Ok(Some(response))
    }

    /// On a record's URL a query can only select.
    fn record_select(&self, text: &str) -> Answer<Option<Select>> {
        let Parsed { query, select } = query::parse(&self.schema, text)?;
        let selects_only = query.filter.is_none() && query.sort.is_empty() && query.limit.is_none();
        if selects_only {
            return Ok(select);
        }
        let sentence =
            "On a record only select( ) has a meaning; conditions belong on the collection";
        Err(Failure::new(Code::InvalidQuery, sentence))
    }

    async fn list(
        &self,
        services: &Services,
        request: &Request,
        access: Access,
        prefix: Option<String>,
    ) -> Answer<Response> {
        let media = Media::negotiate(&request.head.headers)?;
        let Parsed { query, select } = self.parse(services, request, prefix)?;
        let view = access.view(&self.schema);
        guard::check_query(&view, &query)?;
        let run = self.table.query(query);
        let rows = Rows {
            database: Arc::clone(&self.database),
            run: run.map_err(|error| store_failure(&services.metrics, error))?,
            list: self.list_of(media.format, select.as_ref(), &view),
            held_bytes_max: services.config.query.held_bytes_max,
            select,
            view,
            metrics: Arc::clone(&services.metrics),
        };
        let mut response = Response::new(rows.body(services).await?);
        let headers = response.headers_mut();
        headers.insert(header::VARY, reply::VARY);
        media.describe(headers);
        Ok(response)
    }

    /// An empty list of what the query selects and the asker may see.
    fn list_of(&self, format: Format, select: Option<&Select>, view: &View) -> List {
        let columns = (format == Format::Csv).then(|| match select {
            Some(select) => Columns::Selected(select.columns()),
            None => {
                let names = self.schema.attributes.iter().map(|attribute| &attribute.name);
                Columns::Declared(names.filter(|name| view.sees(name)).cloned().collect())
            }
        });
        List::new(format, Arc::clone(&self.schema), columns)
    }

    fn parse(
        &self,
        services: &Services,
        request: &Request,
        prefix: Option<String>,
    ) -> Answer<Parsed> {
        let mut parsed = query::parse(&self.schema, request.head.uri.query().unwrap_or_default())?;
        let harper_config::Query { sort_records_max, scan_records_max, .. } = services.config.query;
        let limits = Limits { sort_records_max, scan_records_max };
        parsed.query = Query { key_prefix: prefix, limits, ..parsed.query };
        Ok(parsed)
    }

    fn description(&self, request: &Request, access: Access) -> Answer<Response> {
        match request.head.method {
            Method::GET | Method::HEAD => {
                let media = Media::negotiate(&request.head.headers)?;
                let text = describe(&self.schema, &access.view(&self.schema)).to_string();
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

/// Entity tags name one record, not a collection.
fn refuse_conditions(request: &Request) -> Answer<()> {
    let headers = &request.head.headers;
    if !headers.contains_key(header::IF_MATCH) && !headers.contains_key(header::IF_NONE_MATCH) {
        return Ok(());
    }
    let sentence = "If-Match and If-None-Match have a meaning on a record, not on a collection";
    Err(Failure::new(Code::BadRequest, sentence))
}

fn options(allowed: &'static str) -> Response {
    let mut response = reply::no_content();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// 304 when the client has the representation already, as it says in `If-None-Match`.
///
/// # Errors
/// 412 when the record is not the one that `If-Match` names.
fn unchanged(request: &Request, version: u64, tag: &HeaderValue) -> Answer<Option<Response>> {
    let headers = &request.head.headers;
    if !etag::matches(headers, version) {
        let sentence = "The record is not in the state that the request asks for";
        return Err(Failure::new(Code::PreconditionFailed, sentence));
    }
    if !headers.contains_key(header::IF_NONE_MATCH) {
        return Ok(None);
    }
    Ok(etag::none_match(headers, tag).map(not_modified))
}

fn not_modified(tag: HeaderValue) -> Response {
    let mut response = reply::with_status(StatusCode::NOT_MODIFIED, Body::default());
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(header::VARY, reply::VARY);
    response
}

fn not_found() -> Box<Failure> {
    Failure::new(Code::NotFound, "Not found")
}

/// A table as the asker may know it.
fn describe(schema: &TableSchema, view: &View) -> Value {
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
        entry
    });
    json!({
        "records": "./",
        "name": schema.name,
        "database": schema.database,
        "attributes": attributes.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_path_names_a_target() {
        let parse = |rest| Target::parse(rest, false).unwrap();
        assert_eq!(parse(""), Target::Description);
        assert_eq!(Target::parse("", true).unwrap(), Target::Collection);
        assert_eq!(parse("/"), Target::Collection);
        assert_eq!(parse("/a"), Target::Record("a".into()));
        assert_eq!(parse("/a%2Fb"), Target::Record("a/b".into()));
        assert_eq!(parse("/a/b"), Target::Record("a/b".into()));
        assert_eq!(parse("/a/"), Target::Prefix("a/".into()));
        assert_eq!(Target::parse("/%ff", false).unwrap_err().code, Code::BadRequest);
        assert_eq!(parse("/%zz"), Target::Record("%zz".into()));
    }
}
