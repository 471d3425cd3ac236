//! Fetching the keys of issuers: discovery (OpenID Connect Discovery §4) and key sets (RFC 7517 §5) over HTTPS, on a
//! thread of its own.

use super::{Issuer, keys};
use crate::tls::client;
use bytes::Bytes;
use harper_config::OidcIssuer;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::JwkSet;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

/// Time for one document.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Size of one document.
const BYTES_MAX: usize = 256 * 1024;
/// Least time between two attempts, whatever tokens ask for.
const PAUSE: Duration = Duration::from_secs(5);

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    #[error("no answer: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("answered {0}")]
    Status(http::StatusCode),
    #[error("no answer in time")]
    Timeout,
    #[error("the answer is too large or broken off")]
    Body,
    #[error("the answer is not of the form it should be: {0}")]
    Form(#[from] serde_json::Error),
    #[error("it says that it is {0}")]
    OtherIssuer(String),
    #[error("there is no key among them that can be used")]
    NoKeys,
}

/// What is needed of the discovery document.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Starts the thread, which goes on until what is returned is dropped.
pub(super) fn start(issuers: &Arc<[Issuer]>, refresh: Duration) -> io::Result<oneshot::Sender<()>> {
    let sources = issuers.iter().map(|issuer| Source::new(&issuer.settings));
    let sources = sources.collect::<io::Result<Vec<_>>>()?;
    let issuers = Arc::clone(issuers);
    let (wanted, dropped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("oidc".into()).spawn(move || {
        let followed = issuers.iter().zip(sources);
        let all = followed.map(|(issuer, source)| follow(issuer, source, refresh));
        let all = futures_util::future::join_all(all);
        LocalSet::new().block_on(&runtime, async {
            tokio::select! {
                _ = all => {}
                _ = dropped => {}
            }
        });
    })?;
    Ok(wanted)
}

/// Keeps the keys of one issuer as they are; never returns.
async fn follow(issuer: &Issuer, source: Source, refresh: Duration) {
    let name = &issuer.settings.issuer;
    let mut known = None;
    loop {
        let wait = match source.keys().await {
            Ok(set) => {
                if known.as_ref() != Some(&set) {
                    let keys = keys(&set);
                    tracing::debug!(issuer = %name, count = keys.len(), "keys of an issuer of tokens");
                    issuer.set_keys(keys);
                    known = Some(set);
                }
                refresh
            }
            Err(error) => {
                tracing::warn!(issuer = %name, %error, "the keys of an issuer of tokens cannot be fetched");
                refresh.min(6 * PAUSE)
            }
        };
        tokio::time::sleep(PAUSE.min(wait)).await;
        let _ = tokio::time::timeout(wait.saturating_sub(PAUSE), issuer.wanted.notified()).await;
    }
}

/// Where the keys of one issuer are.
struct Source {
    settings: OidcIssuer,
    tls: TlsConnector,
}

impl Source {
    fn new(settings: &OidcIssuer) -> io::Result<Self> {
        Ok(Self {
            tls: client::connector(settings.certificate_authority.as_deref())?,
            settings: settings.clone(),
        })
    }

    /// A set with at least one key that can be used: any other is a mistake of the issuer's.
    async fn keys(&self) -> Result<JwkSet, FetchError> {
        let uri = match &self.settings.jwks_uri {
            Some(uri) => uri.clone(),
            None => self.discovered().await?,
        };
        let set = self.get(&uri).await?;
        if keys(&set).is_empty() { Err(FetchError::NoKeys) } else { Ok(set) }
    }

    async fn discovered(&self) -> Result<String, FetchError> {
        let issuer = &self.settings.issuer;
        let uri = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let Discovery { issuer: said, jwks_uri } = self.get(&uri).await?;
        if said != *issuer {
            return Err(FetchError::OtherIssuer(said));
        }
        harper_config::check_issuer_url(&jwks_uri).map_err(io::Error::other)?;
        Ok(jwks_uri)
    }

    async fn get<T: DeserializeOwned>(&self, uri: &str) -> Result<T, FetchError> {
        let fetched = tokio::time::timeout(TIME_MAX, self.fetch(uri)).await;
        Ok(serde_json::from_slice(&fetched.map_err(|_| FetchError::Timeout)??)?)
    }

    async fn fetch(&self, uri: &str) -> Result<Bytes, FetchError> {
        let uri: Uri = uri.parse().map_err(io::Error::other)?;
        let authority =
            uri.authority().ok_or_else(|| io::Error::other("the address has no host"))?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let is_secure = uri.scheme_str() == Some("https");
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(header::HOST, authority.as_str())
            .header(header::ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        if !is_secure {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        exchange(self.tls.connect(name, stream).await?, request).await
    }
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Bytes, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::task::spawn_local(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), BYTES_MAX).collect().await;
    connection.abort();
    if !status.is_success() {
        return Err(FetchError::Status(status));
    }
    Ok(body.map_err(|_| FetchError::Body)?.to_bytes())
}
