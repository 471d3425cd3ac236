//! Reading one record: whole, a selection of it, or the bytes that it keeps with their type. What is small is read on
//! the worker, the rest on the pool. All that an answer tells of a record comes from one snapshot.

use super::binary::{self, Binary, Part};
use super::condition::{self, Validators};
use super::etag;
use super::failure::store_failure;
use super::guard;
use super::query::{self, Parsed};
use super::select::{Reading, RelatedLimits, Selection};
use super::table::TableResource;
use crate::auth::access::{Access, View};
use crate::content::{self, Format, Media};
use crate::error::{Answer, Code, Failure};
use crate::exchange::{self, Body, Field, Request, Response};
use crate::metrics::WorkerMetrics;
use crate::reply;
use crate::services::Services;
use bytes::Bytes;
use harper_store::{Key, Meta, ReadTxn, Record, TableSchema};
use http::{HeaderValue, header};
use std::sync::Arc;

/// Larger records are read and written out on the pool.
const INLINE_RECORD_BYTES_MAX: usize = 64 * 1024;

/// What is asked of a record.
struct Wanted {
    /// The bytes of this attribute; else the record, as bytes if it is kept so.
    attribute: Option<Part>,
    /// What of the record; none for all that the view shows.
    select: Option<Selection>,
    /// Whether it is one property that is selected, which then must be there.
    is_property: bool,
    view: View,
    /// The type that the client takes. It does not count for bytes.
    media: Answer<Media>,
    related: RelatedLimits,
}

/// How a record is represented.
enum Form<'w> {
    Bytes(&'w Part),
    Text(Media),
}

/// A representation.
enum Shown {
    Bytes(Binary),
    Text {
        media: Media,
        body: Bytes,
        /// Whether it is all that the record's version stands for: not null for a value of which nothing is known.
        is_whole: bool,
    },
}

impl TableResource {
    /// `GET /Table/key`, and with a property `GET /Table/key.property`.
    ///
    /// # Errors
    /// 404 when there is none, 412 when it is not as the request asks; else the failure that the client is told.
    pub(super) async fn get(
        &self,
        services: &Services,
        request: &Request,
        access: &Access,
        key: &Key,
        property: Option<&str>,
    ) -> Answer<Response> {
        let wanted = self.wanted(services, request, access, property)?;
        self.read(services, request, key, wanted).await
    }

    /// `GET /Table/key` of a small record, which is most of what is asked, without the room and the time that a future
    /// takes; none for a larger one, and for a selection that reads related records.
    ///
    /// # Errors
    /// As [`TableResource::get`].
    pub(super) fn get_small(
        &self,
        services: &Services,
        request: &Request,
        access: &Access,
        key: &Key,
    ) -> Answer<Option<Response>> {
        let wanted = self.wanted(services, request, access, None)?;
        self.read_here(services, request, key, &wanted)
    }

    fn wanted(
        &self,
        services: &Services,
        request: &Request,
        access: &Access,
        property: Option<&str>,
    ) -> Answer<Wanted> {
        Ok(Wanted {
            attribute: None,
            select: self.selection(request, property)?,
            is_property: property.is_some(),
            view: access.view(&self.schema),
            media: match request.has(Field::Accept) {
                true => Media::negotiate(&request.head.headers),
                false => Ok(Media::JSON),
            },
            related: RelatedLimits::of(&services.config.query),
        })
    }

    /// `GET /Table/key.attribute` of an attribute that holds bytes.
    ///
    /// # Errors
    /// As [`TableResource::get`].
    pub(super) async fn get_bytes(
        &self,
        services: &Services,
        request: &Request,
        key: &Key,
        attribute: &str,
    ) -> Answer<Response> {
        let wanted = Wanted {
            attribute: Some(Part::Attribute(attribute.to_owned())),
            select: None,
            is_property: true,
            view: View::Whole,
            media: Ok(Media::JSON),
            related: RelatedLimits::of(&services.config.query),
        };
        self.read(services, request, key, wanted).await
    }

