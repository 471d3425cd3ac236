//! One connection, from its first byte to its last: reads, writes, and asks the [`Client`] what to make of it. One task
//! does all of it, so that nothing of a client is shared.

use super::Broker;
use super::answer::Answered;
use super::client::{Client, Stop};
use super::connect;
use super::enter::{self, Entrance};
use super::message::Staged;
use crate::auth::Identity;
use crate::exchange::Held;
use crate::hub::Delivery;
use crate::metrics::Closed;
use crate::route::OwnRoutes;
use crate::services::Services;
use crate::tls::ClientCertificate;
use bytes::{Buf, BytesMut};
use harper_mqtt::Decoder;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Sleep, timeout};

/// Bytes of a CONNECT: it comes from anybody, and its identifier, user name, password and will may have 64 KiB each.
const CONNECT_BYTES_MAX: u32 = 256 * 1024;
/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;
/// Time for the last packet to be taken.
const LAST_WORD: Duration = Duration::from_secs(1);

thread_local! {
    /// What is read goes here first: a connection that is idle has no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What a connection takes from its worker.
pub(crate) trait Host {
    /// The services as they are now.
    fn services(&self) -> Rc<Services>;
    /// The routes as they are now.
    fn routes(&self) -> Rc<OwnRoutes>;
    /// The time, to a quarter of a second.
    fn now(&self) -> Instant;
}

/// Where a connection comes from and what it may use.
pub(crate) struct Context {
    /// Its worker.
    pub host: Rc<dyn Host>,
    /// The broker.
    pub broker: Arc<Broker>,
    /// Whose connection it is.
    pub address: IpAddr,
    /// Whether it is from this machine, made by no foreign page and passed on by no proxy.
    pub is_local: bool,
    /// The certificate that the client has shown to `mqtt.network.securePort`.
    pub certificate: Option<Rc<ClientCertificate>>,
    /// Who has logged in before MQTT began, as by the upgrade to WebSocket, where a certificate has been looked at already.
    pub identity: Option<Identity>,
}

/// What has happened.
enum Wake {
    Ending,
    Taken,
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Answered(Answered),
    Stored(Result<Vec<Staged>, Stop>),
    Told(Delivery),
    Time,
}

/// Serves a connection until it ends. When `ending` is ready, the client is sent elsewhere.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut io: S,
    context: Context,
    ending: impl Future<Output = ()>,
) -> Closed {
    let mut ending = pin!(ending);
    let services = context.host.services();
    let limit = services.config.mqtt.timeout;
    let mut input = BytesMut::new();
    let mut decoder = Decoder::server(CONNECT_BYTES_MAX);
    let entrance = Entrance {
        io: &mut io,
        decoder: &mut decoder,
        input: &mut input,
        held: Held::default(),
        total: Arc::clone(&context.broker.entering),
    };
    let entered = tokio::select! {
        entered = timeout(limit, entrance.enter(&context)) => entered,
        () = &mut ending => return Closed::Drain,
    };
    let (connect, admitted) = match entered {
        Ok(Ok(entered)) => entered,
        Ok(Err(closed)) => return closed,
        Err(_) => return Closed::Timeout,
    };
    // from here on something is stored, and nothing is given up half way
    let mut client = match connect::begin(context, &connect, admitted).await {
        Ok(client) => client,
        Err((context, connack)) => {
            enter::refuse(&mut io, &context, connect.version, connack).await;
            return Closed::Normal;
        }
    };
    decoder.set_bytes_max(services.config.mqtt.packet_bytes_max);
    drop((connect, services));
    let stop = run(&mut io, &mut client, &mut decoder, &mut input, ending).await;
    end(&mut io, client, stop).await
}

pub(super) async fn last_word<S: AsyncWrite + Unpin>(io: &mut S, output: &[u8]) {
    // a client that does not take it has gone
    let _ = timeout(LAST_WORD, async {
        io.write_all(output).await?;
        io.shutdown().await
    })
    .await;
}

