//! What a request may use besides its data: the configuration, the blocking pool, this worker's counters and
//! remembered credentials.

use crate::auth::cache::{Ask, Credentials};
use crate::auth::users::User;
use crate::error::{Answer, Code, Failure};
use crate::exchange::Request;
use crate::headers::AnswerHeaders;
use crate::hub::Local;
use crate::lag::Lag;
use crate::metrics::{Rejected, WorkerMetrics};
use crate::pool::{Pool, PoolError};
use crate::ws;
use harper_config::Config;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// The services of one worker as they are now. A request takes one snapshot and keeps it to its end; a change of the
/// configuration makes another.
#[derive(Clone)]
pub(crate) struct Services {
    /// The configuration. Read it where it is used; whatever copies a value does not follow a change.
    pub config: Arc<Config>,
    /// Threads for blocking work.
    pub pool: Pool,
    /// This worker's counters.
    pub metrics: Arc<WorkerMetrics>,
    /// Who is who.
    pub credentials: Rc<Credentials>,
    /// Who a loopback client without credentials is, where `authentication.authorizeLocal` says so.
    pub local_user: Rc<User>,
    /// Headers of answers, made from the configuration.
    pub headers: AnswerHeaders,
    /// Bytes of larger request bodies that the process holds now.
    pub bodies_bytes: Arc<AtomicUsize>,
    /// This worker's subscriptions.
    pub subscriptions: Rc<Local>,
    /// What may take a WebSocket before the routes are asked for it.
    pub sockets: Rc<[Rc<dyn ws::Layer>]>,
    /// How late this worker is.
    pub lag: Rc<Lag>,
    /// Whether connections end with their next answer: the process stops, or this worker is one too many.
    pub is_ending: Rc<Cell<bool>>,
}

impl Services {
    /// The same under another configuration. What is remembered, counted or held goes on.
    #[must_use]
    pub(crate) fn with_config(&self, config: Arc<Config>) -> Self {
        Self { headers: AnswerHeaders::new(&config), config, ..self.clone() }
    }

    /// What credentials of a request are judged by.
    #[must_use]
    pub(crate) fn ask<'a>(&'a self, request: &'a Request) -> Ask<'a> {
        Ask {
            settings: &self.config.authentication,
            address: request.client.address,
            method: request.head.method.as_str(),
            path: request.head.uri.path(),
            now: request.started,
            takes_refresh: request.interface.is_operations(),
        }
    }

    /// Runs blocking work and says what the client is told when there is no room for it.
    ///
    /// # Errors
    /// 503 when the pool's queue is full or has waited for `http.requestQueueLimit`, 500 when the work failed.
    pub(crate) async fn block_on_pool<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Answer<T> {
        let limit = self.config.http.queue_time_max;
        if !limit.is_zero() && self.pool.wait() > limit {
            self.metrics.rejected(Rejected::QueueTime);
            let sentence = "Work has waited longer than http.requestQueueLimit; try again";
            return Err(Failure::new(Code::Overloaded, sentence));
        }
        self.pool.run(work).await.map_err(|error| match error {
            PoolError::Full => {
                self.metrics.rejected(Rejected::PoolQueue);
                Failure::new(Code::Overloaded, "The server is busy; try again")
            }
            PoolError::Failed => Failure::internal("blocking work failed", &error),
        })
    }
}

#[cfg(test)]
mod alone {
    use super::*;
    use crate::auth::authority::Authority;
    use crate::hub::Hub;
    use std::time::Instant;

    impl Services {
        /// Those of a worker that is all there is, for tests.
        pub(crate) fn alone(
            config: Config,
            authority: &Arc<Authority>,
            hub: Arc<Hub>,
            metrics: Arc<WorkerMetrics>,
        ) -> Self {
            let pool = Pool::start("test", 1, 64).unwrap();
            let (users, own) = (Arc::clone(authority), Arc::clone(&metrics));
            let credentials = Credentials::new(Arc::clone(&users), pool.clone(), own, [7; 32]);
            let (own, limits) = (Arc::clone(&metrics), config.realtime);
            Self {
                subscriptions: Local::new(hub, pool.clone(), own, users, limits),
                headers: AnswerHeaders::new(&config),
                config: Arc::new(config),
                pool,
                metrics,
                credentials: Rc::new(credentials),
                local_user: Rc::new(User::local()),
                bodies_bytes: Arc::default(),
                lag: Rc::new(Lag::new(Instant::now())),
                sockets: Rc::new([]),
                is_ending: Rc::default(),
            }
        }
    }
}
