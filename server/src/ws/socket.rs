//! An open WebSocket: its frames both ways, its signs of life, and its end (RFC 6455 §5.5 and §7).
//!
//! One task polls it, and it has no buffer while it is idle.

use super::decode::{Arrived, Decoder, Limits, Message};
use super::{Close, Deflate, Handler, encode};
use crate::exchange::{Carrier, Duplex, Output, Task, linger};
use crate::metrics::{SocketEnd, WorkerMetrics};
use bytes::Bytes;
use harper_config::Http;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Bytes that wait to be taken, beyond which nobody is to send more.
const OUTPUT_BYTES_FULL: usize = 64 * 1024;
/// Bytes that wait to be taken, beyond which nothing more is read: pings are answered.
const OUTPUT_BYTES_MAX: usize = 4 * OUTPUT_BYTES_FULL;
/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;
/// Time for the client to take what is left, and to close in its turn (RFC 6455 §7.1.1).
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);

thread_local! {
    /// What is read goes here first.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// An open socket.
pub(crate) struct Socket {
    io: Box<dyn Duplex>,
    decoder: Decoder,
    deflate: Option<Deflate>,
    output: Output,
    /// Whether somebody has found it full.
    is_waited_for: bool,
    stage: Stage,
    /// None when whoever serves the socket looks at it.
    ending: Option<Task>,
    pulse: Pulse,
    metrics: Arc<WorkerMetrics>,
}

/// How far a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Messages go both ways.
    Open,
    /// The server has closed; what still comes is not looked at.
    Closing(SocketEnd),
    /// Both have closed; what waits is still to be taken.
    Closed(SocketEnd),
    /// There is nobody at the other end, or nobody who listens.
    Gone(SocketEnd),
}

/// Looks whether the client lives.
struct Pulse {
    /// Time without a sign of life, either way, after which the client is asked for one.
    interval: Duration,
    /// Time within which the client takes some of what waits.
    taking_max: Option<Duration>,
    timer: Pin<Box<Sleep>>,
    /// When something last came.
    heard: Instant,
    /// When something was last sent.
    sent: Instant,
    /// When the client was asked for a sign of life, if none has come since.
    asked: Option<Instant>,
    /// Since when something waits of which nothing was taken.
    waits: Option<Instant>,
}

/// What it is time for.
#[derive(Clone, Copy)]
enum Beat {
    /// To ask for a sign of life.
    Ask,
    /// To give the client up.
    End,
}

/// What has happened on a socket.
#[derive(Debug)]
pub(crate) enum Received {
    /// A message.
    Message(Message),
    /// There is room again for what found none.
    Room,
    /// The socket is closed, or being closed.
    End,
}

impl Socket {
    /// What opens a socket with the settings of now.
    pub(super) fn opener(
        http: &Http,
        metrics: &Arc<WorkerMetrics>,
        deflate: Option<Deflate>,
    ) -> impl FnOnce(Carrier) -> Self + use<> {
        let settings = http.web_socket;
        // each sign of life also tells the connection that the client still takes what it is sent
        let taking_max = Some(http.timeouts.request).filter(|limit| !limit.is_zero());
        let half = taking_max.map_or(Duration::MAX, |limit| limit / 2);
        let (interval, metrics) = (settings.ping_interval.min(half), Arc::clone(metrics));
        let limits = Limits {
            frame_bytes_max: settings.frame_bytes_max,
            message_bytes_max: settings.message_bytes_max,
        };
        move |carrier| {
            metrics.web_socket.opened();
            let Carrier { io, first, ending } = carrier;
            let mut decoder = Decoder::new(limits, deflate.is_some());
            decoder.receive(&first);
            Self {
                io,
                decoder,
                deflate,
                output: Output::default(),
                is_waited_for: false,
                stage: Stage::Open,
                ending: Some(ending),
                pulse: Pulse::new(interval, taking_max),
                metrics,
            }
        }
    }

