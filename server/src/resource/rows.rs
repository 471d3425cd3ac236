//! The result of a query as a body: in slices, each read from its own snapshot and encoded at once, so that
//! neither the size of the result nor a slow client holds memory, a thread or a snapshot.

use super::failure::store_failure;
use super::guard;
use super::select::{Reading, RelatedLimits, Selection};
use crate::auth::access::View;
use crate::content::List;
use crate::error::{Answer, Code, Failure};
use crate::exchange::{Body, BodyError, Chunks};
use crate::metrics::{Rejected, WorkerMetrics};
use crate::pool::Pool;
use crate::services::Services;
use bytes::Bytes;
use harper_store::{Budget, Database, QueryRun, Record, Step};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the first slice may cost: it runs on the worker, for most queries are small.
const FIRST: Budget = Budget { rows_max: 128, bytes_max: 16 * 1024 };
/// What a later slice may cost; those run on the pool.
const LATER: Budget = Budget { rows_max: 10_000, bytes_max: 64 * 1024 };

/// A slice for which expressions are evaluated ends with the record that takes it beyond this time.
const EVALUATING_TIME_MAX: Duration = Duration::from_millis(20);

/// A query under way.
pub(crate) struct Rows {
    /// Where the records are.
    pub database: Arc<Database>,
    /// The plan and how far it has come.
    pub run: QueryRun,
    /// Where the records are written to.
    pub list: List,
    /// Bytes that may be held of a list that can only be sent whole.
    pub held_bytes_max: usize,
    /// The attributes to return.
    pub select: Option<Selection>,
    /// Related records that one record may bring with it.
    pub related: RelatedLimits,
    /// What the asker may see.
    pub view: View,
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
        let mut slice = match self.brings_related() {
            true => Slice { bytes: Vec::new(), is_last: false },
            false => self.slice(FIRST)?,
        };
        // the head of the answer waits for the first record, so that a failing query gets its error status
        while slice.bytes.is_empty() && !slice.is_last {
            (self, slice) = services
                .block_on_pool(move || {
                    let slice = self.slice(LATER);
                    slice.map(|slice| (self, slice))
                })
                .await??;
        }
        let bytes = slice.bytes.into();
        if slice.is_last {
            return Ok(Body::whole(bytes).query_result());
        }
        Ok(Body::stream(self.stream(bytes, services.pool.clone())).query_result())
    }

    fn stream(self, first: Bytes, pool: Pool) -> Chunks {
        let state = (Some(self), Some(first), pool);
        Box::pin(futures_util::stream::try_unfold(state, |(rows, first, pool)| async move {
            if let Some(first) = first {
                return Ok(Some((first, (rows, None, pool))));
            }
            let Some(mut rows) = rows else { return Ok(None) };
            let sliced = pool.go_on(move || rows.slice(LATER).map(|slice| (rows, slice))).await;
            let (rows, slice) = sliced
                .map_err(|error| BodyError(error.to_string()))?
                .map_err(|failure| BodyError(failure.message.into_owned()))?;
            let rows = (!slice.is_last).then_some(rows);
            Ok(Some((slice.bytes.into(), (rows, None, pool))))
        }))
    }

    fn brings_related(&self) -> bool {
        self.select.as_ref().is_some_and(Selection::has_related)
    }

    fn slice(&mut self, budget: Budget) -> Answer<Slice> {
        let evaluates = self.select.as_ref().is_some_and(Selection::evaluates);
        // no budget counts related records and evaluations, so each record that brings some is looked at by itself
        let rows_max = if self.brings_related() || evaluates { 1 } else { budget.rows_max };
        let until = evaluates.then(|| Instant::now() + EVALUATING_TIME_MAX);
        let is_late = || until.is_some_and(|until| until <= Instant::now());
        let Self { database, run, list, held_bytes_max, select, related, view, metrics } = self;
        let txn = database.read().map_err(|error| store_failure(metrics, error))?;
        let mut reading = Reading::new(&txn, metrics, *related);
        let (mut scratch, mut bytes, mut failed) = (Vec::new(), 0, None);
        let (mut rows, mut step) = (0, Step::More);
        while step == Step::More && rows < budget.rows_max && bytes < budget.bytes_max && !is_late()
        {
            let part = Budget { rows_max, ..budget };
            step = run
                .step(&txn, part, &mut |record| {
                    let pushed =
                        push(list, select.as_ref(), view, record, &mut reading, &mut scratch);
                    match pushed {
                        Ok(length) => bytes += length,
                        Err(failure) => failed = Some(failure),
                    }
                })
                .map_err(|error| store_failure(metrics, error))?;
            if let Some(failure) = failed {
                return Err(failure);
            }
            rows += rows_max;
        }
        if list.held_bytes() > *held_bytes_max {
            metrics.rejected(Rejected::HeldBytes);
            return Err(held_too_much(*held_bytes_max));
        }
        let is_last = step == Step::Done;
        Ok(Slice { bytes: list.take(is_last)?, is_last })
    }
}

/// Appends a record to the list as it is shown; returns the length of its text.
fn push<'t>(
    list: &mut List,
    select: Option<&Selection>,
    view: &View,
    record: Record<'t>,
    reading: &mut Reading<'t>,
    scratch: &mut Vec<u8>,
) -> Answer<usize> {
    let Some(select) = select else {
        let shown = guard::shown(view, record.body)?;
        list.push(true, &shown)?;
        return Ok(shown.len());
    };
    scratch.clear();
    if !select.push(record, reading, scratch)? {
        scratch.extend_from_slice(b"null");
    }
    list.push(select.is_record(), scratch)?;
    Ok(scratch.len())
}

fn held_too_much(bytes_max: usize) -> Box<Failure> {
    let sentence = format!(
        "A MessagePack list begins with its length, and this one has more than {bytes_max} bytes: \
         add limit( ), or ask for a type that can be streamed, such as application/cbor"
    );
    Failure::new(Code::InvalidQuery, sentence)
}
