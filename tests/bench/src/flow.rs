//! Messages on their way from publishers to subscribers, all in this process: how many may be under way, how many have
//! come, and how long each took.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use crate::{histogram::Histogram, load::settle};

/// After which nothing more comes of what came before publishing.
const QUIET: Duration = Duration::from_millis(200);
const WARM_UP: Duration = Duration::from_millis(500);
/// How long messages may still come after the window.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
const DRAIN_INTERVAL: Duration = Duration::from_millis(5);
/// How often a given rate hands out what is due.
const TICK: Duration = Duration::from_millis(1);

/// When a message may be published.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Pace {
    /// While fewer than so many have not come to all subscribers: as fast as the server is.
    Window(usize),
    /// So many a second, whatever the server does.
    Rate(f64),
}

/// The messages of one measurement. Publishers and subscribers run on one thread and share it.
pub(crate) struct Flow {
    /// Deliveries that one message makes.
    copies: u64,
    pace: Pace,
    /// Messages that may be published now.
    credit: Semaphore,
    /// Set when publishing begins: what comes before it is not of this flow.
    is_begun: Cell<bool>,
    /// Deliveries before that, such as records that are there already.
    early: Cell<u64>,
    published: Cell<u64>,
    delivered: Cell<u64>,
    latency: RefCell<Histogram>,
    /// Where stamps count from.
    epoch: Instant,
}

/// What came within the window; `before` and `after` are the probe's words at its two ends.
pub(crate) struct Delivered<P> {
    pub(crate) deliveries: u64,
    pub(crate) latency: Histogram,
    pub(crate) window: Duration,
    /// Deliveries of the whole run that never came.
    pub(crate) missing: u64,
    pub(crate) before: P,
    pub(crate) after: P,
}

impl Flow {
    pub(crate) fn new(copies: usize, pace: Pace) -> Rc<Self> {
        Rc::new(Self {
            copies: copies as u64,
            pace,
            credit: Semaphore::new(0),
            is_begun: Cell::new(false),
            early: Cell::new(0),
            published: Cell::new(0),
            delivered: Cell::new(0),
            latency: RefCell::new(Histogram::new()),
            epoch: Instant::now(),
        })
    }

    /// Waits until messages may be published, and says how many: up to `most`. They count as published.
    pub(crate) async fn turn(&self, most: usize) -> usize {
        let Ok(one) = self.credit.acquire().await else {
            // no more are wanted; the measurement drops who waits
            return std::future::pending().await;
        };
        one.forget();
        let more = self.credit.forget_permits(most.saturating_sub(1));
        self.published.set(self.published.get() + 1 + more as u64);
        1 + more
    }

    /// The time for a message to carry.
    pub(crate) fn stamp(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A message has come to a subscriber, with the stamp that it carries.
    pub(crate) fn arrived(&self, stamp: u64) {
        let latency = Duration::from_nanos(self.stamp().saturating_sub(stamp));
        self.latency.borrow_mut().record(latency);
        self.came(1);
    }

    /// So many messages have come to subscribers, without their stamps being looked at.
    pub(crate) fn came(&self, deliveries: u64) {
        if !self.is_begun.get() {
            self.early.set(self.early.get() + deliveries);
            return;
        }
        let before = self.delivered.get();
        let after = before + deliveries;
        self.delivered.set(after);
        if let Pace::Window(_) = self.pace {
            let whole = after / self.copies - before / self.copies;
            self.credit.add_permits(usize::try_from(whole).unwrap_or_default());
        }
    }

    fn missing(&self) -> u64 {
        (self.published.get() * self.copies).saturating_sub(self.delivered.get())
    }

    /// Waits until nothing comes any more, and lets the publishers begin.
    async fn begin(self: &Rc<Self>, connections: &mut JoinSet<Result<()>>) -> Result<()> {
        let mut early = None;
        while early != Some(self.early.get()) {
            early = Some(self.early.get());
            settle(connections, QUIET).await?;
        }
        self.is_begun.set(true);
        match self.pace {
            Pace::Window(messages) => self.credit.add_permits(messages),
            Pace::Rate(per_second) => {
                connections.spawn_local(Rc::clone(self).hand_out(per_second));
            }
        }
        Ok(())
    }

    /// Hands out what is due at a rate.
    async fn hand_out(self: Rc<Self>, per_second: f64) -> Result<()> {
        let begun = Instant::now();
        let mut given = 0;
        loop {
            sleep(TICK).await;
            let due = (begun.elapsed().as_secs_f64() * per_second) as usize;
            self.credit.add_permits(due - given);
            given = due;
        }
    }
}

/// Lets the connections work for a window, and waits for what is on its way then.
pub(crate) async fn measure<P>(
    flow: &Rc<Flow>,
    mut connections: JoinSet<Result<()>>,
    window: Duration,
    probe: impl Fn() -> Result<P>,
) -> Result<Delivered<P>> {
    flow.begin(&mut connections).await?;
    settle(&mut connections, WARM_UP).await?;
    let before = probe()?;
    flow.latency.replace(Histogram::new());
    let (begun, first) = (Instant::now(), flow.delivered.get());
    settle(&mut connections, window).await?;
    let window = begun.elapsed();
    let deliveries = flow.delivered.get() - first;
    let latency = flow.latency.replace(Histogram::new());
    let after = probe()?;

    flow.credit.close();
    let stopped = Instant::now();
    while flow.missing() > 0 && stopped.elapsed() < DRAIN_TIMEOUT {
        settle(&mut connections, DRAIN_INTERVAL).await?;
    }
    let missing = flow.missing();
    Ok(Delivered { deliveries, latency, window, missing, before, after })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::on_the_client;

    /// Publishes into the flow and gives each message to all `copies` subscribers at once, but every `lost`-th.
    async fn loop_back(flow: Rc<Flow>, copies: u64, lost: u64) -> Result<()> {
        for turn in 1.. {
            let messages = flow.turn(4).await as u64;
            assert!(messages <= 4);
            if turn % lost != 0 {
                flow.came(messages * copies);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn run(pace: Pace, lost: u64) -> Result<Delivered<()>> {
        let flow = Flow::new(3, pace);
        on_the_client(async move {
            let mut connections = JoinSet::new();
            connections.spawn_local(loop_back(Rc::clone(&flow), 3, lost));
            measure(&flow, connections, Duration::from_millis(100), || Ok(())).await
        })
    }

    #[test]
    fn a_window_goes_on_while_messages_come_and_ends_with_lost_ones() {
        let whole = run(Pace::Window(8), u64::MAX).unwrap();
        assert!(whole.deliveries > 100 && whole.missing == 0, "{}", whole.deliveries);
        // the window is used up by what never comes
        assert_eq!(run(Pace::Window(8), 2).unwrap().missing, 24);
    }

    #[test]
    fn a_rate_is_kept_and_counts_what_is_lost() {
        let all = run(Pace::Rate(2000.0), u64::MAX).unwrap();
        let per_second = all.deliveries as f64 / all.window.as_secs_f64();
        // a busy machine may be late, never early
        assert!(per_second > 600.0 && per_second < 9000.0, "{per_second}");
        assert!(run(Pace::Rate(2000.0), 2).unwrap().missing > 0);
    }

    #[test]
    fn a_stamp_becomes_a_latency() {
        let flow = Flow::new(1, Pace::Window(1));
        flow.came(7);
        flow.is_begun.set(true);
        flow.arrived(flow.stamp());
        assert!(flow.latency.borrow().quantile(1.0) < Duration::from_secs(1));
        assert_eq!(flow.delivered.get(), 1);
    }
}
