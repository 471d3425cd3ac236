//! One exchange of plain HTTP with an authority. What comes is signed or worthless, so that it may come in the clear.

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    #[error("no answer: {0}")]
    Exchange(#[from] hyper::Error),
    /// Redirects are among them: who may be asked is what the certificate says.
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("no answer in time")]
    Timeout,
    #[error("the answer is too large or broken off")]
    Body,
}

/// Waits for a part of an exchange, but not longer than `limit`.
///
/// # Errors
/// Those of the exchange, or that it took too long.
pub(super) async fn within<T>(
    limit: Duration,
    exchange: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    tokio::time::timeout(limit, exchange).await.unwrap_or(Err(FetchError::Timeout))
}

/// An answer whose body has not been read.
pub(super) struct Reply {
    body: Incoming,
    /// Dropped with this, when the time is up.
    _connection: JoinSet<hyper::Result<()>>,
}

impl Reply {
    /// Its body.
    ///
    /// # Errors
    /// It is broken off, or larger than `bytes_max`.
    pub(super) async fn bytes(self, bytes_max: usize) -> Result<Bytes, FetchError> {
        let body = Limited::new(self.body, bytes_max).collect().await;
        Ok(body.map_err(|_| FetchError::Body)?.to_bytes())
    }
}

/// Asks for a document, or, where there is a question of OCSP, for what is answered to it (RFC 6960 appendix A).
///
/// # Errors
/// Whatever stands between, and answers other than 200.
pub(super) async fn ask(url: &str, question: Option<Vec<u8>>) -> Result<Reply, FetchError> {
    let uri: Uri = url.parse().map_err(io::Error::other)?;
    let authority = uri.authority().ok_or_else(|| io::Error::other("the address has no host"))?;
    let host = authority.host().trim_matches(['[', ']']);
    let port = authority.port_u16().unwrap_or(80);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let is_question = question.is_some();
    let mut request = Request::builder().uri(path).header(header::HOST, authority.as_str());
    if is_question {
        request =
            request.method(Method::POST).header(header::CONTENT_TYPE, "application/ocsp-request");
    }
    let body = Full::new(Bytes::from(question.unwrap_or_default()));
    let request = request.body(body).map_err(io::Error::other)?;
    let stream = TcpStream::connect((host, port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut driven = JoinSet::new();
    driven.spawn_local(connection);
    let answer = sender.send_request(request).await?;
    if answer.status() != StatusCode::OK {
        return Err(FetchError::Status(answer.status()));
    }
    Ok(Reply { body: answer.into_body(), _connection: driven })
}
