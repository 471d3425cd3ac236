//! Threads for work that may block: cold reads, files, password hashing, large compressions. A worker never does
//! such work itself. The queue is bounded; when it is full the caller is told at once.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long work under way waits before it looks for room again.
const ROOM_AGAIN: Duration = Duration::from_millis(5);

type Job = Box<dyn FnOnce() + Send>;

/// Why a piece of work gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PoolError {
    /// As much work as allowed is waiting already.
    #[error("too much work is waiting")]
    Full,
    /// The work panicked.
    #[error("the work failed")]
    Failed,
}

/// A handle on the threads; cheap to clone. They end when the last handle is gone.
#[derive(Clone)]
pub(crate) struct Pool {
    jobs: Sender<Job>,
    rejected: Arc<AtomicU64>,
}

impl Pool {
    /// Starts `threads` threads called `name` with room for `queue_max` waiting jobs.
    ///
    /// # Errors
    /// The system's refusal of a thread.
    pub(crate) fn start(name: &str, threads: usize, queue_max: usize) -> std::io::Result<Self> {
        let (jobs, queue) = bounded::<Job>(queue_max);
        for number in 0..threads {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name(format!("{name}/{number}"))
                .spawn(move || run(&queue))?;
        }
        Ok(Self { jobs, rejected: Arc::default() })
    }

    /// Queues `work`; its result arrives on this worker.
    ///
    /// # Errors
    /// [`PoolError::Full`] at once when the queue is full, [`PoolError::Failed`] later when the work panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (job, result) = job(work);
        match self.jobs.try_send(job) {
            Ok(()) => result.await.map_err(|_| PoolError::Failed),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                Err(PoolError::Full)
            }
        }
    }

    /// The same for the next part of work that has begun: it waits for room, since an answer that is half sent cannot
    /// be refused any more.
    ///
    /// # Errors
    /// [`PoolError::Failed`] when the work panicked.
    pub(crate) async fn go_on<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (mut job, result) = job(work);
        while let Err(TrySendError::Full(refused)) = self.jobs.try_send(job) {
            job = refused;
            tokio::time::sleep(ROOM_AGAIN).await;
        }
        result.await.map_err(|_| PoolError::Failed)
    }

    /// Jobs waiting now.
    #[must_use]
    pub(crate) fn waiting(&self) -> usize {
        self.jobs.len()
    }

    /// Jobs refused since the start because the queue was full.
    #[must_use]
    pub(crate) fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }
}

/// Work as it is queued, and where its result arrives.
fn job<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> (Job, oneshot::Receiver<T>) {
    let (done, result) = oneshot::channel();
    let job = Box::new(move || {
        // work whose caller has gone away is of no use to anyone
        if !done.is_closed() {
            let _ = done.send(work());
        }
    });
    (job, result)
}

fn run(queue: &Receiver<Job>) {
    for job in queue {
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("a piece of blocking work panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn work_returns_its_result_and_a_panic_is_contained() {
        let pool = Pool::start("test", 1, 4).unwrap();
        assert_eq!(block_on(pool.run(|| 2 + 2)), Ok(4));
        assert_eq!(block_on(pool.run(|| -> u8 { panic!("on purpose") })), Err(PoolError::Failed));
        assert_eq!(block_on(pool.run(|| 1)), Ok(1));
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        let pool = Pool::start("test", 1, 1).unwrap();
        let (release, gate) = bounded::<()>(0);
        let (begun, started) = bounded::<()>(1);
        let refused = block_on(async {
            let blocked = pool.run(move || {
                let _ = begun.send(());
                let _ = gate.recv();
            });
            let queued = pool.run(|| ());
            tokio::pin!(blocked, queued);
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(blocked.as_mut().poll(&mut cx).is_pending());
            started.recv().unwrap();
            assert!(queued.as_mut().poll(&mut cx).is_pending());
            let refused = pool.run(|| ()).await;
            let later = pool.go_on(|| 7);
            tokio::pin!(later);
            assert!(later.as_mut().poll(&mut cx).is_pending());
            release.send(()).unwrap();
            assert_eq!(later.await, Ok(7), "work under way waits for room");
            blocked.await.unwrap();
            queued.await.unwrap();
            refused
        });
        assert_eq!(refused, Err(PoolError::Full));
        assert_eq!(pool.rejected(), 1);
    }
}
