//! Reading a table: one record, a part of one, or what a query finds.

use super::binary::{self, Part};
use super::condition::{self, Validators};
use super::etag;
use super::failure::store_failure;
use super::guard;
use super::model::Scope;
use super::prepare;
use super::query::{self, Parsed};
use super::rows::Rows;
use super::select::{Reading, Selection};
use super::table::TableResource;
use crate::auth::access::{Access, View};
use crate::content::{self, Columns, Format, List, Media};
use crate::error::{Answer, Code, Failure};
use crate::exchange::{Body, Request, Response};
use crate::reply;
use crate::services::Services;
use bytes::Bytes;
use harper_store::{Attribute, Key, Limits, Query, QueryRun};
use http::{StatusCode, header};
use std::sync::Arc;

impl TableResource {
    /// The table as the client may see it.
    pub(super) fn scope<'a>(&'a self, request: &'a Request) -> Scope<'a> {
        self.model.scope(self.entity, &request.identity)
    }

    /// Whether there is a record with this key.
    ///
    /// # Errors
    /// The failure that the client is told.
    pub(super) fn has(&self, services: &Services, id: &str) -> Answer<bool> {
        let failure = |error| store_failure(&services.metrics, error);
        let Ok(key) = Key::from_path(&self.schema, id) else { return Ok(false) };
        let txn = self.database.read().map_err(failure)?;
        Ok(self.table.get(&txn, &key).map_err(failure)?.is_some())
    }

    /// `GET /Table/key`, and with a property `GET /Table/key.property`.
    ///
    /// # Errors
    /// 404 when there is none, 412 when it is not as the request asks; else the failure that the client is told.
    pub(super) async fn get(
        &self,
        services: &Services,
        request: &Request,
        access: Access,
        key: &Key,
        property: Option<&str>,
    ) -> Answer<Response> {
        match self.get_record(services, request, access, key, property)? {
            Some(response) => Ok(response),
            None => self.get_binary(services, request, key, Part::Record).await,
        }
    }

    /// Bytes as they were stored.
    ///
    /// # Errors
    /// As [`TableResource::get`].
    pub(super) async fn get_binary(
        &self,
        services: &Services,
        request: &Request,
        key: &Key,
        part: Part,
    ) -> Answer<Response> {
        let metrics = &services.metrics;
        let (tag, validators, record_bytes) = {
            let txn = self.database.read().map_err(|error| store_failure(metrics, error))?;
            let found = self.table.get(&txn, key).map_err(|error| store_failure(metrics, error))?;
            let Some(record) = found else { return Err(self.absent(request)) };
            let tag = etag::tag(record.meta.version, &[part.tag()]);
            let validators = Validators::new(record.meta, Some(tag.clone()), self.is_dated);
            if let Some(answer) = validators.unchanged(&request.head.headers)? {
                return Ok(answer);
            }
            (tag, validators, record.body.len())
        };
        let loaded = binary::load(self, services, key, part, record_bytes).await?;
        let loaded = loaded.ok_or_else(|| self.absent(request))?;
        let mut response = binary::answer(request, tag, loaded)?;
        validators.describe(response.headers_mut());
        Ok(response)
    }

    fn absent(&self, request: &Request) -> Box<Failure> {
        condition::absent(&request.head.headers, self.schema.expires())
    }

