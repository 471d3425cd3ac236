//! Threads for work that may block: cold reads, files, password hashing, large compressions. A worker never does
//! such work itself. The queue is bounded; when it is full the caller is told at once.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long work under way waits before it looks for room again.
const ROOM_AGAIN: Duration = Duration::from_millis(5);

struct Job {
    queued: Instant,
    work: Box<dyn FnOnce() + Send>,
}

/// Since when the first of the queue waits, as far as it is known without asking the queue.
struct First {
    start: Instant,
    nanos: AtomicU64,
}

impl First {
    fn set(&self, since: Instant) {
        let nanos = since.saturating_duration_since(self.start).as_nanos();
        self.nanos.store(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Instant {
        self.start + Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

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

/// Most threads that may be told to end at once.
const ENDS_MAX: usize = 1024;

/// A handle on the threads; cheap to clone. They end when the last handle is gone.
#[derive(Clone)]
pub(crate) struct Pool {
    jobs: Sender<Job>,
    first: Arc<First>,
    threads: Arc<Mutex<Threads>>,
}

/// The threads of a pool.
struct Threads {
    name: String,
    queue: Receiver<Job>,
    first: Arc<First>,
    /// Each message ends one thread, whichever takes it.
    end: Sender<()>,
    ends: Receiver<()>,
    /// How many there are, those that were told to end not counted.
    count: usize,
    /// How many there ever were.
    started: usize,
}

impl Pool {
    /// Starts `threads` threads called `name` with room for `queue_max` waiting jobs.
    ///
    /// # Errors
    /// The system's refusal of a thread.
    pub(crate) fn start(name: &str, threads: usize, queue_max: usize) -> std::io::Result<Self> {
        let (jobs, queue) = bounded::<Job>(queue_max);
        let (end, ends) = bounded(ENDS_MAX);
        let first = Arc::new(First { start: Instant::now(), nanos: AtomicU64::new(0) });
        let all = Threads {
            name: name.to_owned(),
            queue,
            first: Arc::clone(&first),
            end,
            ends,
            count: 0,
            started: 0,
        };
        let pool = Self { jobs, first, threads: Arc::new(Mutex::new(all)) };
        pool.resize(threads)?;
        Ok(pool)
    }

    /// Has `count` threads from now on; one too many ends when it has done what it is at.
    ///
    /// # Errors
    /// The system's refusal of a thread.
    pub(crate) fn resize(&self, count: usize) -> std::io::Result<()> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        while threads.count < count {
            // one that was told to end, and has not heard it yet, may stay
            if threads.ends.try_recv().is_err() {
                threads.start_one()?;
            }
            threads.count += 1;
        }
        while threads.count > count && threads.end.try_send(()).is_ok() {
            threads.count -= 1;
        }
        Ok(())
    }

    /// Queues `work`; its result arrives on this worker.
    ///
    /// # Errors
    /// [`PoolError::Full`] at once when the queue is full, [`PoolError::Failed`] later when the work panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (job, result) = self.job(work);
        match self.jobs.try_send(job) {
            Ok(()) => result.await.map_err(|_| PoolError::Failed),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(PoolError::Full),
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
        let (mut job, result) = self.job(work);
        while let Err(TrySendError::Full(refused)) = self.jobs.try_send(job) {
            job = refused;
            tokio::time::sleep(ROOM_AGAIN).await;
        }
        result.await.map_err(|_| PoolError::Failed)
    }

    /// Work as it is queued, and where its result arrives.
    fn job<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> (Job, oneshot::Receiver<T>) {
        let queued = Instant::now();
        if self.jobs.is_empty() {
            self.first.set(queued);
        }
        let (done, result) = oneshot::channel();
        let work = Box::new(move || {
            // work whose caller has gone away is of no use to anyone
            if !done.is_closed() {
                let _ = done.send(work());
            }
        });
        (Job { queued, work }, result)
    }

    /// How long the first of the queue has waited.
    #[must_use]
    pub(crate) fn wait(&self) -> Duration {
        if self.jobs.is_empty() { Duration::ZERO } else { self.first.get().elapsed() }
    }

    /// Jobs waiting now.
    #[must_use]
    pub(crate) fn waiting(&self) -> usize {
        self.jobs.len()
    }
}

impl Threads {
    fn start_one(&mut self) -> std::io::Result<()> {
        let (queue, ends) = (self.queue.clone(), self.ends.clone());
        let first = Arc::clone(&self.first);
        let name = format!("{}/{}", self.name, self.started);
        std::thread::Builder::new().name(name).spawn(move || run(&queue, &ends, &first))?;
        self.started += 1;
        Ok(())
    }
}

fn run(queue: &Receiver<Job>, ends: &Receiver<()>, first: &First) {
    loop {
        let job = select! {
            recv(queue) -> job => job.ok(),
            recv(ends) -> _ => None,
        };
        let Some(Job { queued, work }) = job else { return };
        // what is first now was queued later
        first.set(queued);
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
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
    fn threads_come_and_go_while_work_is_done() {
        let pool = Pool::start("resized", 1, 64).unwrap();
        let named = || {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            let names =
                tasks.flat_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")));
            names.filter(|name| name.starts_with("resized/")).count()
        };
        for count in [4, 1, 3, 2] {
            pool.resize(count).unwrap();
            let begun = std::time::Instant::now();
            while named() != count {
                assert_eq!(block_on(pool.run(|| 1)), Ok(1));
                assert!(begun.elapsed() < Duration::from_secs(20), "{} threads", named());
            }
        }
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
            assert_eq!(pool.wait(), Duration::ZERO, "what is being done does not wait");
            assert!(queued.as_mut().poll(&mut cx).is_pending());
            std::thread::sleep(Duration::from_millis(20));
            let waits = pool.wait();
            assert!(waits >= Duration::from_millis(20) && waits < Duration::from_secs(10));
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
    }
}
