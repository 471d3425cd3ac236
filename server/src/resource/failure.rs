//! Refusals of the store, as the client is told of them.

use crate::error::{Code, Failure};
use crate::metrics::{Rejected, WorkerMetrics};
use harper_store::Error;
use http::{HeaderValue, header};

/// What the client is told of a refusal of the store.
#[must_use]
pub(crate) fn store_failure(metrics: &WorkerMetrics, error: Error) -> Box<Failure> {
    match error {
        Error::Invalid(invalid) => Failure::new(Code::InvalidBody, invalid.to_string()),
        Error::Unevaluated { .. } => {
            metrics.rejected(Rejected::ComputedValue);
            Failure::new(Code::InvalidBody, error.to_string())
        }
        Error::InvalidKey { .. } => Failure::new(Code::BadRequest, error.to_string()),
        Error::UnknownAttribute { .. } => Failure::new(Code::InvalidQuery, error.to_string()),
        Error::Exists => Failure::new(Code::Conflict, "A record with this key exists already"),
        Error::KeysExhausted { .. } => Failure::new(
            Code::Conflict,
            "A record has the greatest key of its type already, so the next cannot be made: give a key",
        ),
        Error::PreconditionFailed { .. } => Failure::new(
            Code::PreconditionFailed,
            "The record is not in the state that the request asks for",
        ),
        Error::SortTooLarge { .. } => {
            metrics.rejected(Rejected::SortRecords);
            Failure::new(Code::InvalidQuery, error.to_string())
        }
        Error::ScanTooLarge { .. } => {
            metrics.rejected(Rejected::ScanRecords);
            Failure::new(Code::InvalidQuery, error.to_string())
        }
        Error::Busy => {
            metrics.rejected(Rejected::WriteQueue);
            Failure::new(Code::Overloaded, "Too many writes are waiting; try again")
                .with(header::RETRY_AFTER, HeaderValue::from_static("1"))
        }
        Error::NoSpace { .. } | Error::SideFull { .. } | Error::MapFull => {
            metrics.rejected(Rejected::FreeSpace);
            tracing::error!(%error, "a write was refused");
            Failure::new(Code::InsufficientStorage, "There is not enough free space to write")
        }
        other => Failure::internal("the store failed", &other),
    }
}