    /// The record in the type that is asked for; none when it is kept as the bytes that were sent.
    fn get_record(
        &self,
        services: &Services,
        request: &Request,
        access: Access,
        key: &Key,
        property: Option<&str>,
    ) -> Answer<Option<Response>> {
        let view = access.view(&self.schema);
        let select = self.selection(request, property)?;
        let metrics = &services.metrics;
        let txn = self.database.read().map_err(|error| store_failure(metrics, error))?;
        let found = self.table.get(&txn, key).map_err(|error| store_failure(metrics, error))?;
        let Some(record) = found else { return Err(self.absent(request)) };
        if record.meta.is_content() && select.is_none() && view.sees("data") {
            return Ok(None);
        }
        let media = Media::negotiate(&request.head.headers)?;
        let mark = select.as_ref().map_or(Some(""), Selection::tag);
        let tag = mark.map(|mark| etag::tag(record.meta.version, &[media.tag(), view.tag(), mark]));
        let validators = Validators::new(record.meta, tag, self.is_dated);
        if let Some(answer) = validators.unchanged(&request.head.headers)? {
            return Ok(Some(answer));
        }
        // copied out of the map, so that the snapshot ends before the socket is waited for
        let body = match &select {
            None => self.whole(media.format, &guard::shown(&view, record.body)?)?,
            Some(select) => {
                let related_max = services.config.query.related_records_max;
                let mut reading = Reading::new(&txn, metrics, related_max);
                let mut text = Vec::with_capacity(record.body.len());
                if !select.push(record, &mut reading, &mut text)? {
                    if property.is_some() {
                        return Err(self.absent(request));
                    }
                    text.extend_from_slice(b"null");
                }
                let schema = select.is_record().then_some(&*select.schema);
                encoded(media.format, schema, text)?
            }
        };
        drop(txn);
        let mut response = Response::new(Body::whole(body));
        let headers = response.headers_mut();
        headers.reserve(8);
        validators.describe(headers);
        headers.insert(header::VARY, reply::VARY);
        media.describe(headers);
        Ok(Some(response))
    }

    /// What of a record is asked for; none for all of it. On its URL a query can only select.
    fn selection(&self, request: &Request, property: Option<&str>) -> Answer<Option<Selection>> {
        let text = request.head.uri.query().unwrap_or_default();
        match property {
            Some(name) if text.is_empty() => Selection::property(&self.scope(request), name),
            Some(_) => {
                let sentence = "A query has no meaning on a property of a record";
                Err(Failure::new(Code::InvalidQuery, sentence))
            }
            None if text.is_empty() => self.plain(request),
            None => {
                let Parsed { query, select, explains } = query::parse(&self.scope(request), text)?;
                let selects_only =
                    query.filter.is_none() && query.sort.is_empty() && query.limit.is_none();
                if selects_only && !explains {
                    return select.map_or_else(|| self.plain(request), |select| Ok(Some(select)));
                }
                let sentence =
                    "On a record only select( ) has a meaning; conditions belong on the collection";
                Err(Failure::new(Code::InvalidQuery, sentence))
            }
        }
    }

    /// What a read that selects nothing returns; none for the record as it is stored.
    fn plain(&self, request: &Request) -> Answer<Option<Selection>> {
        let is_shown = |attribute: &Attribute| attribute.enumerable && attribute.computed.is_some();
        if self.entity().relations.iter().any(|relation| relation.is_enumerable)
            || self.schema.attributes.iter().any(is_shown)
        {
            return Selection::whole(&self.scope(request));
        }
        Ok(None)
    }

    fn whole(&self, format: Format, shown: &[u8]) -> Answer<Bytes> {
        if format == Format::Json {
            return Ok(Bytes::copy_from_slice(shown));
        }
        let mut out = Vec::with_capacity(shown.len());
        content::encode(format, Some(&self.schema), shown, &mut out)?;
        Ok(Bytes::from(out))
    }

    /// `GET /Table/?query`.
    ///
    /// # Errors
    /// The failure that the client is told.
    pub(super) async fn list(
        &self,
        services: &Services,
        request: &Request,
        access: Access,
        prefix: Option<String>,
    ) -> Answer<Response> {
        let media = Media::negotiate(&request.head.headers)?;
        let parsed = self.parse(services, request, prefix)?;
        self.found(services, request, media, access.view(&self.schema), parsed).await
    }

    /// `QUERY /Table/` (draft-ietf-httpbis-safe-method-w-body): the query is the body.
    ///
    /// # Errors
    /// The failure that the client is told.
    pub(super) async fn query(
        &self,
        services: &Services,
        request: &mut Request,
        access: Access,
        prefix: Option<String>,
    ) -> Answer<Response> {
        let media = Media::negotiate(&request.head.headers)?;
        let body = prepare::text(self, services, request).await?;
        let parsed = query::parse_body(&self.scope(request), &body)?;
        let parsed = within(services, parsed, prefix);
        self.found(services, request, media, access.view(&self.schema), parsed).await
    }

