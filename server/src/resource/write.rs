//! Writes to a table. Every write is a list of operations handed to the store at one place, [`commit`], and is
//! answered when it is durable.

use super::condition;
use super::etag;
use super::failure::store_failure;
use super::guard::{self, Leave};
use super::prepare::{self, Prepare};
use super::query::Parsed;
use super::table::TableResource;
use crate::auth::access::Access;
use crate::content::{Media, json};
use crate::error::{Answer, Code, Failure};
use crate::exchange::{Request, Response};
use crate::metrics::Rejected;
use crate::reply;
use crate::services::Services;
use bytes::Bytes;
use futures_util::future::join_all;
use harper_store::{
    Attribute, Budget, Error, Key, Op, Outcome, Precondition, Prepared, Query, Step, TableSchema,
};
use http::{HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Deletions of a delete by query that are under way at once.
const DELETE_BATCH_RECORDS: usize = 256;
/// What a URL path segment may hold unencoded (RFC 3986 §3.3), and the slash of multi-part keys.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What a body does to the record that is there.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    /// PUT: takes its place.
    Replace,
    /// PATCH: changes the members it has.
    Merge,
}

impl Change {
    fn prepare(self) -> Prepare {
        match self {
            Self::Replace => Prepared::put,
            Self::Merge => Prepared::patch,
        }
    }

    /// Whether the asker may write this body, and where.
    fn leave(self, resource: &TableResource, access: &Access, body: &Prepared) -> Answer<Leave> {
        let replaces = matches!(self, Self::Replace);
        guard::change(access, &resource.schema, body, replaces)
    }

    fn op(self, resource: &TableResource, key: Key, body: Prepared, when: Precondition) -> Op {
        let table = resource.table.clone();
        match self {
            Self::Replace => Op::Put { table, key, body, when },
            Self::Merge => Op::Patch { table, key, body, when },
        }
    }
}

/// How long the records of a request are to live, where they expire at all and the request says so.
#[derive(Clone, Copy)]
struct Lifetime(Option<u64>);

impl Lifetime {
    fn of(resource: &TableResource, request: &Request) -> Answer<Self> {
        if !resource.schema.expires() {
            return Ok(Self(None));
        }
        condition::lifetime_ms(&request.head.headers, &request.head.method).map(Self)
    }

    fn given_to(self, body: Prepared) -> Prepared {
        match self.0 {
            Some(ms) => body.expiring_in(ms),
            None => body,
        }
    }
}

/// `PUT` and `PATCH` of `/Table/key`.
///
/// # Errors
/// The failure that the client is told.
pub(crate) async fn record(
    resource: &TableResource,
    services: &Services,
    request: &mut Request,
    access: &Access,
    key: Key,
    change: Change,
) -> Answer<Response> {
    let body = prepare::one(resource, services, request, change.prepare()).await?;
    write_one(resource, services, request, access, key, change, body).await
}

/// `PUT /Table/key.attribute`: the body becomes the value of a binary attribute.
///
/// # Errors
/// The failure that the client is told.
pub(crate) async fn attribute(
    resource: &TableResource,
    services: &Services,
    request: &mut Request,
    access: &Access,
    key: Key,
    attribute: &Attribute,
) -> Answer<Response> {
    let body = prepare::upload(resource, services, request, attribute).await?;
    write_one(resource, services, request, access, key, Change::Merge, body).await
}

async fn write_one(
    resource: &TableResource,
    services: &Services,
    request: &Request,
    access: &Access,
    key: Key,
    change: Change,
    body: Prepared,
) -> Answer<Response> {
    refuse_relations(resource, &body)?;
    let asked = etag::precondition(&request.head.headers);
    let leave = change.leave(resource, access, &body)?;
    let body = Lifetime::of(resource, request)?.given_to(body);
    let op = change.op(resource, key, body, leave.when(asked.clone())?);
    let committed = commit(resource, services, vec![op]).await;
    committed.map_err(|failure| leave.explained(&asked, failure))?;
    Ok(reply::no_content())
}

