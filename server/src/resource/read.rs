//! Reading a table: what a query finds, and how.

use super::failure::store_failure;
use super::model::Scope;
use super::prepare;
use super::query::{self, Parsed};
use super::rows::Rows;
use super::select::{RelatedLimits, Selection};
use super::table::TableResource;
use crate::auth::access::{Access, View};
use crate::content::{Columns, Format, List, Media};
use crate::error::{Answer, Code, Failure};
use crate::exchange::{self, Request, Response};
use crate::metrics::Rejected;
use crate::reply;
use crate::services::Services;
use harper_store::{Attribute, Filter, Key, Limits, Query, QueryRun};
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

    /// What a read that selects nothing returns; none for the record as it is stored.
    pub(super) fn plain<'a>(&self, scope: impl FnOnce() -> Scope<'a>) -> Answer<Option<Selection>> {
        let is_shown = |attribute: &Attribute| attribute.enumerable && attribute.computed.is_some();
        if self.entity().relations.iter().any(|relation| relation.is_enumerable)
            || self.schema.attributes.iter().any(is_shown)
        {
            return Selection::whole(&scope());
        }
        Ok(None)
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
        let parsed = within(services, parsed, prefix)?;
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
        within(services, query::parse(&self.scope(request), text)?, prefix)
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
            select = self.plain(|| self.scope(request))?;
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
            related: RelatedLimits::of(&services.config.query),
            view,
            metrics: Arc::clone(&services.metrics),
        };
        let mut response = exchange::response(rows.body(services).await?);
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
///
/// # Errors
/// 400 for a value that is too long to be looked for in every record.
pub(super) fn within(
    services: &Services,
    mut parsed: Parsed,
    prefix: Option<String>,
) -> Answer<Parsed> {
    let harper_config::Query { sort_records_max, scan_records_max, value_bytes_max, .. } =
        services.config.query;
    let bytes = parsed.query.filter.as_ref().map_or(0, Filter::value_bytes);
    if bytes > value_bytes_max {
        services.metrics.rejected(Rejected::ValueBytes);
        let sentence = format!(
            "The query compares with a value of {bytes} bytes, at most {value_bytes_max} are allowed"
        );
        return Err(Failure::new(Code::InvalidQuery, sentence));
    }
    let limits = Limits { sort_records_max, scan_records_max };
    parsed.query = Query { key_prefix: prefix, limits, ..parsed.query };
    Ok(parsed)
}
