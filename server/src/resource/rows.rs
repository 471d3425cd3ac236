//! The result of a query as a body: in slices, each read from its own snapshot and encoded at once, so that
//! neither the size of the result nor a slow client holds memory, a thread or a snapshot.

use super::failure::store_failure;
use super::guard;
use super::select::{self, Select};
use crate::auth::access::View;
use crate::content::Media;
use crate::error::Answer;
use crate::exchange::{Body, BodyError, Chunks};
use crate::metrics::WorkerMetrics;
use crate::pool::Pool;
use crate::services::Services;
use bytes::Bytes;
use harper_store::{Budget, Database, QueryRun, Step, TableSchema};
use std::sync::Arc;

/// What the first slice may cost: it runs on the worker, for most queries are small.
const FIRST: Budget = Budget { rows_max: 128, bytes_max: 16 * 1024 };
/// What a later slice may cost; those run on the pool.
const LATER: Budget = Budget { rows_max: 10_000, bytes_max: 64 * 1024 };

/// A query under way.
pub(crate) struct Rows {
    /// Where the records are.
    pub database: Arc<Database>,
    /// The plan and how far it has come.
    pub run: QueryRun,
    /// The type to encode in.
    pub media: Media,
    /// The attributes to return.
    pub select: Option<Select>,
    /// What the asker may see.
    pub view: View,
    /// What the attributes are.
    pub schema: Arc<TableSchema>,
    /// Counters of the worker that asked.
    pub metrics: Arc<WorkerMetrics>,
}

/// A part of the result.
struct Slice {
    bytes: Vec<u8>,
    is_last: bool,
}

impl Rows {
    /// The body: whole when the first slice is all, else a stream.
    ///
    /// # Errors
    /// What the first slice that returns something runs into; later errors break off the body.
    pub(crate) async fn body(mut self, services: &Services) -> Answer<Body> {
        let (open, _, _) = self.media.list_marks();
        let mut bytes = open.to_vec();
        let mut slice = self.slice(FIRST, true)?;
        // the head of the answer waits for the first record, so that a failing query gets its error status
        while slice.bytes.is_empty() && !slice.is_last {
            (self, slice) = services
                .block_on_pool(move || {
                    let slice = self.slice(LATER, true);
                    slice.map(|slice| (self, slice))
                })
                .await??;
        }
        bytes.append(&mut slice.bytes);
        if slice.is_last {
            return Ok(Body::whole(self.ended(bytes).into()).query_result());
        }
        Ok(Body::stream(self.stream(bytes.into(), services.pool.clone())).query_result())
    }

    fn ended(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.extend_from_slice(self.media.list_marks().2);
        bytes
    }

    fn stream(self, first: Bytes, pool: Pool) -> Chunks {
        let state = (Some(self), Some(first), pool);
        Box::pin(futures_util::stream::try_unfold(state, |(rows, first, pool)| async move {
            if let Some(first) = first {
                return Ok(Some((first, (rows, None, pool))));
            }
            let Some(mut rows) = rows else { return Ok(None) };
            let sliced =
                pool.go_on(move || rows.slice(LATER, false).map(|slice| (rows, slice))).await;
            let (rows, slice) = sliced
                .map_err(|error| BodyError(error.to_string()))?
                .map_err(|failure| BodyError(failure.message.into_owned()))?;
            let bytes = if slice.is_last { rows.ended(slice.bytes) } else { slice.bytes };
            let rows = (!slice.is_last).then_some(rows);
            Ok(Some((bytes.into(), (rows, None, pool))))
        }))
    }

    fn slice(&mut self, budget: Budget, is_first: bool) -> Answer<Slice> {
        let Self { database, run, media, select, view, schema, metrics } = self;
        let (_, separator, _) = media.list_marks();
        let txn = database.read().map_err(|error| store_failure(metrics, error))?;
        let mut bytes = Vec::with_capacity(1024);
        let mut failed = None;
        let step = run.step(&txn, budget, &mut |record| {
            if !bytes.is_empty() || !is_first {
                bytes.extend_from_slice(separator);
            }
            let encoded = guard::shown(view, record.body).and_then(|shown| {
                select::encode(*media, schema, select.as_ref(), &shown, &mut bytes)
            });
            failed = encoded.err().or(failed.take());
        });
        let step = step.map_err(|error| store_failure(metrics, error))?;
        failed.map_or(Ok(Slice { bytes, is_last: step == Step::Done }), Err)
    }
}
