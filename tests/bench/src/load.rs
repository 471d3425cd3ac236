//! The client: a closed loop over keep-alive connections on one thread. Every connection sends a request, waits for the
//! whole answer, checks it, and sends the next. The same code drives every server, so what it costs cancels out.

mod http2;
pub(crate) mod tls;

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::{JoinSet, LocalSet, spawn_local, yield_now},
};

use crate::{
    Common,
    histogram::Histogram,
    process::{cores, on_core},
    wire,
};

/// How long the last requests may take after the window, before the run fails.
const FINISH_TIMEOUT: Duration = Duration::from_secs(20);
/// Time before the window, where nothing needs longer to settle.
const WARM_UP: Duration = Duration::from_millis(500);
const READ_BYTES: usize = 16 * 1024;

/// One run of the client.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) addr: SocketAddr,
    pub(crate) connections: usize,
    /// Time before the window, for caches and connections to settle.
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    /// Any other answer fails the run.
    pub(crate) expected: Expected,
}

/// What every answer must be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Expected {
    pub(crate) status: u16,
    pub(crate) body_bytes: usize,
}

impl Load {
    /// The load of a turn at `addr`, as the options say.
    pub(crate) fn of(common: &Common, addr: SocketAddr, expected: Expected) -> Self {
        Self {
            addr,
            connections: common.connections,
            warm_up: WARM_UP,
            window: common.window(),
            expected,
        }
    }
}

impl Expected {
    /// An answer like this one.
    pub(crate) fn like(answer: &wire::Answer) -> Self {
        Self { status: answer.status, body_bytes: answer.body.len() }
    }
}

/// What happened within the window; `before` and `after` are the probe's words at its two ends.
pub(crate) struct Measured<P> {
    pub(crate) latency: Histogram,
    pub(crate) window: Duration,
    pub(crate) before: P,
    pub(crate) after: P,
}

impl<P> Measured<P> {
    pub(crate) fn requests(&self) -> u64 {
        self.latency.count()
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.requests() as f64 / self.window.as_secs_f64()
    }
}

/// Runs the load on the client's core. `requests` makes the source of requests of each connection, `probe` is called at
/// the start and at the end of the window.
pub(crate) fn run<S, P>(
    load: Load,
    requests: impl Fn(usize) -> S,
    probe: impl Fn() -> Result<P>,
) -> Result<Measured<P>>
where
    S: FnMut(&mut Vec<u8>) + 'static,
{
    let sources: Vec<_> = (0..load.connections).map(requests).collect();
    let begin = |connections: &mut JoinSet<_>, shared: &Rc<Shared>| {
        for source in sources {
            connections.spawn_local(clear(load.addr, source, shared.clone()));
        }
    };
    on_the_client(drive(load, begin, probe))
}

/// Runs the load over TLS, with HTTP/1.1 or, with `streams` requests in flight on each connection, with HTTP/2.
pub(crate) fn run_secure<P>(
    load: Load,
    request: &Get,
    streams: Option<usize>,
    probe: impl Fn() -> Result<P>,
) -> Result<Measured<P>> {
    let begin = |connections: &mut JoinSet<_>, shared: &Rc<Shared>| {
        for _ in 0..load.connections {
            match streams {
                None => connections.spawn_local(secure(load.addr, request.bytes(), shared.clone())),
                Some(streams) => {
                    let each =
                        http2::connection(load.addr, request.clone(), streams, shared.clone());
                    connections.spawn_local(each)
                }
            };
        }
    };
    on_the_client(drive(load, begin, probe))
}

/// A GET.
#[derive(Clone)]
pub(crate) struct Get {
    pub(crate) path: &'static str,
    pub(crate) authorization: String,
}

impl Get {
    /// The request as HTTP/1.1 sends it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        wire::request("GET", self.path, &self.authorization, b"")
    }
}

/// Runs a future on a runtime of its own, on the client's core.
pub(crate) fn on_the_client<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    on_core(cores().map(|cores| cores.client), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, work)
    })?
}

struct Shared {
    expected: Expected,
    latency: RefCell<Histogram>,
    stop: Cell<bool>,
}

impl Shared {
    /// Counts an answer; a wrong one is an error.
    fn answered(&self, begun: Instant, got: Expected) -> Result<()> {
        self.latency.borrow_mut().record(begun.elapsed());
        if got != self.expected {
            bail!("the server answered {got:?} and not {:?}", self.expected);
        }
        Ok(())
    }
}