async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    client: &mut Client,
    decoder: &mut Decoder,
    input: &mut BytesMut,
    mut ending: Pin<&mut impl Future<Output = ()>>,
) -> Stop {
    let mut taken = pin!(client.claim.taken());
    let mut clock = Clock::default();
    loop {
        match handle_all(client, decoder, input).await {
            Ok(()) => {}
            Err(stop) => return stop,
        }
        clock.set(client.deadline());
        let takes_input = client.takes_input();
        // what there is to say goes out with one write; beyond that the client has to take something first, if it can
        let is_much = !client.collects();
        let wake = poll_fn(|cx| {
            if ending.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Ending);
            }
            if taken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Taken);
            }
            if !is_much && let Poll::Ready(wake) = poll_client(client, cx) {
                return Poll::Ready(wake);
            }
            if let Poll::Ready(wrote) = poll_write(io, client, cx) {
                return Poll::Ready(Wake::Wrote(wrote));
            }
            if takes_input && let Poll::Ready(read) = poll_read(io, input, cx) {
                return Poll::Ready(Wake::Read(read));
            }
            if is_much && let Poll::Ready(wake) = poll_client(client, cx) {
                return Poll::Ready(wake);
            }
            clock.poll(cx).map(|()| Wake::Time)
        });
        let wake = wake.await;
        if !takes_input {
            client.heard();
        }
        let handled = match wake {
            Wake::Ending => Err(Stop::Ending),
            Wake::Taken => Err(Stop::Taken),
            Wake::Read(Ok(count)) if count > 0 => client.read(count),
            Wake::Wrote(Ok(count)) if count > 0 => client.written(count),
            Wake::Read(_) | Wake::Wrote(_) => Err(Stop::Gone),
            Wake::Answered(answered) => client.answered_all(answered),
            Wake::Stored(staged) => client.stored(staged),
            Wake::Told(delivery) => client.told_all(&delivery),
            Wake::Time => client.timed(),
        };
        if let Err(stop) = handled {
            return stop;
        }
    }
}

/// Handles every packet that has come whole.
async fn handle_all(
    client: &mut Client,
    decoder: &mut Decoder,
    input: &mut BytesMut,
) -> Result<(), Stop> {
    while client.takes_input() {
        match decoder.decode(input)? {
            Some(packet) => client.handle(packet).await?,
            None => break,
        }
        client.heard();
    }
    Ok(())
}

/// What there is to say to the client.
fn poll_client(client: &mut Client, cx: &mut task::Context<'_>) -> Poll<Wake> {
    if let Poll::Ready(answered) = client.poll_answer(cx) {
        return Poll::Ready(Wake::Answered(answered));
    }
    if let Poll::Ready(outcome) = client.poll_stored(cx) {
        return Poll::Ready(Wake::Stored(outcome));
    }
    if client.takes_messages()
        && let Poll::Ready(delivery) = client.outbox.poll_next(cx)
    {
        return Poll::Ready(Wake::Told(delivery));
    }
    Poll::Pending
}

pub(super) fn poll_read<S: AsyncRead + Unpin>(
    io: &mut S,
    input: &mut BytesMut,
    cx: &mut task::Context<'_>,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        let read = Pin::new(io).poll_read(cx, &mut buffer);
        read.map_ok(|()| {
            input.extend_from_slice(buffer.filled());
            buffer.filled().len()
        })
    })
}

/// Hands over what waits to be taken; once that is all, sees to it that TLS, or whatever is between, keeps nothing back.
fn poll_write<S: AsyncWrite + Unpin>(
    io: &mut S,
    client: &mut Client,
    cx: &mut task::Context<'_>,
) -> Poll<io::Result<usize>> {
    let output = &mut client.output;
    if output.is_empty() {
        return if client.is_kept_back { poll_flush(io, client, cx) } else { Poll::Pending };
    }
    let wrote = Pin::new(io).poll_write(cx, output);
    if let Poll::Ready(Ok(count)) = wrote {
        output.advance(count);
        client.is_kept_back = true;
        if output.is_empty() {
            // an idle connection has no buffer
            *output = BytesMut::new();
        }
    }
    wrote
}

fn poll_flush<S: AsyncWrite + Unpin>(
    io: &mut S,
    client: &mut Client,
    cx: &mut task::Context<'_>,
) -> Poll<io::Result<usize>> {
    match Pin::new(io).poll_flush(cx) {
        Poll::Ready(Ok(())) => {
            client.is_kept_back = false;
            Poll::Pending
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}

/// Says the last word and leaves.
async fn end<S: AsyncWrite + Unpin>(io: &mut S, mut client: Box<Client>, stop: Stop) -> Closed {
    client.say_goodbye(&stop);
    let output = std::mem::take(&mut client.output);
    let closed = stop.closed();
    if !matches!(stop, Stop::Gone) {
        last_word(io, &output).await;
    }
    client.finish(stop).await;
    closed
}

/// One timer, set anew only when it has to ring earlier.
#[derive(Default)]
struct Clock {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whether it is to ring.
    is_set: bool,
}

impl Clock {
    fn set(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        let deadline = tokio::time::Instant::from_std(deadline);
        match &mut self.sleep {
            Some(sleep) if self.is_set && sleep.deadline() <= deadline => {}
            Some(sleep) => sleep.as_mut().reset(deadline),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
        self.is_set = true;
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        let Some(sleep) = self.sleep.as_mut().filter(|_| self.is_set) else {
            return Poll::Pending;
        };
        let rung = sleep.as_mut().poll(cx);
        self.is_set = rung.is_pending();
        rung
    }
}
