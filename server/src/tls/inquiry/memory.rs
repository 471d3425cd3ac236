//! What has been found out, for as long as it is good, and what is being found out, so that nobody is asked twice at once.

use crate::metrics::Level;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::spawn_local;

/// No answer is remembered for longer, whatever it says.
const TIME_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// An answer and its time.
#[derive(Clone)]
pub(super) struct Kept<T> {
    value: T,
    /// From when on it is asked for anew, while it is still good.
    fresh_until: Instant,
    good_until: Instant,
    weight: usize,
}

impl<T> Kept<T> {
    /// An answer that is good for `time` from now on.
    #[must_use]
    pub(super) fn new(value: T, time: Duration, weight: usize) -> Self {
        let (now, time) = (Instant::now(), time.min(TIME_MAX));
        Self { value, fresh_until: now + time * 9 / 10, good_until: now + time, weight }
    }
}

/// The answers to questions of one kind.
pub(super) struct Memory<K, T: Clone> {
    kept: RefCell<HashMap<K, Kept<T>>>,
    under_way: RefCell<HashMap<K, Shared<LocalBoxFuture<'static, T>>>>,
    size: Arc<Level>,
}

impl<K: Clone + Eq + Hash + 'static, T: Clone + 'static> Memory<K, T> {
    /// One that knows nothing; it tells in `size` how much it remembers.
    #[must_use]
    pub(super) fn new(size: Arc<Level>) -> Rc<Self> {
        Rc::new(Self { kept: RefCell::default(), under_way: RefCell::default(), size })
    }

    /// What was answered last, even if it is no longer good.
    #[must_use]
    pub(super) fn look(&self, key: &K) -> Option<T> {
        self.kept.borrow().get(key).map(|kept| kept.value.clone())
    }

    /// The answer to a question: the one that is known, the one that is awaited, else what comes of `ask`. When its end is near,
    /// that is asked for ahead of time, and nobody waits for it. All together weigh `weight_max` at most.
    pub(super) async fn get(
        self: &Rc<Self>,
        key: K,
        weight_max: usize,
        ask: impl Future<Output = Kept<T>> + 'static,
    ) -> T {
        let now = Instant::now();
        let known = self.kept.borrow().get(&key).filter(|kept| now < kept.good_until).cloned();
        match known {
            Some(known) if now < known.fresh_until => known.value,
            Some(known) => {
                drop(self.ask(key, weight_max, ask));
                known.value
            }
            None => self.ask(key, weight_max, ask).await,
        }
    }

    fn ask(
        self: &Rc<Self>,
        key: K,
        weight_max: usize,
        ask: impl Future<Output = Kept<T>> + 'static,
    ) -> Shared<LocalBoxFuture<'static, T>> {
        if let Some(asked) = self.under_way.borrow().get(&key) {
            return asked.clone();
        }
        let (memory, own) = (Rc::clone(self), key.clone());
        let asked = async move {
            let kept = ask.await;
            let value = kept.value.clone();
            memory.under_way.borrow_mut().remove(&own);
            memory.keep(own, kept, weight_max);
            value
        };
        let asked = asked.boxed_local().shared();
        self.under_way.borrow_mut().insert(key, asked.clone());
        // it goes on when the client that has asked goes away
        spawn_local(asked.clone());
        asked
    }

    /// Remembers an answer; those that end first make room for it.
    fn keep(&self, key: K, new: Kept<T>, weight_max: usize) {
        let mut kept = self.kept.borrow_mut();
        let before = kept.len();
        kept.remove(&key);
        let mut weight = kept.values().map(|kept| kept.weight).sum::<usize>() + new.weight;
        while weight > weight_max {
            let first = kept.iter().min_by_key(|(_, kept)| kept.good_until);
            let Some((first, ending)) = first.map(|(key, kept)| (key.clone(), kept.weight)) else {
                break;
            };
            kept.remove(&first);
            weight -= ending;
        }
        kept.insert(key, new);
        self.size.add(kept.len() as i64 - before as i64);
    }
}
