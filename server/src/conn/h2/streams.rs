//! The open streams of a connection: what they wait for, and what a client does with them.

use super::super::{ConnState, Stage};
use crate::metrics::Rejected;
use harper_config::Http2;
use hyper::rt::Executor;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::task::spawn_local;

/// The streams of one connection. Unused on HTTP/1.
#[derive(Default)]
pub(crate) struct Streams {
    is_used: Cell<bool>,
    is_leaving: Cell<bool>,
    open: RefCell<Vec<Rc<Stream>>>,
    /// Bytes received since a stream last got on.
    idle_bytes: Cell<usize>,
    idle_bytes_max: Cell<usize>,
    /// Requests taken back by the client, less those that it let be answered.
    resets: Cell<u32>,
    resets_max: Cell<u32>,
}

/// An open stream.
struct Stream {
    /// Its place in the list.
    place: Cell<usize>,
    /// When it last got on.
    since: Cell<Instant>,
    is_cut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Streams {
    /// The connection speaks HTTP/2.
    pub(super) fn begin(&self, limits: &Http2) {
        self.is_used.set(true);
        let window = usize::try_from(limits.connection_window_bytes).unwrap_or(usize::MAX);
        self.idle_bytes_max.set(window.saturating_add(limits.idle_bytes_max));
        self.resets_max.set(limits.resets_max);
    }

    /// Whether the connection speaks HTTP/2.
    pub(crate) fn are_used(&self) -> bool {
        self.is_used.get()
    }

    /// Whether the client has been told to go.
    pub(crate) fn are_leaving(&self) -> bool {
        self.is_leaving.get()
    }

    /// Whether the client is to be told to go: it has not been yet.
    pub(super) fn leave(&self) -> bool {
        !self.is_leaving.replace(true)
    }

    /// Bytes arrived.
    pub(crate) fn received(&self, count: usize) {
        self.idle_bytes.set(self.idle_bytes.get().saturating_add(count));
    }

    /// What the client does that no client needs to do.
    pub(super) fn abuse(&self) -> Option<Rejected> {
        if self.idle_bytes.get() > self.idle_bytes_max.get() {
            Some(Rejected::Http2IdleBytes)
        } else if self.resets.get() > self.resets_max.get() {
            Some(Rejected::Http2Resets)
        } else {
            None
        }
    }

    /// Ends the streams that have not got on for longer than `limit`; zero is no limit.
    pub(crate) fn sweep(&self, now: Instant, limit: Duration) {
        for stream in self.open.borrow().iter() {
            let waits = now.saturating_duration_since(stream.since.get());
            if !limit.is_zero()
                && waits > limit
                && !stream.is_cut.replace(true)
                && let Some(waker) = stream.waker.borrow().as_ref()
            {
                waker.wake_by_ref();
            }
        }
    }
}

/// Runs the streams of a connection, each as a task of this worker.
#[derive(Clone)]
pub(super) struct Spawner(pub(super) Rc<ConnState>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Spawner {
    fn execute(&self, future: F) {
        spawn_local(watch(Open::begin(&self.0), future));
    }
}

impl Spawner {
    /// Runs what has taken a stream over, which has deadlines of its own.
    pub(super) fn tunnel(&self, future: impl Future<Output = ()> + 'static) {
        let open = Open::begin(&self.0);
        spawn_local(async move {
            let mut future = pin!(future);
            poll_fn(|cx| {
                open.got_on();
                future.as_mut().poll(cx)
            })
            .await;
        });
    }
}

/// Polls a stream's future until it is done, or the stream has waited for too long: it is then dropped, which resets it.
async fn watch(open: Open, future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    poll_fn(|cx| if open.gets_on(cx) { future.as_mut().poll(cx) } else { Poll::Ready(()) }).await;
}

/// A stream in the connection's books.
struct Open {
    state: Rc<ConnState>,
    stream: Rc<Stream>,
}

impl Open {
    fn begin(state: &Rc<ConnState>) -> Self {
        let mut open = state.streams.open.borrow_mut();
        let stream = Rc::new(Stream {
            place: Cell::new(open.len()),
            since: Cell::new(state.shared.coarse_now.get()),
            is_cut: Cell::new(false),
            waker: RefCell::default(),
        });
        open.push(Rc::clone(&stream));
        state.stage.set(Stage::Streams);
        Self { state: Rc::clone(state), stream }
    }

    /// Something that the stream waited for has come; false when that was too late.
    fn gets_on(&self, cx: &Context<'_>) -> bool {
        if self.stream.is_cut.get() {
            self.state.metrics().rejected(Rejected::Http2Stalled);
            return false;
        }
        self.got_on();
        let mut waker = self.stream.waker.borrow_mut();
        if waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        true
    }

    fn got_on(&self) {
        self.stream.since.set(self.state.shared.coarse_now.get());
        self.state.streams.idle_bytes.set(0);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.state.streams.open.borrow_mut();
        let place = self.stream.place.get();
        open.swap_remove(place);
        if let Some(moved) = open.get(place) {
            moved.place.set(place);
        }
        if open.is_empty() {
            self.state.enter(Stage::Idle);
        }
    }
}

/// A request whose answer has not begun.
pub(super) struct Unanswered {
    state: Rc<ConnState>,
    is_answered: bool,
}

impl Unanswered {
    pub(super) fn begin(state: &Rc<ConnState>) -> Self {
        Self { state: Rc::clone(state), is_answered: false }
    }

    /// Its answer has been made.
    pub(super) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let resets = &self.state.streams.resets;
        resets.set(match self.is_answered {
            true => resets.get().saturating_sub(1),
            false => resets.get().saturating_add(1),
        });
    }
}