    /// Has the socket served, and closes it.
    pub(super) async fn serve(mut self, handler: Box<dyn Handler>) {
        let close = handler.serve(&mut self).await;
        self.close(&close);
        let finished = poll_fn(|cx| self.poll_end(cx));
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, finished).await;
        // the server closes first (RFC 6455 §7.1.1); a client that is gone hears nothing of it
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, self.io.shutdown()).await;
        if self.stage == Stage::Closed(SocketEnd::Violation) {
            // what a client is still sending would destroy the code that tells it why
            linger(&mut self.io).await;
        }
    }

    /// How messages may be compressed; none when they may not.
    #[must_use]
    pub(crate) fn deflate(&self) -> Option<Deflate> {
        self.deflate
    }

    /// Takes out what becomes ready when the server stops; without it, the socket is closed then.
    pub(crate) fn take_ending(&mut self) -> Option<Task> {
        self.ending.take()
    }

    /// Whether another message may be sent; if not, [`Received::Room`] tells when.
    pub(crate) fn has_room(&mut self) -> bool {
        self.is_waited_for = self.output.bytes() >= OUTPUT_BYTES_FULL;
        !self.is_waited_for
    }

    /// Waits until another message may be sent, without looking at what comes.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.output.bytes() >= OUTPUT_BYTES_FULL {
            ready!(self.poll_write(cx));
        }
        Poll::Ready(self.alive())
    }

    /// Waits until everything has been sent.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write(cx));
        Poll::Ready(self.alive())
    }

    fn alive(&self) -> io::Result<()> {
        match self.stage {
            Stage::Open => Ok(()),
            Stage::Closing(_) | Stage::Closed(_) | Stage::Gone(_) => {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    /// Sends a message that has been made a frame. What is sent after the end goes nowhere.
    pub(crate) fn send(&mut self, frame: Bytes) {
        if self.stage == Stage::Open {
            self.metrics.web_socket.sent(frame.len());
            self.put(frame);
        }
    }

    /// What has happened; writes what waits meanwhile.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        loop {
            if self.stage != Stage::Open {
                return Poll::Ready(Received::End);
            }
            if self.poll_write(cx).is_ready() && self.is_waited_for {
                self.is_waited_for = false;
                return Poll::Ready(Received::Room);
            }
            match self.decoder.next() {
                Ok(Some(arrived)) => {
                    if let Some(message) = self.arrived(arrived) {
                        return Poll::Ready(Received::Message(message));
                    }
                }
                Ok(None) => ready!(self.poll_more(cx)),
                Err(violation) => self.close_for(&violation, SocketEnd::Violation),
            }
        }
    }

    /// Closes the socket, if it is open.
    fn close(&mut self, close: &Close) {
        self.close_for(close, SocketEnd::Server);
    }

    fn close_for(&mut self, close: &Close, end: SocketEnd) {
        if self.stage == Stage::Open {
            self.put(encode::close(close));
            self.stage = Stage::Closing(end);
        }
    }

    /// Takes what has come; the message, if it is one.
    fn arrived(&mut self, arrived: Arrived) -> Option<Message> {
        match arrived {
            Arrived::Message(message) => {
                self.metrics.web_socket.received(message.payload.len());
                return Some(message);
            }
            Arrived::Ping(payload) => self.put(encode::pong(&payload)),
            Arrived::Pong => {}
            Arrived::Close(code) => self.closed(code),
        }
        None
    }

    /// The client has closed, which is answered with its own code.
    fn closed(&mut self, code: Option<u16>) {
        self.stage = match self.stage {
            Stage::Open => {
                self.put(match code {
                    Some(code) => encode::close(&Close::new(code, "")),
                    None => encode::bare_close(),
                });
                Stage::Closed(SocketEnd::Client)
            }
            Stage::Closing(end) => Stage::Closed(end),
            done => done,
        };
    }

    fn put(&mut self, frame: Bytes) {
        self.pulse.sent = Instant::now();
        self.output.put(frame);
    }

    /// Waits until more has come, or the time has.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(ending) = &mut self.ending
            && ending.as_mut().poll(cx).is_ready()
        {
            self.ending = None;
            self.close(&Close::new(Close::AWAY, "the server stops"));
            return Poll::Ready(());
        }
        if self.output.bytes() < OUTPUT_BYTES_MAX
            && let Poll::Ready(read) = self.poll_read(cx)
        {
            match read {
                Ok(count) if count > 0 => self.pulse.heard(),
                _ => self.gone(),
            }
            return Poll::Ready(());
        }
        match ready!(self.pulse.poll(cx)) {
            Beat::Ask => self.put(encode::ping()),
            Beat::End => self.stage = Stage::Gone(SocketEnd::Timeout),
        }
        Poll::Ready(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled();
            self.decoder.receive(bytes);
            Poll::Ready(Ok(bytes.len()))
        })
    }

    /// Writes what waits; ready when nothing does, or nothing can.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let before = self.output.bytes();
        match self.output.poll_write(&mut self.io, cx) {
            Poll::Ready(written) => {
                self.pulse.taken();
                if written.is_err() {
                    self.gone();
                }
                Poll::Ready(())
            }
            Poll::Pending => {
                if self.pulse.waits.is_none() || self.output.bytes() < before {
                    self.pulse.waits = Some(Instant::now());
                }
                Poll::Pending
            }
        }
    }

    /// Nobody is there any more.
    fn gone(&mut self) {
        self.output = Output::default();
        self.stage = Stage::Gone(match self.stage {
            Stage::Open => SocketEnd::Gone,
            Stage::Closing(end) | Stage::Closed(end) | Stage::Gone(end) => end,
        });
    }

    /// Sends what waits, and waits until the client has closed, too.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let is_written = self.poll_write(cx).is_ready();
            match self.stage {
                Stage::Gone(_) => return Poll::Ready(()),
                Stage::Closed(_) if is_written => return Poll::Ready(()),
                // a client that breaks the protocol is not listened to any longer
                Stage::Closing(end @ SocketEnd::Violation) if is_written => {
                    self.stage = Stage::Closed(end);
                    return Poll::Ready(());
                }
                Stage::Closed(_) | Stage::Closing(SocketEnd::Violation) => return Poll::Pending,
                Stage::Open | Stage::Closing(_) => {}
            }
            match self.decoder.next() {
                Ok(Some(Arrived::Close(code))) => self.closed(code),
                Ok(Some(_)) => {}
                Ok(None) => {
                    if !ready!(self.poll_read(cx)).is_ok_and(|count| count > 0) {
                        self.gone();
                    }
                }
                Err(_) => self.stage = Stage::Closed(SocketEnd::Violation),
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.metrics.web_socket.closed(match self.stage {
            Stage::Closed(end) | Stage::Gone(end) => end,
            Stage::Closing(_) | Stage::Open => SocketEnd::Gone,
        });
    }
}

