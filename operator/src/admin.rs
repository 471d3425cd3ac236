//! The admin listener: `/livez`, `/readyz` and `/metrics`, for the kubelet and Prometheus.

mod io;

use crate::controller::Shared;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Connections served at once; further ones wait in the kernel.
const CONNECTIONS_MAX: usize = 32;
/// Longest time for one connection, which serves one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for a request to come: 32 connections on which nothing is said must not cost a liveness probe.
const HEADER_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause when no connection can be accepted, such as when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whether the operator does its work.
#[derive(Debug, Default)]
pub struct Readiness {
    crd_served: AtomicBool,
    synced: AtomicBool,
}

impl Readiness {
    /// Notes that the kind is served.
    pub fn crd_is_served(&self) {
        self.crd_served.store(true, Ordering::Relaxed);
    }

    /// Notes that every watch has shown what there is.
    pub fn is_synced(&self) {
        self.synced.store(true, Ordering::Relaxed);
    }

    fn page(&self) -> (StatusCode, String) {
        let (crd, synced) =
            (self.crd_served.load(Ordering::Relaxed), self.synced.load(Ordering::Relaxed));
        let word = |good: bool| if good { "ok" } else { "waiting" };
        let status = if crd && synced { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, format!("crd: {}\nwatches: {}\n", word(crd), word(synced)))
    }
}

/// What the admin listener speaks of.
pub struct Admin {
    /// Readiness.
    pub readiness: Arc<Readiness>,
    /// The metrics.
    pub shared: Arc<Shared>,
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, admin: &Admin) {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => connections.push(connection(stream, admin)),
                Err(error) => {
                    tracing::warn!(%error, "the admin listener cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(()) = connections.next() => {}
        }
    }
}

async fn connection(stream: TcpStream, admin: &Admin) {
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(answer(request.method(), request.uri().path(), admin))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .timer(io::Timer)
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(io::Stream::new(stream), service);
    // a client that goes away is no news
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
}

fn answer(method: &Method, path: &str, admin: &Admin) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/livez" => page(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => {
            let (status, text) = admin.readiness.page();
            page(status, text)
        }
        "/metrics" => page(StatusCode::OK, admin.shared.metrics.page()),
        _ => page(StatusCode::NOT_FOUND, "try /livez, /readyz or /metrics\n".to_owned()),
    }
}

fn page(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[test]
    fn ready_means_served_and_synced() {
        let readiness = Readiness::default();
        assert_eq!(readiness.page().0, StatusCode::SERVICE_UNAVAILABLE);
        readiness.crd_is_served();
        let (status, text) = readiness.page();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text, "crd: ok\nwatches: waiting\n");
        readiness.is_synced();
        assert_eq!(readiness.page().0, StatusCode::OK);
    }

    #[tokio::test]
    async fn silent_connections_do_not_hold_up_a_probe() {
        let shared = crate::controller::testing::scope("http://127.0.0.1:1").shared;
        let admin = Admin { readiness: Arc::default(), shared };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let probe = async {
            let mut silent = Vec::new();
            for _ in 0..CONNECTIONS_MAX {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        };
        tokio::select! {
            () = serve(listener, &admin) => {}
            result = tokio::time::timeout(3 * HEADER_TIMEOUT, probe) => result.unwrap(),
        }
    }
}
