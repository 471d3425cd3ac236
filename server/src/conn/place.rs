//! Where the work of a connection's requests is done, one after the other.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Room for one piece of work at a time, made once for a connection.
///
/// Work begins as soon as it is handed over. hyper polls a request's answer only after it has made room to read what comes
/// next: an answer that waits for nothing has let go of the request's headers by then, so that the same buffer serves again.
pub(super) struct Place<F>(Rc<RefCell<Pin<Box<Option<F>>>>>);

/// Work that has begun.
pub(super) enum Begun<F: Future> {
    /// It waited for nothing.
    Done(Option<F::Output>),
    /// It waits, in its place.
    Waits(Place<F>),
}

impl<F> Default for Place<F> {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Box::pin(None))))
    }
}

impl<F: Future> Place<F> {
    /// Begins work. Whoever gets it polls it at once, so that nothing has to be woken before.
    pub(super) fn begin(&self, work: impl FnOnce() -> F) -> Begun<F> {
        self.0.borrow_mut().as_mut().set(Some(work()));
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Begun::Done(output),
            Poll::Pending => Begun::Waits(Self(Rc::clone(&self.0))),
        }
    }

    /// Goes on with the work, and makes room when it is done; none when there is none.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let mut place = self.0.borrow_mut();
        let Some(work) = place.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let polled = work.poll(cx).map(Some);
        if polled.is_ready() {
            place.as_mut().set(None);
        }
        polled
    }
}

/// What hyper takes is not boxed, and cannot fail.
impl<T, F: Future<Output = Box<T>>> Future for Begun<F> {
    type Output = Result<T, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let output = match self.get_mut() {
            Self::Done(output) => Poll::Ready(output.take()),
            Self::Waits(place) => place.poll(cx),
        };
        match output {
            Poll::Ready(Some(output)) => Poll::Ready(Ok(*output)),
            // polled after its end, which nobody does
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl<F: Future> Drop for Begun<F> {
    fn drop(&mut self) {
        if let Self::Waits(place) = self {
            place.0.borrow_mut().as_mut().set(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn work_begins_at_once_ends_where_it_waited_and_can_be_given_up() {
        let begun = Rc::new(Cell::new(0));
        let place = Place::default();
        let work = |wait: Option<oneshot::Receiver<u8>>| {
            let begun = Rc::clone(&begun);
            async move {
                begun.set(begun.get() + 1);
                Box::new(match wait {
                    Some(wait) => wait.await.unwrap(),
                    None => 7,
                })
            }
        };
        let first = place.begin(|| work(None));
        assert_eq!(begun.get(), 1);
        assert_eq!(first.await, Ok(7));
        let (told, wait) = oneshot::channel();
        let second = place.begin(|| work(Some(wait)));
        told.send(8).unwrap();
        assert_eq!(second.await, Ok(8));
        let (told, wait) = oneshot::channel();
        drop(place.begin(|| work(Some(wait))));
        assert!(told.is_closed(), "what waited is dropped");
        assert_eq!(place.begin(|| work(None)).await, Ok(7));
        assert_eq!(begun.get(), 4);
    }
}
