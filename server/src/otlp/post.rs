//! The connection to the collector: one POST after the other over HTTP/1.1, kept open between them.

use super::messages::ExportResponse;
use crate::tls::client;
use bytes::Bytes;
use harper_config::Otlp;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use prost::Message;
use rustls::pki_types::ServerName;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Attempts to deliver a message, and the pause after the first that failed; each pause is twice the one before.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// What is read of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("no connection to the collector: {0}")]
    Connect(io::Error),
    #[error("the collector did not answer: {0}")]
    Exchange(hyper::Error),
    #[error("the collector answered {0}")]
    Refused(StatusCode),
    #[error("the collector did not answer in time")]
    Timeout,
}

impl PostError {
    /// Whether the same message may be taken later (OTLP specification, "Failures").
    fn is_passing(&self) -> bool {
        match self {
            Self::Refused(status) => matches!(status.as_u16(), 429 | 502..=504),
            Self::Connect(_) | Self::Exchange(_) | Self::Timeout => true,
        }
    }
}

/// Where messages are sent.
pub(super) struct Collector {
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    path: String,
    headers: HeaderMap,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Collector {
    /// The collector of a checked configuration.
    ///
    /// # Errors
    /// An address that is none, or certificates of authorities that cannot be read.
    pub(super) fn new(otlp: &Otlp) -> io::Result<Self> {
        let uri: Uri = otlp.endpoint.parse().map_err(io::Error::other)?;
        let is_secure = uri.scheme_str() == Some("https");
        let host = uri.host().ok_or_else(|| io::Error::other("the endpoint has no host"))?;
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let mut headers = HeaderMap::new();
        for (name, value) in &otlp.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(io::Error::other)?;
            let mut value = HeaderValue::from_str(value).map_err(io::Error::other)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let authority = uri.authority().map_or(host, http::uri::Authority::as_str);
        headers.insert(header::HOST, HeaderValue::from_str(authority).map_err(io::Error::other)?);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            tls: if is_secure { Some(client::connector(None)?) } else { None },
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            headers,
            connection: None,
        })
    }

    /// Delivers a message, with several attempts where that may help, and returns how many of its spans the collector
    /// has refused.
    ///
    /// # Errors
    /// What became of the last attempt.
    pub(super) async fn post(
        &mut self,
        message: Vec<u8>,
        limit: Duration,
    ) -> Result<u64, PostError> {
        let message = Bytes::from(message);
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let result = timeout(limit, self.try_post(message.clone())).await;
            let result = result.unwrap_or(Err(PostError::Timeout));
            match result {
                Err(error) if error.is_passing() && attempt < ATTEMPTS => self.connection = None,
                result => return result,
            }
            tokio::time::sleep(pause).await;
            (attempt, pause) = (attempt + 1, pause * 2);
        }
    }

    async fn try_post(&mut self, message: Bytes) -> Result<u64, PostError> {
        let mut connection = match self.connection.take().filter(|open| !open.is_closed()) {
            Some(open) => open,
            None => self.connect().await?,
        };
        let mut request = Request::post(self.path.as_str()).body(Full::new(message));
        if let Ok(request) = &mut request {
            *request.headers_mut() = self.headers.clone();
        }
        let request = request.map_err(|error| PostError::Connect(io::Error::other(error)))?;
        connection.ready().await.map_err(PostError::Exchange)?;
        let answer = connection.send_request(request).await.map_err(PostError::Exchange)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        if !status.is_success() {
            return Err(PostError::Refused(status));
        }
        self.connection = Some(connection);
        let answer = body.ok().and_then(|body| ExportResponse::decode(body.to_bytes()).ok());
        let refused = answer.and_then(|answer| answer.partial_success);
        Ok(refused.and_then(|part| u64::try_from(part.rejected_spans).ok()).unwrap_or(0))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, PostError> {
        let address = (self.host.as_str(), self.port);
        let stream = TcpStream::connect(address).await.map_err(PostError::Connect)?;
        let Some(tls) = &self.tls else { return handshake(stream).await };
        let name = ServerName::try_from(self.host.clone())
            .map_err(|error| PostError::Connect(io::Error::other(error)))?;
        handshake(tls.connect(name, stream).await.map_err(PostError::Connect)?).await
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, PostError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(PostError::Exchange)?;
    // the end of the connection is seen when it is next used
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(sender)
}
