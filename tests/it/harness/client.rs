//! An ordinary HTTP client, and what it is answered.

use super::PATIENCE;
use serde_json::Value;
use std::net::SocketAddr;
use ureq::Agent;
use ureq::http::{HeaderMap, Request};

/// The largest answer a test reads.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// A client of one address; it keeps connections open.
pub(crate) struct Client {
    agent: Agent,
    address: SocketAddr,
    headers: Vec<(&'static str, String)>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .timeout_global(Some(PATIENCE))
            .build();
        Self { agent: config.into(), address, headers: Vec::new() }
    }

    /// The same client, which logs in with each request.
    pub(crate) fn login(mut self, username: &str, password: &str) -> Self {
        self.headers.push(("authorization", basic(&format!("{username}:{password}"))));
        self
    }

    /// A request to be completed.
    pub(crate) fn request(&self, method: &str, path: &str) -> Ask<'_> {
        let headers = self.headers.clone();
        Ask { client: self, method: method.to_owned(), path: path.to_owned(), headers, body: None }
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.request("GET", path).send()
    }

    #[track_caller]
    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.request("DELETE", path).send()
    }

    #[track_caller]
    pub(crate) fn put(&self, path: &str, body: &str) -> Reply {
        self.request("PUT", path).json(body).send()
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &str) -> Reply {
        self.request("POST", path).json(body).send()
    }

    #[track_caller]
    pub(crate) fn patch(&self, path: &str, body: &str) -> Reply {
        self.request("PATCH", path).json(body).send()
    }
}

/// The value of `Authorization` for `name:password`.
pub(crate) fn basic(credentials: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials))
}

/// A request to be sent.
pub(crate) struct Ask<'a> {
    client: &'a Client,
    method: String,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
}

impl Ask<'_> {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// A body of any type.
    pub(crate) fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("content-type", kind)
    }

    /// A body of JSON text.
    pub(crate) fn json(self, body: &str) -> Self {
        self.body("application/json", body)
    }

    /// Sends the request; fails when there is no answer.
    #[track_caller]
    pub(crate) fn send(self) -> Reply {
        let what = format!("{} {}", self.method, self.path);
        self.try_send().unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends the request.
    pub(crate) fn try_send(self) -> Result<Reply, ureq::Error> {
        let Self { client, method, path, headers, body } = self;
        let url = format!("http://{}{path}", client.address);
        let mut request = Request::builder().method(method.as_str()).uri(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut response = match body {
            Some(body) => client.agent.run(request.body(body)?)?,
            None => client.agent.run(request.body(())?)?,
        };
        let body = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_vec()?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        check_lines(&headers);
        Ok(Reply { status, headers, body })
    }
}

/// Fails where a field stands on several lines that is no list (RFC 9110 §5.3).
#[track_caller]
fn check_lines(headers: &HeaderMap) {
    const LISTS: [&str; 3] = ["vary", "set-cookie", "www-authenticate"];
    for name in headers.keys().filter(|name| !LISTS.contains(&name.as_str())) {
        let lines = headers.get_all(name).iter().count();
        assert_eq!(lines, 1, "{name} stands on {lines} lines: {headers:?}");
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// A header as text; empty when absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// The sentence of a problem.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no problem: {self}")).to_owned()
    }

    /// Fails unless the answer has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: String = self.text().chars().take(600).collect();
        write!(f, "{} {text:?} {:?}", self.status, self.headers)
    }
}
