//! The configuration as the server uses it: built values, nested by their owner.

mod authentication;
mod certificates;
mod http;
mod http2;
mod mqtt;
mod operations;
mod telemetry;

pub use authentication::{AuthAudit, Authentication, Oidc, Sessions, Throttle, Tokens};
pub use certificates::{
    CertificateUser, ClientCertificates, CrlInquiry, Inquiry, OcspInquiry, Revocation, TlsListener,
};
pub use http2::Http2;
pub use operations::OperationsApi;

use crate::headers;
use crate::layers::Effective;
use crate::tls::TlsEntry;
use crate::value::{self, Port};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

pub use http::{
    Compression, Cors, EventStream, HttpLogging, Proxies, RateLimit, RateLimitBy, RequestId,
    RequestLogFormat, Timeouts, WebSocket,
};

pub use mqtt::Mqtt;
pub use telemetry::{Otlp, Telemetry};

/// A valid configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `rootPath`, with `~` as written.
    pub root_path: PathBuf,
    /// `componentsRoot`; none means `<root_path>/components`.
    pub components_root: Option<PathBuf>,
    /// `http.*`
    pub http: Http,
    /// `tls`: at least one entry; the first is for clients that ask for no known name.
    pub tls: Vec<TlsEntry>,
    /// `threads.*`
    pub threads: Threads,
    /// `authentication.*`
    pub authentication: Authentication,
    /// `operationsApi.*`
    pub operations_api: OperationsApi,
    /// `logging.*`
    pub logging: Logging,
    /// `telemetry.*`
    pub telemetry: Telemetry,
    /// `storage.*`
    pub storage: Storage,
    /// `static.*`
    pub files: Files,
    /// `realtime.*`
    pub realtime: Realtime,
    /// `mqtt.*`
    pub mqtt: Mqtt,
    /// `query.*`
    pub query: Query,
    /// `computed.*`
    pub computed: Computed,
    /// `pool.threads`: threads for blocking work; none means automatic.
    pub pool_threads: Option<usize>,
    /// `pool.queueMax`: pieces of blocking work that may wait.
    pub pool_queue_max: usize,
    /// `admin.*`
    pub admin: Admin,
    /// `shutdown.*`
    pub shutdown: Shutdown,
}

/// The application listener and its limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// Plain-text listener, if any.
    pub port: Option<Port>,
    /// TLS listener, if any.
    pub secure_port: Option<Port>,
    /// HTTP/2.
    pub http2: Http2,
    /// Clients' certificates on TLS listeners; none when they are not asked for.
    pub client_certificates: Option<ClientCertificates>,
    /// Bodies of more bytes than this are compressed; 0 switches compression off.
    pub compression_threshold_bytes: usize,
    /// How hard each content coding tries.
    pub compression: Compression,
    /// Server-Sent Events.
    pub event_stream: EventStream,
    /// WebSocket.
    pub web_socket: WebSocket,
    /// Cross-origin requests.
    pub cors: Cors,
    /// How long a client may take.
    pub timeouts: Timeouts,
    /// Size of the header block.
    pub header_bytes_max: usize,
    /// Size of a request body.
    pub body_bytes_max: usize,
    /// Size of all request bodies that are held at once.
    pub bodies_bytes_max: usize,
    /// Parts of a multipart request body.
    pub multipart_parts_max: usize,
    /// Records of a request body.
    pub body_records_max: usize,
    /// Open connections of the process.
    pub connections_max: usize,
    /// Time a request may wait to be begun; zero is no limit.
    pub queue_time_max: Duration,
    /// Who is believed about the client.
    pub proxies: Proxies,
    /// The id of a request.
    pub request_id: RequestId,
    /// Time for an answer to begin; zero for any.
    pub response_timeout: Duration,
    /// How often a client may ask.
    pub rate_limit: RateLimit,
    /// The value of `Server`; empty for none.
    pub server_header: String,
    /// Whether answers tell how long they took.
    pub server_timing: bool,
    /// Names, in lower case, and values of the security headers.
    pub security_headers: Vec<(String, String)>,
    /// The request log; none when there is no `http.logging` block.
    pub logging: Option<HttpLogging>,
}

/// Number of workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threads {
    /// This many; none means that it follows the CPUs of the pod.
    pub count: Option<usize>,
    /// Fewest, when it follows.
    pub min: usize,
    /// Most, when it follows.
    pub max: usize,
    /// What it follows.
    pub basis: ThreadsBasis,
    /// Where the kernel shows control groups; another directory in tests.
    pub cgroup_root: PathBuf,
}

/// What the number of workers follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadsBasis {
    /// The CPU limit of the container rounded up, at most the CPUs that the process may run on.
    Limit,
    /// The CPUs that the process may run on, whatever the limit.
    Cpus,
}

/// The log.
#[derive(Clone, Debug, PartialEq)]
pub struct Logging {
    /// Lowest level logged, in Harper's words.
    pub level: String,
    /// JSON lines instead of text.
    pub json: bool,
}