    async fn read(
        &self,
        services: &Services,
        request: &Request,
        key: &Key,
        wanted: Wanted,
    ) -> Answer<Response> {
        match self.read_here(services, request, key, &wanted)? {
            Some(answer) => Ok(answer),
            None => Box::pin(self.read_on_pool(services, request, key, wanted)).await,
        }
    }

    /// The answer of a small record, read on the worker; none for a larger one.
    fn read_here(
        &self,
        services: &Services,
        request: &Request,
        key: &Key,
        wanted: &Wanted,
    ) -> Answer<Option<Response>> {
        let failure = |error| store_failure(&services.metrics, error);
        let absent = || condition::absent(&request.head.headers, self.schema.expires());
        let txn = self.database.read().map_err(failure)?;
        let record = self.table.get(&txn, key).map_err(failure)?.ok_or_else(absent)?;
        let validators = self.validators(wanted, record.meta)?;
        if request.has(Field::Condition)
            && let Some(answer) = validators.unchanged(&request.head.headers)?
        {
            return Ok(Some(answer));
        }
        if !wanted.is_small(&record) {
            return Ok(None);
        }
        let shown = wanted.show(&self.schema, record, &txn, &services.metrics)?;
        respond(request, validators, shown.ok_or_else(absent)?).map(Some)
    }

    async fn read_on_pool(
        &self,
        services: &Services,
        request: &Request,
        key: &Key,
        wanted: Wanted,
    ) -> Answer<Response> {
        let absent = || condition::absent(&request.head.headers, self.schema.expires());
        let (resource, key) = (self.clone(), key.clone());
        let metrics = Arc::clone(&services.metrics);
        let work = move || resource.read_again(&key, &wanted, &metrics);
        let read = services.block_on_pool(work).await??;
        let (validators, shown) = read.ok_or_else(absent)?;
        // it may have been written since it was looked at
        if request.has(Field::Condition)
            && let Some(answer) = validators.unchanged(&request.head.headers)?
        {
            return Ok(answer);
        }
        respond(request, validators, shown.ok_or_else(absent)?)
    }

    /// The record in a snapshot of its own, with what tells that state; none when it is gone.
    fn read_again(
        &self,
        key: &Key,
        wanted: &Wanted,
        metrics: &WorkerMetrics,
    ) -> Answer<Option<(Validators, Option<Shown>)>> {
        let txn = self.database.read().map_err(|error| store_failure(metrics, error))?;
        let found = self.table.get(&txn, key).map_err(|error| store_failure(metrics, error))?;
        let Some(record) = found else { return Ok(None) };
        let validators = self.validators(wanted, record.meta)?;
        Ok(Some((validators, wanted.show(&self.schema, record, &txn, metrics)?)))
    }

    fn validators(&self, wanted: &Wanted, meta: Meta) -> Answer<Validators> {
        let tag = match wanted.form(meta)? {
            Form::Bytes(part) => Some(etag::tag(meta.version, &[part.tag()])),
            Form::Text(media) => {
                let mark = wanted.select.as_ref().map_or(Some(""), Selection::tag);
                let marks = |mark| [media.tag(), wanted.view.tag(), mark];
                mark.map(|mark| etag::tag(meta.version, &marks(mark)))
            }
        };
        Ok(Validators::new(meta, tag, self.is_dated))
    }

