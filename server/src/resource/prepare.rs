//! From a request body to what the store takes: read, undone of its coding and type, checked against the schema.

use super::body;
use super::table::TableResource;
use crate::content::{self, BodyType, Limits, Shape, json};
use crate::error::{Answer, Code, Failure};
use crate::exchange::Request;
use crate::metrics::Rejected;
use crate::services::Services;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harper_store::{Attribute, Invalid, Kind, Prepared, TableSchema};
use http::header;
use std::sync::Arc;

/// A larger body is parsed on the pool, so that it does not hold up the worker.
const INLINE_BODY_BYTES_MAX: usize = 64 * 1024;
/// The media type of bytes that say nothing of themselves.
const OCTETS: &str = "application/octet-stream";

/// How a body is read.
pub(super) type Prepare = fn(&TableSchema, &[u8]) -> Result<Prepared, Invalid>;

/// One record.
///
/// # Errors
/// The failure that the client is told.
pub(super) async fn one(
    resource: &TableResource,
    services: &Services,
    request: &mut Request,
    prepare: Prepare,
) -> Answer<Prepared> {
    let parse = move |schema: &TableSchema, body: &[u8], is_content: bool| {
        let prepare = if is_content { put_content } else { prepare };
        prepare(schema, body).map_err(|error| invalid(&error))
    };
    parsed(resource, services, request, Shape::One, parse).await
}

/// One record, or the records of an array, and whether it was an array.
///
/// # Errors
/// The failure that the client is told.
pub(super) async fn all(
    resource: &TableResource,
    services: &Services,
    request: &mut Request,
    prepare: Prepare,
) -> Answer<(Vec<Prepared>, bool)> {
    let records_max = services.config.http.body_records_max;
    let parse = move |schema: &TableSchema, body: &[u8], is_content: bool| {
        let prepare = if is_content { put_content } else { prepare };
        prepare_items(schema, body, prepare, records_max)
    };
    parsed(resource, services, request, Shape::Many, parse).await
}

/// The JSON text of a body that is no record.
///
/// # Errors
/// 415 for a type that is kept as it is, 413 for a text that is too large to be held as a tree; else the failure that the client is told.
pub(super) async fn text(
    resource: &TableResource,
    services: &Services,
    request: &mut Request,
) -> Answer<Vec<u8>> {
    if is_verbatim(request) {
        let name = request.header(header::CONTENT_TYPE).unwrap_or_default();
        return Err(content::unsupported(name));
    }
    let parse = |_: &_, body: &[u8], _| Ok(body.to_vec());
    let text = parsed(resource, services, request, Shape::One, parse).await?;
    body::check_small(services, &text)?;
    Ok(text)
}

/// Reads the body and parses it: a small one here, a larger one on the pool.
async fn parsed<T: Send + 'static>(
    resource: &TableResource,
    services: &Services,
    request: &mut Request,
    shape: Shape,
    parse: impl FnOnce(&TableSchema, &[u8], bool) -> Answer<T> + Send + 'static,
) -> Answer<T> {
    let kind = content::of_body(&request.head.method, &request.head.headers)?;
    let is_content = match &kind {
        BodyType::Verbatim(name) if !can_hold_content(&resource.schema) => {
            return Err(content::unsupported(name.to_str().unwrap_or_default()));
        }
        kind => matches!(kind, BodyType::Verbatim(_)),
    };
    let http = &services.config.http;
    let limits = Limits {
        parts_max: http.multipart_parts_max,
        // base64 and names make JSON the longer text
        json_bytes_max: http.body_bytes_max.saturating_mul(2),
    };
    let body = body::read(services, request).await?;
    let schema = Arc::clone(&resource.schema);
    let is_small = body.len() <= INLINE_BODY_BYTES_MAX;
    let work = move || {
        let body = content::to_json(&kind, &schema, shape, limits, body)?;
        parse(&schema, &body, is_content)
    };
    let parsed = if is_small { work() } else { services.block_on_pool(work).await? };
    parsed.inspect_err(|failure| {
        if failure.code == Code::BodyTooLarge {
            services.metrics.rejected(Rejected::BodyParts);
        }
    })
}

fn prepare_items(
    schema: &TableSchema,
    body: &[u8],
    prepare: Prepare,
    records_max: usize,
) -> Answer<(Vec<Prepared>, bool)> {
    let is_array = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if !is_array {
        return Ok((vec![prepare(schema, body).map_err(|error| invalid(&error))?], false));
    }
    let mut prepared = Vec::new();
    json::each_item(body, |item| {
        if prepared.len() == records_max {
            let sentence = format!(
                "The body has more than {records_max} records (http.bodyRecordsMax): send them in parts"
            );
            return Err(Failure::new(Code::BodyTooLarge, sentence));
        }
        let record = prepare(schema, item.as_bytes()).map_err(|error| {
            let sentence = format!("Record {}: {error}", prepared.len() + 1);
            Failure::new(Code::InvalidBody, sentence)
        })?;
        prepared.push(record);
        Ok(())
    })?;
    Ok((prepared, true))
}

pub(super) fn invalid(invalid: &Invalid) -> Box<Failure> {
    Failure::new(Code::InvalidBody, invalid.to_string())
}

/// Whether the body is of a type that is kept as it is.
#[must_use]
pub(super) fn is_verbatim(request: &Request) -> bool {
    let kind = content::of_body(&request.head.method, &request.head.headers);
    matches!(kind, Ok(BodyType::Verbatim(_)))
}

/// A record that is the bytes of a body and their type.
pub(super) fn put_content(schema: &TableSchema, body: &[u8]) -> Result<Prepared, Invalid> {
    Prepared::put(schema, body).map(Prepared::as_content)
}

/// Whether a record may have the two attributes that hold bytes and their type.
pub(super) fn can_hold_content(schema: &TableSchema) -> bool {
    !schema.sealed || ["contentType", "data"].iter().all(|name| schema.attribute(name).is_some())
}

/// The change that gives a binary attribute the body as its value, whatever type the body has.
///
/// # Errors
/// The failure that the client is told.
pub(super) async fn upload(
    resource: &TableResource,
    services: &Services,
    request: &mut Request,
    attribute: &Attribute,
) -> Answer<Prepared> {
    let media_type = request.header(header::CONTENT_TYPE).unwrap_or(OCTETS).to_owned();
    let data = body::read(services, request).await?;
    let schema = Arc::clone(&resource.schema);
    let (name, kind) = (attribute.name.clone(), attribute.kind.clone());
    let is_small = data.len() <= INLINE_BODY_BYTES_MAX;
    let work = move || {
        let mut text = vec![b'{'];
        json::push_string(&name, &mut text);
        text.push(b':');
        if kind == Kind::Blob && media_type != OCTETS {
            text.extend_from_slice(&content::content(&media_type, &data));
        } else {
            json::push_string(&STANDARD.encode(&data), &mut text);
        }
        text.push(b'}');
        Prepared::patch(&schema, &text).map_err(|error| invalid(&error))
    };
    if is_small { work() } else { services.block_on_pool(work).await? }
}
