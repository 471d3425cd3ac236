//! What a request may use besides its data: the configuration, the blocking pool, this worker's counters and
//! remembered credentials.

use crate::auth::cache::Credentials;
use crate::auth::users::User;
use crate::error::{Answer, Code, Failure};
use crate::headers::AnswerHeaders;
use crate::metrics::{Rejected, WorkerMetrics};
use crate::pool::{Pool, PoolError};
use harper_config::Config;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// The services of one worker.
pub(crate) struct Services {
    /// The configuration.
    pub config: Arc<Config>,
    /// Threads for blocking work.
    pub pool: Pool,
    /// This worker's counters.
    pub metrics: Arc<WorkerMetrics>,
    /// Who is who.
    pub credentials: Credentials,
    /// Who a loopback client without credentials is, where `authentication.authorizeLocal` says so.
    pub local_user: Rc<User>,
    /// Headers of answers, made from the configuration.
    pub headers: AnswerHeaders,
    /// Bytes of larger request bodies that the process holds now.
    pub bodies_bytes: Arc<AtomicUsize>,
    /// Whether connections are ending because the process stops.
    pub draining: std::cell::Cell<bool>,
}

impl Services {
    /// Runs blocking work and says what the client is told when there is no room for it.
    ///
    /// # Errors
    /// 503 when the pool's queue is full, 500 when the work failed.
    pub(crate) async fn block_on_pool<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Answer<T> {
        self.pool.run(work).await.map_err(|error| match error {
            PoolError::Full => {
                self.metrics.rejected(Rejected::PoolQueue);
                Failure::new(Code::Overloaded, "The server is busy; try again")
            }
            PoolError::Failed => Failure::internal("blocking work failed", &error),
        })
    }
}
