//! The body of a request, as it arrives.

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Frame;
use http_body_util::BodyExt;
use std::cell::Cell;
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What is read of a body that nobody wants, so that the connection can go on: closing it while the client still sends
/// could lose the answer (RFC 9112 §9.6).
const UNWANTED_BYTES_MAX: usize = 64 * 1024;
/// Time for it.
const UNWANTED_TIME_MAX: Duration = Duration::from_secs(1);

/// Where a request body comes from.
pub(crate) enum RequestBody {
    /// There is none, or it has been read.
    Empty,
    /// From the connection.
    Incoming(Incoming),
}

/// A body that a connection receives.
pub(crate) struct Incoming {
    body: hyper::body::Incoming,
    until: Option<Instant>,
    broken_off: Option<BrokenOff>,
}

/// Whether a body ended before it was whole, for one who has handed it on; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct BrokenOff(Rc<Cell<bool>>);

impl BrokenOff {
    /// Whether that has been seen.
    #[must_use]
    pub(crate) fn is_seen(&self) -> bool {
        self.0.get()
    }
}

impl RequestBody {
    /// The body that hyper hands over; `until` is when it must have come whole, where the connection does not see to that.
    #[must_use]
    pub(crate) fn new(body: hyper::body::Incoming, until: Option<Instant>) -> Self {
        if hyper::body::Body::is_end_stream(&body) {
            Self::Empty
        } else {
            Self::Incoming(Incoming { body, until, broken_off: None })
        }
    }

    /// What will tell whether it is broken off; none when there is nothing left of it.
    pub(crate) fn watch(&mut self) -> Option<BrokenOff> {
        match self {
            Self::Empty => None,
            Self::Incoming(body) => Some(body.broken_off.get_or_insert_default().clone()),
        }
    }

    /// Reads and drops what is left of the body; false when that is too much, and the connection has to be closed.
    pub(crate) async fn drain(self, headers: &HeaderMap) -> bool {
        let Self::Incoming(mut body) = self else { return true };
        // a client that waits for 100 has sent nothing yet, and is not asked to
        if headers.contains_key(header::EXPECT) {
            return false;
        }
        let read = async {
            let mut left = UNWANTED_BYTES_MAX;
            while let Some(frame) = body.frame().await {
                let len = frame.ok()?.data_ref().map_or(0, Bytes::len);
                left = left.checked_sub(len)?;
            }
            Some(())
        };
        tokio::time::timeout(UNWANTED_TIME_MAX, read).await.is_ok_and(|read| read.is_some())
    }
}

impl Incoming {
    /// The next part; none after the last. An error of kind `TimedOut` is a client that was too slow; the text of any other says
    /// what is wrong with what it sent.
    pub(crate) async fn frame(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        let frame = match self.until {
            None => self.body.frame().await,
            Some(until) => match tokio::time::timeout_at(until.into(), self.body.frame()).await {
                Ok(frame) => frame,
                Err(_) => return Some(Err(io::ErrorKind::TimedOut.into())),
            },
        };
        frame.map(|frame| {
            frame.map_err(|error| {
                if let Some(broken_off) = &self.broken_off {
                    broken_off.0.set(true);
                }
                cause(&error)
            })
        })
    }
}

/// What broke a body off: the connection gives its reason as the source of the error.
fn cause(error: &hyper::Error) -> io::Error {
    match error.source().and_then(|cause| cause.downcast_ref::<io::Error>()) {
        Some(cause) => io::Error::new(cause.kind(), cause.to_string()),
        None => io::Error::other(error.to_string()),
    }
}