impl Pulse {
    fn new(interval: Duration, taking_max: Option<Duration>) -> Self {
        let (now, timer) = (Instant::now(), Box::pin(sleep(interval)));
        Self { interval, taking_max, timer, heard: now, sent: now, asked: None, waits: None }
    }

    fn heard(&mut self) {
        self.heard = Instant::now();
        self.asked = None;
    }

    /// All that waited has been taken; a question that waited, too, has only now been put.
    fn taken(&mut self) {
        if self.waits.take().is_some() && self.asked.is_some() {
            self.asked = Some(Instant::now());
        }
    }

    /// What is next, and when. A client that only sends is asked, too: on HTTP/2 it is known by what it is sent whether a
    /// stream gets on.
    fn next(&self) -> (Instant, Beat) {
        let ask = (self.heard.min(self.sent) + self.interval, Beat::Ask);
        let silent = self.asked.map(|asked| (asked + self.interval, Beat::End));
        // what waits is before the question, and it is known how that gets on
        let stuck = self.waits.zip(self.taking_max);
        let stuck = stuck.map(|(since, max)| (since + max, Beat::End));
        stuck.or(silent).unwrap_or(ask)
    }

    /// Ready when the client is to be asked, or given up.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Beat> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let (due, beat) = self.next();
            let now = Instant::now();
            if due <= now {
                self.asked = Some(now);
                self.timer.as_mut().reset(now + self.interval);
                return Poll::Ready(beat);
            }
            self.timer.as_mut().reset(due);
        }
    }
}
