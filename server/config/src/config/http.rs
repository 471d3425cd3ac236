//! `http.*`: what the layers do with messages.

use super::Reader;
use crate::value;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

/// Proxies before the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxies {
    /// Those that are believed.
    pub trusted: Vec<IpNet>,
    /// They write `Forwarded` (RFC 7239) instead of `X-Forwarded-*`.
    pub use_forwarded: bool,
    /// Their connections begin with a header of the PROXY protocol.
    pub use_proxy_protocol: bool,
}

impl Proxies {
    /// Whether `address`, in canonical form, is a proxy that is believed.
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }
}

/// How long a client may take; zero is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For all request headers.
    pub headers: Duration,
    /// Until its next request on an open connection.
    pub keep_alive: Duration,
    /// For a whole request, and to take more of an answer.
    pub request: Duration,
}

/// A limit on the requests of each client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests in each window; 0 for any number.
    pub requests: u32,
    /// The window.
    pub window: Duration,
    /// Requests at once; none for as many as in a window.
    pub burst: Option<u32>,
    /// Who is one client.
    pub by: RateLimitBy,
    /// Clients that are remembered.
    pub addresses_max: usize,
}

/// Who is one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimitBy {
    /// An address.
    Address,
    /// A user, or an address where nobody has logged in.
    User,
}

/// The id by which a request is found in logs.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestId {
    /// Name of its header.
    pub header: String,
    /// Whether every answer carries it.
    pub send: bool,
}

/// Qualities of the content codings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Brotli, 0 to 11.
    pub brotli_quality: u32,
    /// gzip, 1 to 9.
    pub gzip_level: u32,
    /// Zstandard, 1 to 19.
    pub zstd_level: i32,
}

/// Server-Sent Events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventStream {
    /// Time without an event after which a comment is sent.
    pub heartbeat: Duration,
    /// Time after which a client is to ask again.
    pub retry: Duration,
    /// Whether events are named by their types.
    pub are_named: bool,
    /// Whether streams are compressed.
    pub is_compressed: bool,
}

/// WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// Time without a sign of life after which the client is asked for one.
    pub ping_interval: Duration,
    /// Bytes of a message of a client, decompressed.
    pub message_bytes_max: usize,
    /// Bytes of one frame of it.
    pub frame_bytes_max: usize,
    /// Whether messages are compressed.
    pub is_compressed: bool,
    /// Whether who is refused hears of it by a close code.
    pub closes_refused: bool,
}

/// Cross-origin resource sharing.
#[derive(Clone, Debug, PartialEq)]
pub struct Cors {
    /// Whether cross-origin requests are answered.
    pub enabled: bool,
    /// Origins that may send credentials; none, or one `*`, admits every origin without credentials.
    pub access_list: Option<Vec<String>>,
    /// Headers that a preflight allows; `*` for those it asks for.
    pub allow_headers: String,
    /// Headers of an answer that a page may read.
    pub expose_headers: String,
    /// Time for which a preflight's answer is good; zero says nothing.
    pub max_age: Duration,
}

/// The request log.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpLogging {
    /// Lowest level written.
    pub level: String,
    /// Adds the time taken.
    pub timing: bool,
    /// Adds the request headers.
    pub headers: bool,
    /// Adds a running number.
    pub id: bool,
    /// The form of a line.
    pub format: RequestLogFormat,
    /// What marks a line as one of this log.
    pub tag: String,
}

/// The form of a request line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestLogFormat {
    /// Harper's.
    Text,
    /// An object.
    Json,
    /// As web servers write it by default.
    Combined,
}

impl Reader<'_> {
    pub(super) fn event_stream(&self) -> EventStream {
        EventStream {
            heartbeat: Duration::from_secs(self.number("http.eventStream.heartbeat")),
            retry: self.millis("http.eventStream.retry"),
            are_named: self.flag("http.eventStream.names"),
            is_compressed: self.flag("http.eventStream.compression"),
        }
    }

    pub(super) fn web_socket(&self) -> WebSocket {
        WebSocket {
            ping_interval: Duration::from_secs(self.number("http.webSocket.pingInterval")),
            message_bytes_max: self.size("http.webSocket.messageBytesMax"),
            frame_bytes_max: self.size("http.webSocket.frameBytesMax"),
            is_compressed: self.flag("http.webSocket.compression"),
            closes_refused: self.text("http.webSocket.refusals") == "close",
        }
    }

    pub(super) fn compression(&self) -> Compression {
        Compression {
            brotli_quality: self.number("http.compression.brotliQuality") as u32,
            gzip_level: self.number("http.compression.gzipLevel") as u32,
            zstd_level: self.number("http.compression.zstdLevel") as i32,
        }
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        Timeouts {
            headers: self.millis("http.headersTimeout"),
            keep_alive: self.millis("http.keepAliveTimeout"),
            request: self.millis("http.timeout"),
        }
    }

    pub(super) fn proxies(&self) -> Proxies {
        Proxies {
            trusted: self.networks("http.trustedProxies"),
            use_forwarded: self.text("http.forwardedHeaders") == "Forwarded",
            use_proxy_protocol: self.flag("http.proxyProtocol"),
        }
    }

    pub(super) fn request_id(&self) -> RequestId {
        RequestId {
            header: self.text("http.requestId.header"),
            send: self.flag("http.requestId.send"),
        }
    }

    pub(super) fn request_log(&self) -> HttpLogging {
        HttpLogging {
            level: self.text("http.logging.level"),
            timing: self.flag("http.logging.timing"),
            headers: self.flag("http.logging.headers"),
            id: self.flag("http.logging.id"),
            format: self.request_log_format(),
            tag: self.text("http.logging.tag"),
        }
    }

    pub(super) fn rate_limit(&self) -> RateLimit {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        RateLimit {
            requests: number(self.size("http.rateLimit.requests")),
            window: self.millis("http.rateLimit.window"),
            burst: self.count("http.rateLimit.burst").map(number),
            by: match self.text("http.rateLimit.by").as_str() {
                "user" => RateLimitBy::User,
                _ => RateLimitBy::Address,
            },
            addresses_max: self.size("http.rateLimit.addressesMax"),
        }
    }

    /// The settings of one section; what a page may do with an answer is the same everywhere.
    pub(super) fn cors(&self, section: &str) -> Cors {
        // as browsers write an origin: no path, and nothing in capitals
        let origin = |text: String| text.trim_end_matches('/').to_ascii_lowercase();
        let access_list = self.list(&format!("{section}.corsAccessList"));
        Cors {
            enabled: self.flag(&format!("{section}.cors")),
            access_list: access_list.map(|list| list.into_iter().map(origin).collect()),
            allow_headers: self.text("http.corsAccessControlAllowHeaders"),
            expose_headers: self.text("http.corsAccessControlExposeHeaders"),
            max_age: self.millis("http.corsAccessControlMaxAge"),
        }
    }

    fn request_log_format(&self) -> RequestLogFormat {
        match self.text("http.logging.format").as_str() {
            "text" => RequestLogFormat::Text,
            "json" => RequestLogFormat::Json,
            "combined" => RequestLogFormat::Combined,
            _ if self.text("logging.format") == "json" => RequestLogFormat::Json,
            _ => RequestLogFormat::Text,
        }
    }

    fn networks(&self, name: &str) -> Vec<IpNet> {
        let items = self.list(name).unwrap_or_default();
        items.iter().filter_map(|item| value::network(item)).collect()
    }
}
