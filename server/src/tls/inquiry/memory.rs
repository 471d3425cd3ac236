//! What has been found out, for as long as it holds, and what is being found out, so that nobody is asked twice at once.

use crate::metrics::Level;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::task::spawn_local;

/// No answer is remembered for longer, whatever it says.
const TIME_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// An answer to a question.
pub(super) struct Answer<T> {
    pub(super) value: T,
    /// When it was made; none replaces one that was made later.
    pub(super) made: SystemTime,
    /// For how long nobody waits for a newer one.
    pub(super) used: Duration,
    /// For how long it goes on while no newer one can be had.
    pub(super) holds: Duration,
    /// What it counts.
    pub(super) weight: usize,
}

/// That there is none.
pub(super) struct Failure<T> {
    /// What stands for it, unless an earlier answer goes on.
    pub(super) value: T,
    /// How soon it is asked again.
    pub(super) retry: Duration,
    /// What it counts.
    pub(super) weight: usize,
}

/// How questions of one kind are kept.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// What all answers together may count.
    pub(super) weight_max: usize,
    /// How long an answer may take; a newer one is asked for so much ahead of time.
    pub(super) timeout: Duration,
}

/// An answer, or what stands for one, and its times.
struct Kept<T> {
    value: T,
    made: SystemTime,
    /// From when on it is asked for anew.
    fresh_until: Instant,
    /// From when on that is waited for.
    used_until: Instant,
    /// Until when a failure does not replace it.
    holds_until: Instant,
    weight: usize,
}

impl<T> Kept<T> {
    /// What is kept of an answer, or of a failure with what was known before.
    fn new(came: Result<Answer<T>, Failure<T>>, old: Option<Self>, ahead: Duration) -> Self {
        let now = Instant::now();
        let after = |time: Duration| now + time.min(TIME_MAX);
        let fresh = |used: Duration| after(used - (used / 10).max(ahead).min(used / 2));
        match (came, old) {
            (Ok(Answer { value, made, used, holds, weight }), _) => Self {
                value,
                made,
                fresh_until: fresh(used),
                used_until: after(used),
                holds_until: after(holds.max(used)),
                weight,
            },
            (Err(Failure { retry, .. }), Some(old)) if now < old.holds_until => Self {
                fresh_until: fresh(retry).min(old.holds_until),
                used_until: after(retry).min(old.holds_until),
                ..old
            },
            (Err(Failure { value, retry, weight }), old) => Self {
                value,
                made: old.map_or(SystemTime::UNIX_EPOCH, |old| old.made),
                fresh_until: fresh(retry),
                used_until: after(retry),
                holds_until: now,
                weight,
            },
        }
    }
}

/// What is kept, and in which order it ends.
struct Shelf<K, T> {
    kept: HashMap<Rc<K>, Kept<T>>,
    by_end: BTreeSet<(Instant, Rc<K>)>,
    weight: usize,
}

impl<K: Eq + Hash + Ord, T> Shelf<K, T> {
    fn take(&mut self, key: &K) -> Option<Kept<T>> {
        let (key, kept) = self.kept.remove_entry(key)?;
        self.by_end.remove(&(kept.holds_until, key));
        self.weight -= kept.weight;
        Some(kept)
    }

    fn put(&mut self, key: Rc<K>, kept: Kept<T>) {
        self.weight += kept.weight;
        self.by_end.insert((kept.holds_until, Rc::clone(&key)));
        self.kept.insert(key, kept);
    }

    /// Forgets what ends first until there is room for so much.
    fn make_room(&mut self, weight: usize, weight_max: usize) {
        while self.weight + weight > weight_max {
            let Some((_, first)) = self.by_end.first().cloned() else { return };
            self.take(&first);
        }
    }
}

/// The answers to questions of one kind.
pub(super) struct Memory<K, T: Clone> {
    shelf: RefCell<Shelf<K, T>>,
    under_way: RefCell<HashMap<Rc<K>, Shared<LocalBoxFuture<'static, T>>>>,
    size: Arc<Level>,
}

impl<K: Eq + Hash + Ord + 'static, T: Clone + 'static> Memory<K, T> {
    /// One that knows nothing; it tells in `size` how much it remembers.
    #[must_use]
    pub(super) fn new(size: Arc<Level>) -> Rc<Self> {
        let shelf = Shelf { kept: HashMap::new(), by_end: BTreeSet::new(), weight: 0 };
        Rc::new(Self { shelf: shelf.into(), under_way: RefCell::default(), size })
    }

    /// When the newest answer was made that is known.
    #[must_use]
    pub(super) fn newest(&self, key: &K) -> SystemTime {
        self.shelf.borrow().kept.get(key).map_or(SystemTime::UNIX_EPOCH, |kept| kept.made)
    }

    /// The answer to a question: the one that is known, the one that is awaited, else what comes of `ask`. When its end is near,
    /// that is asked for ahead of time, and nobody waits for it. A failure does not replace an answer that still holds.
    pub(super) async fn get(
        self: &Rc<Self>,
        key: K,
        bounds: Bounds,
        ask: impl Future<Output = Result<Answer<T>, Failure<T>>> + 'static,
    ) -> T {
        let now = Instant::now();
        let used = |kept: &Kept<T>| {
            (now < kept.used_until).then(|| (kept.value.clone(), now < kept.fresh_until))
        };
        let known = self.shelf.borrow().kept.get(&key).and_then(used);
        match known {
            Some((value, is_fresh)) => {
                if !is_fresh {
                    drop(self.ask(key, bounds, ask));
                }
                value
            }
            None => self.ask(key, bounds, ask).await,
        }
    }

    fn ask(
        self: &Rc<Self>,
        key: K,
        bounds: Bounds,
        ask: impl Future<Output = Result<Answer<T>, Failure<T>>> + 'static,
    ) -> Shared<LocalBoxFuture<'static, T>> {
        if let Some(asked) = self.under_way.borrow().get(&key) {
            return asked.clone();
        }
        let key = Rc::new(key);
        let (memory, own) = (Rc::clone(self), Rc::clone(&key));
        let asked = async move {
            let came = ask.await;
            memory.under_way.borrow_mut().remove(&own);
            memory.keep(own, came, bounds)
        };
        let asked = asked.boxed_local().shared();
        self.under_way.borrow_mut().insert(key, asked.clone());
        // it goes on when the client that has asked goes away
        spawn_local(asked.clone());
        asked
    }

    /// Remembers what came of a question, and tells what holds now.
    fn keep(&self, key: Rc<K>, came: Result<Answer<T>, Failure<T>>, bounds: Bounds) -> T {
        let mut shelf = self.shelf.borrow_mut();
        let before = shelf.kept.len();
        let kept = Kept::new(came, shelf.take(&key), bounds.timeout);
        let value = kept.value.clone();
        shelf.make_room(kept.weight, bounds.weight_max);
        shelf.put(key, kept);
        self.size.add(shelf.kept.len() as i64 - before as i64);
        value
    }
}
