//! The check behind `helm test`: the image has no shell, so the operator's binary does it itself.

use crate::cli::SmokeTestArgs;
use crate::crd::{self, HarperServer, HarperServerSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(10);
/// As much of an answer as is read.
const ANSWER_BYTES_MAX: u64 = 4096;

/// What did not hold.
#[derive(Debug, thiserror::Error)]
pub enum SmokeError {
    /// The URL cannot be used.
    #[error("{0}: expected http://host:port/path")]
    Url(String),
    /// No answer.
    #[error("GET {url}: {source}")]
    Get {
        /// The URL.
        url: String,
        /// Why.
        source: std::io::Error,
    },
    /// No answer in time.
    #[error("GET {0}: no answer in time")]
    TimedOut(String),
    /// An answer, but not 200.
    #[error("GET {url}: answered {answer:?}")]
    Answer {
        /// The URL.
        url: String,
        /// The start of the answer.
        answer: String,
    },
    /// No way to the API server.
    #[error("connect to the API server: {0}")]
    Connect(#[source] kube::Error),
    /// The kind is not served.
    #[error("the kind HarperServer is not served: {0}")]
    NotServed(#[source] kube::Error),
    /// The kind is not among those of its group.
    #[error("the API group harper.dev/v1alpha1 has no harperservers")]
    Missing,
    /// A minimal server is not accepted.
    #[error("a minimal HarperServer is not accepted: {0}")]
    Refused(#[source] kube::Error),
}

/// Checks what was asked for.
///
/// # Errors
/// The first thing that does not hold.
pub async fn run(args: &SmokeTestArgs) -> Result<(), SmokeError> {
    let SmokeTestArgs { url, expect_crd } = args;
    if let Some(url) = url {
        check_url(url).await?;
    }
    if *expect_crd {
        check_crd().await?;
    }
    Ok(())
}

async fn check_url(url: &str) -> Result<(), SmokeError> {
    let rest = url.strip_prefix("http://").ok_or_else(|| SmokeError::Url(url.to_owned()))?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let address =
        if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let answer = tokio::time::timeout(TIMEOUT, get(&address, authority, path)).await;
    let answer = answer.map_err(|_| SmokeError::TimedOut(url.to_owned()))?;
    let answer = answer.map_err(|source| SmokeError::Get { url: url.to_owned(), source })?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(SmokeError::Answer { url: url.to_owned(), answer })
}

async fn get(address: &str, host: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn check_crd() -> Result<(), SmokeError> {
    let client = Client::try_default().await.map_err(SmokeError::Connect)?;
    let served = client.list_api_group_resources(crd::API_VERSION).await;
    let served = served.map_err(SmokeError::NotServed)?;
    if !served.resources.iter().any(|resource| resource.name == crd::PLURAL) {
        return Err(SmokeError::Missing);
    }
    let api: Api<HarperServer> = Api::default_namespaced(client);
    let server = HarperServer::new("smoke-test", HarperServerSpec::default());
    let params = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&params, &server).await.map_err(SmokeError::Refused)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_of_200_is_wanted() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap());
        let serve = async {
            for status in ["200 OK", "503 Service Unavailable"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0u8; 256];
                let length = stream.read(&mut request).await.unwrap();
                assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let check = async {
            check_url(&url).await.unwrap();
            assert!(matches!(check_url(&url).await, Err(SmokeError::Answer { .. })));
            assert!(matches!(check_url("https://x").await, Err(SmokeError::Url(_))));
        };
        tokio::join!(serve, check);
    }
}