async fn drive<P>(
    load: Load,
    begin: impl FnOnce(&mut JoinSet<Result<()>>, &Rc<Shared>),
    probe: impl Fn() -> Result<P>,
) -> Result<Measured<P>> {
    let shared = Rc::new(Shared {
        expected: load.expected,
        latency: RefCell::new(Histogram::new()),
        stop: Cell::new(false),
    });
    let mut connections = JoinSet::new();
    begin(&mut connections, &shared);
    if cores().is_some() {
        spawn_local(stay_awake());
    }

    settle(&mut connections, load.warm_up).await?;
    let before = probe()?;
    shared.latency.replace(Histogram::new());
    let begun = Instant::now();
    settle(&mut connections, load.window).await?;
    let window = begun.elapsed();
    let latency = shared.latency.replace(Histogram::new());
    let after = probe()?;

    shared.stop.set(true);
    let finish = async {
        while let Some(ended) = connections.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(FINISH_TIMEOUT, finish)
        .await
        .context("a request was never answered")??;
    Ok(Measured { latency, window, before, after })
}

/// Asks for the next event without ever sleeping. A server that answers a client that sleeps pays for waking it, on a virtual
/// machine more than for all else that it sends; and the slower the server, the more often the client sleeps.
async fn stay_awake() {
    loop {
        yield_now().await;
    }
}

/// Lets the connections work for a while; a connection that ends in that time is an error.
pub(crate) async fn settle(connections: &mut JoinSet<Result<()>>, time: Duration) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        Some(ended) = connections.join_next() => {
            ended??;
            bail!("a connection ended before the run did")
        }
    }
}

async fn clear(
    addr: SocketAddr,
    source: impl FnMut(&mut Vec<u8>),
    shared: Rc<Shared>,
) -> Result<()> {
    connection(connect(addr).await?, source, shared).await
}

async fn secure(addr: SocketAddr, request: Vec<u8>, shared: Rc<Shared>) -> Result<()> {
    let stream = tls::connect(addr, b"http/1.1").await?;
    connection(stream, move |out| out.extend_from_slice(&request), shared).await
}

/// A connection that sends at once.
pub(crate) async fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(addr).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn connection(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut source: impl FnMut(&mut Vec<u8>),
    shared: Rc<Shared>,
) -> Result<()> {
    let mut request = Vec::new();
    let mut answer = vec![0; READ_BYTES];
    while !shared.stop.get() {
        request.clear();
        source(&mut request);
        let begun = Instant::now();
        stream.write_all(&request).await?;
        let got = read_answer(&mut stream, &mut answer).await?;
        shared.answered(begun, got)?;
    }
    Ok(())
}

/// Reads one answer; `buffer` grows as it must.
pub(crate) async fn read_answer(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Result<Expected> {
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..]).await?;
        if count == 0 {
            bail!("the server closed a connection in use");
        }
        filled += count;
        if let Some(frame) = wire::frame(&buffer[..filled])? {
            let whole = frame.head_bytes + frame.body_bytes;
            if filled == whole {
                return Ok(Expected { status: frame.status, body_bytes: frame.body_bytes });
            }
            if filled > whole || whole > wire::ANSWER_BYTES_MAX {
                bail!("an answer of {whole} bytes, of which {filled} have come, is not one answer");
            }
        }
        if filled == buffer.len() {
            buffer.resize(filled * 2, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    /// Answers every request of every connection with `response`, in two pieces.
    fn server(response: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut request = [0; 4096];
                    while stream.read(&mut request).is_ok_and(|count| count > 0) {
                        let (first, second) = response.split_at(20);
                        stream.write_all(first).unwrap();
                        stream.write_all(second).unwrap();
                    }
                });
            }
        });
        addr
    }

    fn load(addr: SocketAddr) -> Load {
        Load {
            addr,
            connections: 2,
            warm_up: Duration::from_millis(20),
            window: Duration::from_millis(100),
            expected: Expected { status: 200, body_bytes: 2 },
        }
    }

    fn get(_: usize) -> impl FnMut(&mut Vec<u8>) + 'static {
        |out| out.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n")
    }

    #[test]
    fn answers_within_the_window_are_counted() {
        let addr = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let measured = run(load(addr), get, || Ok(())).unwrap();
        assert!(measured.requests() > 0);
        assert!(measured.window >= Duration::from_millis(100));
    }

    #[test]
    fn a_wrong_answer_fails_the_run() {
        let addr = server(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno");
        let error = run(load(addr), get, || Ok(())).err().unwrap().to_string();
        assert!(error.contains("503"), "{error}");
    }
}
