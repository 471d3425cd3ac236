//! The baseline: hyper's HTTP/1 on a current-thread runtime with a `SO_REUSEPORT` socket, as in our server, and nothing
//! else. Routes nothing, checks nobody, times nothing out.

use std::{convert::Infallible, fs, net::SocketAddr, path::Path, rc::Rc};

use ::hyper::{body::Incoming, server::conn::http1, service::service_fn};
use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::{net::TcpListener, task::LocalSet};

use crate::{report, wire};

const BACKLOG: i32 = 1024;

/// hyper writes these itself.
const OWN_HEADERS: [&str; 2] = ["date", "content-length"];

/// Serves the response in the file `answer` for every request at `address`, until the process ends.
pub(crate) fn serve(address: SocketAddr, answer: &Path) -> Result<()> {
    let bytes = fs::read(answer).with_context(|| format!("cannot read {}", answer.display()))?;
    let template = Rc::new(Template::new(&wire::parse(&bytes)?)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, accept(address, template))
}

struct Template {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Template {
    fn new(answer: &wire::Answer) -> Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in &answer.headers {
            if !OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                let name = HeaderName::from_bytes(name.as_bytes())?;
                headers.append(name, HeaderValue::from_str(value)?);
            }
        }
        let status = StatusCode::from_u16(answer.status)?;
        Ok(Self { status, headers, body: Bytes::from(answer.body.clone()) })
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

async fn accept(address: SocketAddr, template: Rc<Template>) -> Result<()> {
    let listener = listen(address)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let template = template.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(|_: Request<Incoming>| {
                let response = template.response();
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                report::note(&format!("connection: {error}"));
            }
        });
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into())?)
}