/// Related records are stored under keys of their own, so a body that has them in it is a mistake.
fn refuse_relations(resource: &TableResource, body: &Prepared) -> Answer<()> {
    let entity = resource.entity();
    if entity.relations.is_empty() {
        return Ok(());
    }
    match body.names(&resource.schema).find(|name| entity.relation(name).is_some()) {
        Some(name) => {
            let sentence = format!("{name} is a relationship and cannot be assigned a value");
            Err(Failure::new(Code::InvalidBody, sentence))
        }
        None => Ok(()),
    }
}

/// `DELETE /Table/key`: answers whether there was a record.
///
/// # Errors
/// The failure that the client is told.
pub(crate) async fn delete(
    resource: &TableResource,
    services: &Services,
    request: &Request,
    key: Key,
) -> Answer<Response> {
    let media = Media::negotiate(&request.head.headers)?;
    let when = etag::precondition(&request.head.headers);
    let table = resource.table.clone();
    let op = Op::Delete { table, key, when, extra: Bytes::new() };
    let outcomes = commit(resource, services, vec![op]).await?;
    let existed = outcomes.first().is_some_and(|outcome| outcome.existed);
    reply::value(StatusCode::OK, media, existed.to_string().as_bytes())
}

/// `POST /Table/`: creates one record, or all of an array in one transaction.
///
/// # Errors
/// The failure that the client is told.
pub(crate) async fn post(
    resource: &TableResource,
    services: &Services,
    request: &mut Request,
    access: &Access,
) -> Answer<Response> {
    let media = Media::negotiate(&request.head.headers)?;
    let (bodies, is_array) = prepare::all(resource, services, request, Prepared::put).await?;
    for body in &bodies {
        refuse_relations(resource, body)?;
        guard::insert(access, &resource.schema, body)?;
    }
    let lifetime = Lifetime::of(resource, request)?;
    let insert = |body: Prepared| Op::Insert {
        table: resource.table.clone(),
        key: body.key(),
        body: lifetime.given_to(body),
    };
    let outcomes = commit(resource, services, bodies.into_iter().map(insert).collect()).await?;
    let keys: Vec<_> = outcomes.iter().map(|outcome| outcome.key.to_json()).collect();
    let text = if is_array { format!("[{}]", keys.join(",")) } else { keys.concat() };
    let mut response = reply::value(StatusCode::CREATED, media, text.as_bytes())?;
    if let (false, Some(location)) =
        (is_array, outcomes.first().and_then(|one| location(resource, one)))
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn location(resource: &TableResource, outcome: &Outcome) -> Option<HeaderValue> {
    let key = outcome.key.to_json();
    let key = serde_json::from_str::<String>(&key).unwrap_or(key);
    let path = utf8_percent_encode(&resource.path, PATH);
    let encoded = utf8_percent_encode(&key, PATH).to_string();
    // a slash at the end would name the collection of the keys below it
    let location = match encoded.strip_suffix('/') {
        Some(start) => format!("/{path}/{start}%2F"),
        None => format!("/{path}/{encoded}"),
    };
    HeaderValue::from_str(&location).ok()
}

/// `PUT` and `PATCH` of `/Table/`: the record of the body, or all of an array in one transaction, under the keys in
/// the bodies.
///
/// # Errors
/// The failure that the client is told.
pub(crate) async fn collection(
    resource: &TableResource,
    services: &Services,
    request: &mut Request,
    access: &Access,
    change: Change,
) -> Answer<Response> {
    let (bodies, _) = prepare::all(resource, services, request, change.prepare()).await?;
    let lifetime = Lifetime::of(resource, request)?;
    let mut limited = Leave::Always;
    let ops = bodies.into_iter().enumerate().map(|(index, body)| {
        let key = key_of(resource, &body, index)?;
        refuse_relations(resource, &body)?;
        let leave = change.leave(resource, access, &body)?;
        if leave != Leave::Always {
            limited = leave;
        }
        let body = lifetime.given_to(body);
        Ok(change.op(resource, key, body, leave.when(Precondition::None)?))
    });
    let ops = ops.collect::<Answer<_>>()?;
    let committed = commit(resource, services, ops).await;
    committed.map_err(|failure| limited.explained(&Precondition::None, failure))?;
    Ok(reply::no_content())
}

fn key_of(resource: &TableResource, body: &Prepared, index: usize) -> Answer<Key> {
    body.key().ok_or_else(|| {
        let name = &resource.schema.key_attribute().name;
        let sentence = format!("Record {} has no {name}, which is its primary key", index + 1);
        Failure::new(Code::InvalidBody, sentence)
    })
}

/// Refuses what names no records, so that a slip does not empty a table.
///
/// # Errors
/// 400.
pub(crate) fn check_deletion(Parsed { query, select, .. }: &Parsed) -> Answer<()> {
    let sentence = if query.filter.is_none() && query.key_prefix.is_none() {
        "DELETE on a collection needs a condition, such as ?id=1"
    } else if select.is_some() {
        "select( ) has no meaning with DELETE"
    } else {
        return Ok(());
    };
    Err(Failure::new(Code::InvalidQuery, sentence))
}

/// `DELETE /Table/?conditions`: answers whether any record was deleted.
///
/// # Errors
/// The failure that the client is told.
pub(crate) async fn delete_matching(
    resource: &TableResource,
    services: &Services,
    request: &Request,
    query: Query,
) -> Answer<Response> {
    let media = Media::negotiate(&request.head.headers)?;
    let run = resource.table.query(query);
    let mut run = run.map_err(|error| store_failure(&services.metrics, error))?;
    let mut deleted = false;
    loop {
        let (database, schema) = (Arc::clone(&resource.database), Arc::clone(&resource.schema));
        let (next, found) = services
            .block_on_pool(move || {
                let found = find(&database, &schema, &mut run);
                (run, found)
            })
            .await?;
        run = next;
        let (found, is_last) = found.map_err(|error| store_failure(&services.metrics, error))?;
        for batch in found.chunks(DELETE_BATCH_RECORDS) {
            deleted |= delete_found(resource, services, batch).await?;
        }
        if is_last {
            return reply::value(StatusCode::OK, media, deleted.to_string().as_bytes());
        }
    }
}

/// Deletes records that are still as the query found them; one that has changed since may no longer match, and stays.
async fn delete_found(
    resource: &TableResource,
    services: &Services,
    found: &[Found],
) -> Answer<bool> {
    let deletions = found.iter().map(|(key, version)| {
        let (table, when) = (resource.table.clone(), Precondition::VersionIn(vec![*version]));
        let op = Op::Delete { table, key: key.clone(), when, extra: Bytes::new() };
        commit(resource, services, vec![op])
    });
    let mut deleted = false;
    for answer in join_all(deletions).await {
        match answer {
            Ok(_) => deleted = true,
            Err(failure) if failure.code == Code::PreconditionFailed => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(deleted)
}

/// A record that a query finds, by key and version.
type Found = (Key, u64);

/// The next records that a query finds, and whether they are the last.
fn find(
    database: &harper_store::Database,
    schema: &TableSchema,
    run: &mut harper_store::QueryRun,
) -> Result<(Vec<Found>, bool), Error> {
    let txn = database.read()?;
    let name = &schema.key_attribute().name;
    let mut found = Vec::new();
    let budget = Budget { rows_max: 10_000, bytes_max: 1 << 20 };
    let step = run.step(&txn, budget, &mut |record| {
        let members = json::members(record.body).unwrap_or_default();
        let key =
            members.iter().find(|(member, _)| member == name).map_or("null", |(_, key)| key.get());
        found.push(Key::from_json(schema, key).map(|key| (key, record.meta.version)));
    })?;
    Ok((found.into_iter().collect::<Result<_, _>>()?, step == Step::Done))
}

/// Hands operations to the store and waits until they are durable.
async fn commit(
    resource: &TableResource,
    services: &Services,
    ops: Vec<Op>,
) -> Answer<Vec<Outcome>> {
    let (done, result) = oneshot::channel();
    let answer = Box::new(move |outcomes| {
        // the client may have gone away
        let _ = done.send(outcomes);
    });
    let failure = |error| store_failure(&services.metrics, error);
    resource.database.submit(ops, answer).map_err(failure)?;
    let waited = tokio::time::timeout(services.config.storage.queue_time_max, result).await;
    let Ok(result) = waited else {
        services.metrics.rejected(Rejected::WriteQueue);
        let sentence = "The write took too long; it may still be carried out";
        return Err(Failure::new(Code::Overloaded, sentence));
    };
    result.map_err(|_| failure(Error::Stopped))?.map_err(failure)
}