    /// The query of a URL.
    ///
    /// # Errors
    /// 400 naming the mistake and its place; 403 for what may not be read.
    pub(super) fn parse(
        &self,
        services: &Services,
        request: &Request,
        prefix: Option<String>,
    ) -> Answer<Parsed> {
        let text = request.head.uri.query().unwrap_or_default();
        Ok(within(services, query::parse(&self.scope(request), text)?, prefix))
    }

    async fn found(
        &self,
        services: &Services,
        request: &Request,
        media: Media,
        view: View,
        parsed: Parsed,
    ) -> Answer<Response> {
        let Parsed { query, mut select, explains } = parsed;
        if select.is_none() {
            select = self.plain(request)?;
        }
        let run = self.table.query(query);
        let run = run.map_err(|error| store_failure(&services.metrics, error))?;
        if explains {
            return self.explain(services, media, run).await;
        }
        let rows = Rows {
            database: Arc::clone(&self.database),
            run,
            list: self.list_of(media.format, select.as_ref(), &view),
            held_bytes_max: services.config.query.held_bytes_max,
            select,
            related_max: services.config.query.related_records_max,
            view,
            metrics: Arc::clone(&services.metrics),
        };
        let mut response = Response::new(rows.body(services).await?);
        let headers = response.headers_mut();
        headers.insert(header::VARY, reply::VARY);
        media.describe(headers);
        Ok(response)
    }

    /// How a query would be run.
    ///
    /// # Errors
    /// The failure that the client is told.
    pub(super) async fn explain_query(
        &self,
        services: &Services,
        request: &Request,
        query: Query,
    ) -> Answer<Response> {
        let media = Media::negotiate(&request.head.headers)?;
        let run = self.table.query(query);
        let run = run.map_err(|error| store_failure(&services.metrics, error))?;
        self.explain(services, media, run).await
    }

    /// Counting what each range holds may read much, so it is done on the pool.
    async fn explain(&self, services: &Services, media: Media, run: QueryRun) -> Answer<Response> {
        let database = Arc::clone(&self.database);
        let work = move || run.explain(&database.read()?);
        let explanation = services.block_on_pool(work).await?;
        let explanation = explanation.map_err(|error| store_failure(&services.metrics, error))?;
        let text = serde_json::to_vec(&explanation)
            .map_err(|error| Failure::internal("a plan could not be written", &error))?;
        reply::value(StatusCode::OK, media, &text)
    }

    /// An empty list of what the query selects and the asker may see.
    fn list_of(&self, format: Format, select: Option<&Selection>, view: &View) -> List {
        let columns = (format == Format::Csv).then(|| match select {
            Some(select) => Columns::Selected(select.columns()),
            None => {
                let shown = |a: &&Attribute| a.computed.is_none() || a.enumerable;
                let names = self.schema.attributes.iter().filter(shown).map(|a| &a.name);
                Columns::Declared(names.filter(|name| view.sees(name)).cloned().collect())
            }
        });
        let schema = select.map_or(&self.schema, |select| &select.schema);
        List::new(format, Arc::clone(schema), columns)
    }
}

/// Adds to a query what is not in its text.
fn within(services: &Services, mut parsed: Parsed, prefix: Option<String>) -> Parsed {
    let harper_config::Query { sort_records_max, scan_records_max, .. } = services.config.query;
    let limits = Limits { sort_records_max, scan_records_max };
    parsed.query = Query { key_prefix: prefix, limits, ..parsed.query };
    parsed
}

fn encoded(
    format: Format,
    schema: Option<&harper_store::TableSchema>,
    text: Vec<u8>,
) -> Answer<Bytes> {
    if format == Format::Json {
        return Ok(text.into());
    }
    let mut out = Vec::with_capacity(text.len());
    content::encode(format, schema, &text, &mut out)?;
    Ok(out.into())
}