/// The databases.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// Directory; none means `<root_path>/database`.
    pub path: Option<PathBuf>,
    /// One sync a commit instead of two.
    pub write_async: bool,
    /// Address space of one database.
    pub map_bytes: usize,
    /// Tables and indexes, counted together, of one database.
    pub trees_max: u32,
    /// Write requests that may wait.
    pub queue_max: usize,
    /// Bytes of write requests that are held until they are answered.
    pub queue_bytes_max: usize,
    /// Bytes of write requests after which no more join a sync.
    pub batch_bytes_max: usize,
    /// Write requests that share a sync.
    pub batch_max: usize,
    /// Free space below which writes are refused.
    pub free_bytes_min: u64,
    /// Size of one database's change log.
    pub change_log_bytes_max: u64,
    /// Age up to which the change log is kept.
    pub change_log_age_max: Duration,
    /// Time a write may wait.
    pub queue_time_max: Duration,
    /// Time between two removals of expired records.
    pub sweep_interval: Duration,
    /// Added to every sync; for tests.
    pub sync_delay: Duration,
}

/// Static files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Bytes of files that one component holds in memory.
    pub cache_bytes_max: usize,
    /// Time for which a file in memory is not compared with the disk.
    pub recheck_after: Duration,
}

/// Limits of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Realtime {
    /// Open subscriptions of the process.
    pub subscriptions_max: usize,
    /// Bytes that wait for one connection.
    pub outbox_bytes_max: usize,
    /// Bytes that wait for one worker.
    pub inbox_bytes_max: usize,
    /// Bytes that the subscriptions of one worker hold together.
    pub held_bytes_max: usize,
}

/// Limits of a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Query {
    /// Records held to sort them.
    pub sort_records_max: usize,
    /// Bytes of a result that is held until it is whole.
    pub held_bytes_max: usize,
    /// Records that one query may read without returning them; 0: any number.
    pub scan_records_max: usize,
    /// Related records that one record may bring with it.
    pub related_records_max: usize,
    /// Bytes of a value that attributes are compared with.
    pub value_bytes_max: usize,
}

/// Limits of one evaluation of a computed attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Computed {
    /// Processor time.
    pub cpu_time_max: Duration,
    /// Memory of a thread's engine.
    pub heap_bytes_max: usize,
    /// Bytes of the value as JSON.
    pub result_bytes_max: usize,
    /// How long a record is left alone after it took too much time or memory.
    pub pause: Duration,
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Its port; none when switched off by `admin.port: null`.
    pub port: Option<Port>,
    /// A worker silent for this long is stuck.
    pub stuck_after: Duration,
}

/// How the process stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shutdown {
    /// Between failing readiness and closing the listeners.
    pub delay: Duration,
    /// For requests under way to finish.
    pub timeout: Duration,
}

impl Cors {
    /// Whether pages of this origin are admitted by name, and so may send credentials.
    #[must_use]
    pub fn lists(&self, origin: Option<&str>) -> bool {
        let listed = self.access_list.as_deref().unwrap_or_default();
        self.enabled && origin.is_some_and(|origin| listed.iter().any(|known| known == origin))
    }
}

impl Config {
    /// Whether any listener speaks TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        TlsListener::ALL.into_iter().any(|listener| self.certificates(listener).is_some())
    }

    /// How long a client may take: of the Operations API on its own listeners, or of the application.
    #[must_use]
    pub fn timeouts(&self, is_operations: bool) -> &Timeouts {
        if is_operations { &self.operations_api.timeouts } else { &self.http.timeouts }
    }

    /// The settings of cross-origin requests: those of the Operations API, or of the application.
    #[must_use]
    pub fn cors(&self, is_operations: bool) -> &Cors {
        if is_operations { &self.operations_api.cors } else { &self.http.cors }
    }

    /// Builds the typed form. Values of a wrong type were reported before; their keys read as zero or empty here,
    /// and the result is then not handed out.
    pub(crate) fn from_effective(effective: &[Effective], sections: &BTreeSet<String>) -> Self {
        let values = effective.iter().map(|item| (item.key.name, &item.value)).collect();
        Reader { values, sections }.config()
    }
}

struct Reader<'a> {
    values: HashMap<&'static str, &'a Value>,
    sections: &'a BTreeSet<String>,
}