    /// What of the record is asked for; none for all of it. On its URL a query can only select.
    fn selection(&self, request: &Request, property: Option<&str>) -> Answer<Option<Selection>> {
        let text = request.head.uri.query().unwrap_or_default();
        match property {
            Some(name) if text.is_empty() => Selection::property(&self.scope(request), name),
            Some(_) => {
                let sentence = "A query has no meaning on a property of a record";
                Err(Failure::new(Code::InvalidQuery, sentence))
            }
            None if text.is_empty() => self.plain(|| self.scope(request)),
            None => {
                let Parsed { query, select, explains } = query::parse(&self.scope(request), text)?;
                let selects_only =
                    query.filter.is_none() && query.sort.is_empty() && query.limit.is_none();
                if selects_only && !explains {
                    return select.map_or_else(
                        || self.plain(|| self.scope(request)),
                        |select| Ok(Some(select)),
                    );
                }
                let sentence =
                    "On a record only select( ) has a meaning; conditions belong on the collection";
                Err(Failure::new(Code::InvalidQuery, sentence))
            }
        }
    }
}

impl Wanted {
    fn form(&self, meta: Meta) -> Answer<Form<'_>> {
        Ok(match &self.attribute {
            Some(part) => Form::Bytes(part),
            None if meta.is_content() && self.select.is_none() && self.view.sees("data") => {
                Form::Bytes(&Part::Record)
            }
            None => Form::Text(self.media.clone()?),
        })
    }

    /// Whether the worker may read it without holding others up.
    fn is_small(&self, record: &Record<'_>) -> bool {
        record.body.len() <= INLINE_RECORD_BYTES_MAX
            && !self.select.as_ref().is_some_and(Selection::has_related)
    }

    /// The representation, copied out of the map so that the snapshot ends before the socket is waited for; none when
    /// the record has nothing of what is asked for.
    fn show<'t>(
        &self,
        schema: &TableSchema,
        record: Record<'t>,
        txn: &'t ReadTxn<'t>,
        metrics: &'t WorkerMetrics,
    ) -> Answer<Option<Shown>> {
        let media = match self.form(record.meta)? {
            Form::Bytes(part) => return Ok(binary::extract(record.body, part)?.map(Shown::Bytes)),
            Form::Text(media) => media,
        };
        let Some(select) = &self.select else {
            let body = whole(media.format, schema, &guard::shown(&self.view, record.body)?)?;
            return Ok(Some(Shown::Text { media, body, is_whole: true }));
        };
        let mut reading = Reading::new(txn, metrics, self.related);
        let mut text = Vec::with_capacity(record.body.len());
        if !select.push(record, &mut reading, &mut text)? {
            if self.is_property {
                return Ok(None);
            }
            text.extend_from_slice(b"null");
        }
        let schema = select.is_record().then_some(&*select.schema);
        let body = encoded(media.format, schema, text)?;
        Ok(Some(Shown::Text { media, body, is_whole: !reading.lacks_value }))
    }
}

fn respond(request: &Request, validators: Validators, shown: Shown) -> Answer<Response> {
    let (media, body, is_whole) = match shown {
        Shown::Text { media, body, is_whole } => (media, body, is_whole),
        Shown::Bytes(bytes) => {
            let mut response = binary::answer(request, validators.tag(), bytes)?;
            validators.date(response.headers_mut());
            return Ok(response);
        }
    };
    let mut response = exchange::response(Body::whole(body));
    let headers = response.headers_mut();
    headers.reserve(8);
    if is_whole {
        validators.describe(headers);
    } else {
        // the next evaluation may give the value, under the same version of the record
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.insert(header::VARY, reply::VARY);
    media.describe(headers);
    Ok(response)
}

fn whole(format: Format, schema: &TableSchema, shown: &[u8]) -> Answer<Bytes> {
    if format == Format::Json {
        return Ok(Bytes::copy_from_slice(shown));
    }
    let mut out = Vec::with_capacity(shown.len());
    content::encode(format, Some(schema), shown, &mut out)?;
    Ok(Bytes::from(out))
}

fn encoded(format: Format, schema: Option<&TableSchema>, text: Vec<u8>) -> Answer<Bytes> {
    if format == Format::Json {
        return Ok(text.into());
    }
    let mut out = Vec::with_capacity(text.len());
    content::encode(format, schema, &text, &mut out)?;
    Ok(out.into())
}
