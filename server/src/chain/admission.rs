//! Requests that have waited too long.

use crate::error::{Answer, Code, Failure};
use crate::exchange::Request;
use crate::metrics::Rejected;
use crate::services::Services;

/// Refuses a request, whatever its method, when what is ready on this worker waits for longer than
/// `http.requestQueueLimit`: its client has likely given up, and work for it would make the others wait longer still.
pub(super) fn check(services: &Services, request: &Request) -> Answer<()> {
    let limit = services.config.http.queue_time_max;
    if limit.is_zero() || services.lag.wait(request.started) <= limit {
        return Ok(());
    }
    services.metrics.rejected(Rejected::QueueTime);
    let sentence = "The request has waited longer than http.requestQueueLimit; try again";
    Err(Failure::new(Code::Overloaded, sentence))
}