impl Reader<'_> {
    fn config(&self) -> Config {
        Config {
            root_path: self.path("rootPath").unwrap_or_default(),
            components_root: self.path("componentsRoot"),
            http: self.http(),
            tls: self.tls("tls"),
            threads: self.threads(),
            authentication: self.authentication(),
            operations_api: self.operations_api(),
            logging: Logging {
                level: self.text("logging.level"),
                json: self.text("logging.format") == "json",
            },
            telemetry: self.telemetry(),
            storage: self.storage(),
            files: Files {
                cache_bytes_max: self.size("static.cacheBytesMax"),
                recheck_after: self.millis("static.recheckAfter"),
            },
            realtime: Realtime {
                subscriptions_max: self.size("realtime.subscriptionsMax"),
                outbox_bytes_max: self.size("realtime.outboxBytesMax"),
                inbox_bytes_max: self.size("realtime.inboxBytesMax"),
                held_bytes_max: self.size("realtime.heldBytesMax"),
            },
            mqtt: self.mqtt(),
            query: Query {
                sort_records_max: self.size("query.sortRecordsMax"),
                held_bytes_max: self.size("query.heldBytesMax"),
                scan_records_max: self.size("query.scanRecordsMax"),
                related_records_max: self.size("query.relatedRecordsMax"),
                value_bytes_max: self.size("query.valueBytesMax"),
            },
            computed: Computed {
                cpu_time_max: self.millis("computed.cpuMsMax"),
                heap_bytes_max: self.size("computed.heapBytesMax"),
                result_bytes_max: self.size("computed.resultBytesMax"),
                pause: self.millis("computed.pauseMs"),
            },
            pool_threads: self.count("pool.threads"),
            pool_queue_max: self.size("pool.queueMax"),
            admin: Admin {
                port: self.port("admin.port"),
                stuck_after: self.millis("admin.stuckAfter"),
            },
            shutdown: Shutdown {
                delay: self.millis("shutdown.delay"),
                timeout: self.millis("shutdown.timeout"),
            },
        }
    }

    fn http(&self) -> Http {
        let secure_port = self.port("http.securePort");
        Http {
            port: self.port("http.port").filter(|port| {
                port.port == 0 || secure_port.as_ref().is_none_or(|secure| port != secure)
            }),
            secure_port,
            http2: self.http2(),
            client_certificates: self.client_certificates("http.mtls"),
            compression_threshold_bytes: self.size("http.compressionThreshold"),
            compression: self.compression(),
            event_stream: self.event_stream(),
            web_socket: self.web_socket(),
            cors: self.cors("http"),
            timeouts: self.timeouts(),
            header_bytes_max: self.size("http.maxHeaderSize"),
            body_bytes_max: self.size("http.bodyBytesMax"),
            bodies_bytes_max: self.size("http.bodiesBytesMax"),
            multipart_parts_max: self.size("http.multipartPartsMax"),
            body_records_max: self.size("http.bodyRecordsMax"),
            queue_time_max: self.millis("http.requestQueueLimit"),
            connections_max: self.size("http.connectionsMax"),
            proxies: self.proxies(),
            response_timeout: self.millis("http.responseTimeout"),
            rate_limit: self.rate_limit(),
            server_header: self.text("http.serverHeader"),
            server_timing: self.flag("http.serverTiming"),
            security_headers: headers::security_pairs(self.value("http.securityHeaders")),
            request_id: self.request_id(),
            logging: self.sections.contains("http.logging").then(|| self.request_log()),
        }
    }

    fn threads(&self) -> Threads {
        let basis = match self.text("threads.basis").as_str() {
            "cpus" => ThreadsBasis::Cpus,
            _ => ThreadsBasis::Limit,
        };
        Threads {
            count: self.count("threads.count"),
            min: self.size("threads.min"),
            max: self.size("threads.max"),
            basis,
            cgroup_root: self.path("threads.cgroupRootForTests").unwrap_or_default(),
        }
    }

    fn storage(&self) -> Storage {
        Storage {
            path: self.path("storage.path"),
            write_async: self.flag("storage.writeAsync"),
            map_bytes: self.size("storage.mapBytes"),
            trees_max: u32::try_from(self.number("storage.treesMax")).unwrap_or(u32::MAX),
            queue_max: self.size("storage.queueMax"),
            queue_bytes_max: self.size("storage.queueBytesMax"),
            batch_bytes_max: self.size("storage.batchBytesMax"),
            batch_max: self.size("storage.batchMax"),
            free_bytes_min: self.number("storage.freeBytesMin"),
            change_log_bytes_max: self.number("storage.changeLogBytesMax"),
            change_log_age_max: self.millis("logging.auditRetention"),
            queue_time_max: self.millis("storage.maxTransactionQueueTime"),
            sweep_interval: self.millis("storage.expirySweepInterval"),
            sync_delay: self.millis("storage.syncDelayForTests"),
        }
    }

    fn value(&self, name: &str) -> &Value {
        debug_assert!(
            self.values.contains_key(name),
            "{name} is not a key that the server acts on"
        );
        self.values.get(name).copied().unwrap_or(&Value::Null)
    }

    fn flag(&self, name: &str) -> bool {
        self.value(name).as_bool().unwrap_or_default()
    }

    fn number(&self, name: &str) -> u64 {
        self.value(name).as_u64().unwrap_or_default()
    }

    fn size(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }

    fn count(&self, name: &str) -> Option<usize> {
        self.value(name).as_u64().and_then(|count| usize::try_from(count).ok())
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    fn millis_if_set(&self, name: &str) -> Option<Duration> {
        self.value(name).as_u64().map(Duration::from_millis)
    }

    fn text(&self, name: &str) -> String {
        self.value(name).as_str().unwrap_or_default().to_owned()
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).as_str().map(PathBuf::from)
    }

    fn port(&self, name: &str) -> Option<Port> {
        value::port(self.value(name)).ok().filter(|_| !self.value(name).is_null())
    }

    fn list(&self, name: &str) -> Option<Vec<String>> {
        texts(self.value(name))
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let items = value.as_array()?;
    Some(items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
}
