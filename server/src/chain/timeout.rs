//! How long an answer may take to begin (`http.responseTimeout`), off by default.

use crate::error::{Answer, Code, Failure};
use crate::exchange::Response;
use crate::metrics::Rejected;
use crate::services::Services;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// Waits for the answer, but no longer than is configured, counted from `started`. Work that is given up is dropped;
/// what it has handed to the pool or to a database goes on.
///
/// # Errors
/// 503 when the time has passed.
pub(super) async fn within(
    services: &Services,
    started: Instant,
    answer: Pin<&mut impl Future<Output = Answer<Response>>>,
) -> Answer<Response> {
    let limit = services.config.http.response_timeout;
    if limit.is_zero() {
        return answer.await;
    }
    match tokio::time::timeout_at((started + limit).into(), answer).await {
        Ok(answer) => answer,
        Err(_) => {
            services.metrics.rejected(Rejected::ResponseTime);
            Err(refusal(limit))
        }
    }
}

fn refusal(limit: Duration) -> Box<Failure> {
    let limit = limit.as_millis();
    let sentence =
        format!("The answer did not begin within {limit} ms; a write may still be committed");
    Failure::new(Code::ResponseTimeout, sentence)
}
