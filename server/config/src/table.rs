//! The one ordered table of configuration keys.
//!
//! To add a key: one row here, one field in `config.rs`. The tests name whatever else is missing.

use crate::keys::{Key, Kind, Support};
use Kind::{
    Any, AutoOr, Bool, Bytes, Choice, HeaderName, HeaderValue, Int, Millis, Networks, Path, Port,
    Sections, SecurityHeaders, Text, TextList,
};

const LEVELS: &[&str] = &["trace", "debug", "info", "warn", "error", "fatal", "notify"];

const OPERATIONS: Support = Support::Later("the Operations API");
const MQTT: Support = Support::Later("MQTT");
const SESSIONS: Support = Support::Later("sessions and tokens");
const SCRIPT: Support = Support::Later("JavaScript components");
const STDOUT: Support = Support::Never("logs go to standard output, one line each");
const ENGINE: Support = Support::Never("the storage engine needs no such setting");

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key::new(name, kind, default, doc)
}

/// Every key, in the order of the documentation.
///
/// A key is followed while the server runs when its row ends with `.live()`; a change of any other is named in a
/// warning and waits for the next start. A key may be live when all that reads it asks `services.config` at the time of
/// use, or is told in `App::reconfigure`. `tests/it/live/cases.rs` must have a case that changes it and sees the effect.
pub const KEYS: &[Key] = &[
    key("rootPath", Path, "~/hdb", "Directory that holds the databases, keys and applications."),
    key("componentsRoot", Path, "", "Directory whose folders are the applications; `<rootPath>/components` when unset."),
    // http
    key("http.port", Port, "9926", "Port of the application listener, or `address:port`; `null` opens none."),
    key("http.securePort", Port, "", "Port of the TLS application listener, or `address:port`. When it equals `http.port`, there is no plain listener. The certificates are those of `tls`."),
    key("http.http2", Bool, "false", "HTTP/2 on the TLS listener.").support(Support::Later("HTTP/2")),
    key("http.sessionAffinity", Text, "", "Keeps a client on one worker.").support(Support::Never("the kernel spreads connections over the workers")),
    key("http.compressionThreshold", Bytes, "1200", "A larger body is compressed for a client that accepts it; results of queries are compressed whatever their size. 0 switches compression off.").live(),
    key("http.compression.brotliQuality", Int(0, 11), "3", "Quality of Brotli, 0 to 11. Of 20 kB of JSON 2 leaves 23.9 % in 83 µs, 3 23.5 % in 95, 4 23.1 % in 136, 5 22.1 % in 266, 9 21.6 % in 5618. A step above the default saves less than 5 bytes in a microsecond: it pays on links slower than 20 Mbit/s.").live(),
    key("http.compression.gzipLevel", Int(1, 9), "5", "Level of gzip, 1 to 9. Of 20 kB of JSON 1 leaves 35.2 % in 27 µs, 4 23.6 % in 66, 5 23.1 % in 71, 6 23.0 % in 90.").live(),
    key("http.compression.zstdLevel", Int(1, 19), "3", "Level of Zstandard, 1 to 19. Of 20 kB of JSON 1 leaves 24.2 % in 21 µs, 3 23.9 % in 26, 6 22.8 % in 90, 9 22.1 % in 149.").live(),
    key("http.cors", Bool, "true", "Answers cross-origin requests (CORS).").live(),
    key("http.corsAccessList", TextList, "", "Origins that may send credentials; unset or `*` admits every origin without credentials.").live(),
    key("http.corsAccessControlAllowHeaders", HeaderValue, "Accept, Content-Type, Authorization", "Headers that a preflight answer allows; `*` allows those it asks for.").live(),
    key("http.corsAccessControlExposeHeaders", HeaderValue, "ETag, Location, Server-Timing, X-Request-Id, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset", "Headers of an answer that a page of another origin may read.").live(),
    key("http.corsAccessControlMaxAge", Millis, "0", "Time for which a browser may remember the answer to a preflight; 0 leaves it to the browser.").live(),
    key("http.headersTimeout", Millis, "60000", "Time for a client to send all request headers; 0 sets no limit.").live(),
    key("http.keepAliveTimeout", Millis, "30000", "Time an idle connection is kept open; 0 sets no limit.").live(),
    key("http.timeout", Millis, "120000", "Time for a client to send a whole request, and for it to take more of an answer; 0 sets no limit.").live(),
    key("http.maxHeaderSize", Bytes, "16394", "Size of the request header block; a larger one is answered with 431.").live(),
    key("http.bodyBytesMax", Bytes, "64M", "Size of a request body; a larger one is answered with 413.").live(),
    key(
        "http.bodiesBytesMax",
        Bytes,
        "512M",
        "Request bodies that the process holds at once, those under 64 KiB not counted; more is answered with 503.",
    ).live(),
    key("http.multipartPartsMax", Int(1, 1_000_000), "1000", "Parts of a `multipart/form-data` request body; one more is answered with 413.").live(),
    key("http.connectionsMax", Int(1, 10_000_000), "10000", "Open application connections of the process; one more is answered with 503.").live(),
    key("http.requestQueueLimit", Millis, "20000", "Time that requests may wait until their worker, or a thread for the blocking work of one, comes to them; beyond it they are answered with 503. 0 sets no limit.").live(),
    key("http.trustedProxies", Networks, "", "Proxies that are believed: what they say of the client's address, of its scheme and host, and of the id of the request.").live(),
    key("http.forwardedHeaders", Choice(&["X-Forwarded", "Forwarded"]), "X-Forwarded", "Headers in which the trusted proxies say it: `X-Forwarded-For`, `-Proto` and `-Host`, or `Forwarded` (RFC 7239). The other kind is not read, for a proxy that does not know it lets a client's own through.").live(),
    key("http.proxyProtocol", Bool, "false", "A connection of a trusted proxy begins with a header of the PROXY protocol, version 1 or 2; other connections are served as they are.").live(),
    key("http.requestId.header", HeaderName, "X-Request-Id", "Header of the id of a request: visible ASCII of at most 128 bytes, taken from a trusted proxy, else made here.").live(),
    key("http.requestId.send", Bool, "true", "Sends the id with every answer. It is in errors and in the request log in any case.").live(),
    key("http.responseTimeout", Millis, "0", "Time for an answer to begin, after which the client is told 503; a write that is under way may still be committed. 0 sets no limit.").live(),
    key("http.rateLimit.requests", Int(0, 1_000_000_000), "0", "Requests that a client may make in each window, over all workers; one more is answered with 429. 0 sets no limit.").live(),
    key("http.rateLimit.window", Millis, "1m", "The window: a client may make one request more whenever its part of this time has passed.").live(),
    key("http.rateLimit.burst", Int(1, 1_000_000_000), "", "Requests that a client which has waited may make at once; as many as in a window when unset.").live(),
    key("http.rateLimit.by", Choice(&["address", "user"]), "address", "Who is one client: an address (a network of 64 bits for IPv6), or a user, and without a login an address. Wrong logins are throttled apart from this.").live(),
    key("http.rateLimit.addressesMax", Int(1000, 100_000_000), "100000", "Clients that are remembered, about 32 bytes each; of more, those that have asked least are forgotten. A change forgets all.").live(),
    key("http.serverHeader", HeaderValue, "HarperDB", "The `Server` of every answer; an empty text sends none.").live(),
    key("http.serverTiming", Bool, "true", "Tells in `Server-Timing` how long an answer took. Off, nobody can measure from outside what the server does.").live(),
    key("http.securityHeaders", SecurityHeaders, "", "Headers that tell browsers to be careful. Unset: `X-Content-Type-Options: nosniff` alone. `true`: also `Strict-Transport-Security` (over TLS), `Content-Security-Policy`, `X-Frame-Options`, `Referrer-Policy`, `Permissions-Policy`, `Cross-Origin-Opener-Policy` and `Cross-Origin-Resource-Policy`. A mapping changes these, null leaving one out. `false`: none. A header that the application sets stays as it is.").live(),
    key("http.mtls", Any, "false", "Client certificates.").support(Support::Later("client certificates")),
    key("http.logging.level", Choice(LEVELS), "info", "Lowest level of request lines: `info` all, `warn` from status 400, `error` from status 500. The request log exists only when the file has an `http.logging` block.").live(),
    key("http.logging.format", Choice(&["text", "json", "combined"]), "", "Form of a request line: `text` Harper's, `json` an object with everything that is known of the request, `combined` as web servers write it, without options. Unset: as `logging.format`.").live(),
    key("http.logging.timing", Bool, "false", "Adds the time until the answer was made to a text line; a JSON line has it as `head_ms`, and as `duration_ms` the time until the answer was handed over.").live(),
    key("http.logging.headers", Bool, "false", "Adds the request headers to a text or JSON line; credentials and cookies are left out.").live(),
    key("http.logging.id", Bool, "false", "Adds a number, counted from the start of the process, to a text or JSON line.").live(),
    key("http.logging.path", Path, "", "File of the request log.").support(STDOUT),
    key("http.logging.root", Path, "", "Directory of the request log.").support(STDOUT),
    key("http.logging.stdStreams", Bool, "true", "Request log on the standard streams.").support(STDOUT),
    key("http.logging.tag", Text, "http", "What marks a text or JSON line as one of the request log.").live(),
    key("http.maxParamLength", Any, "", "Length of a route parameter.").support(Support::Never("routes have no parameters")),
    key("http.threadRange", Any, "", "Threads that serve HTTP.").support(Support::Never("every worker serves every listener")),
    // threads
    key("threads.count", AutoOr(1, 1024), "auto", "Number of workers. `auto` follows the CPUs of the pod while the server runs: `threads.basis`, between `threads.min` and `threads.max`.").live().alias("threads").live(),
    key("threads.basis", Choice(&["limit", "cpus"]), "limit", "What `auto` follows: `limit` is the CPU limit of the container rounded up, at most the CPUs the process may run on; `cpus` is the latter alone.").live(),
    key("threads.min", Int(1, 1024), "1", "Fewest workers of `auto`.").live(),
    key("threads.max", Int(1, 1024), "1024", "Most workers of `auto`.").live(),
    key("threads.cgroupRootForTests", Path, "/sys/fs/cgroup", "Where control groups are read.").support(Support::Hidden),
    key("threads.maxHeapMemory", Int(0, 1 << 20), "", "Heap of a worker's JavaScript engine, in MB.").support(SCRIPT),
    key("threads.heapSnapshotNearLimit", Bool, "false", "Writes a heap snapshot near the limit.").support(Support::Never("no JavaScript heap of this kind")),
    key("threads.debug", Any, "false", "JavaScript debugger.").support(Support::Never("no Node.js debugger")),
    key("threads.preload", Any, "", "Modules loaded first in each worker.").support(SCRIPT),
    key("threads.preloadRequire", Any, "", "Modules loaded first in each worker.").support(SCRIPT),
    // authentication
    key("authentication.authorizeLocal", Bool, "false", "A client on the loopback address without credentials is a super user. `harper-server dev` switches it on.").live(),
    key("authentication.cacheTTL", Millis, "30000", "Time for which a verified credential is remembered.").live(),
    key(
        "authentication.verificationsMax",
        Int(1, 100_000),
        "64",
        "Logins that may wait to be verified; one more is answered with 503.",
    ),
    key("authentication.enableSessions", Bool, "true", "Cookie sessions.").support(SESSIONS),
    key("authentication.operationTokenTimeout", Text, "1d", "Life of an operation token.").support(SESSIONS),
    key("authentication.refreshTokenTimeout", Text, "30d", "Life of a refresh token.").support(SESSIONS),
    key("authentication.hashFunction", Choice(&["argon2id", "sha256", "md5"]), "argon2id", "Hash of stored passwords.").support(Support::Never("passwords are always hashed with argon2id")),
    key("authentication.cookie", Any, "", "Session cookies.").support(SESSIONS),
    key("authentication.logging", Any, "", "Log of authentication.").support(STDOUT),
    // other interfaces
    key("operationsApi.network.port", Port, "9925", "Port of the Operations API.").support(OPERATIONS),
    key("operationsApi.network.securePort", Port, "", "TLS port of the Operations API.").support(OPERATIONS),
    key("operationsApi.network.cors", Bool, "true", "CORS of the Operations API.").support(OPERATIONS),
    key("operationsApi.network.corsAccessList", TextList, "", "Origins of the Operations API.").support(OPERATIONS),
    key("operationsApi.network.domainSocket", Path, "", "Unix socket of the Operations API.").support(OPERATIONS),
    key("operationsApi.network.headersTimeout", Millis, "", "As `http.headersTimeout`.").support(OPERATIONS),
    key("operationsApi.network.keepAliveTimeout", Millis, "", "As `http.keepAliveTimeout`.").support(OPERATIONS),
    key("operationsApi.network.timeout", Millis, "", "As `http.timeout`.").support(OPERATIONS),
    key("operationsApi.tls", Any, "", "TLS of the Operations API.").support(OPERATIONS),
    key("operationsApi.sysInfo", Any, "", "Parts of the system information.").support(OPERATIONS),
    key("mqtt", Any, "", "MQTT listeners.").support(MQTT),
    // certificates
    key("tls", Sections, "", "Certificates of the TLS listeners: one as a mapping of the members below, or a list of such mappings. The name that a client asks for chooses among them; one that asks for no known name gets the first."),
    key("tls.certificate", Text, "", "The certificate and those between it and its authority, as a path or as PEM text; `<rootPath>/keys/certificate.pem` when unset. When no certificate is configured and that file does not exist, a self-signed one is made there."),
    key("tls.privateKey", Text, "", "Its private key, as a path or as PEM text; `<rootPath>/keys/privateKey.pem` when unset."),
    key("tls.certificateAuthority", Text, "", "Authorities of client certificates, as a path or as PEM text; `<rootPath>/keys/ca.pem` when unset."),
    key("tls.host", TextList, "", "Names for which the certificate is used, such as `api.example.com` or `*.example.com`; the certificate's own names when unset.").alias("tls.hosts tls.hostname tls.hostnames"),
    key("tls.ciphers", Text, "", "Cipher suites that may be used, in OpenSSL's names, separated by colons; all safe ones when unset."),
    key("tls.minVersion", Choice(&["1.2", "1.3", "TLSv1.2", "TLSv1.3"]), "1.2", "Lowest version of TLS."),
    key("tls.uses", TextList, "", "Listeners that the certificate is for: `https`, `wss`, `operations`, `mqtts`; all when unset."),
    key("tls.logging", Any, "", "Log of TLS.").support(STDOUT),
    // logging
    key("logging.level", Choice(LEVELS), "warn", "Lowest level that is logged.").live(),
    key("logging.format", Choice(&["text", "json"]), "text", "Form of a log line. The container image sets `json`.").live(),
    key("logging.auditRetention", Millis, "3d", "Age up to which the change log of the tables is kept.").live(),
    key("logging.auditLog", Bool, "true", "Change log of the tables.").support(Support::Never("the change log is always kept; `logging.auditRetention` bounds it")),
    key("logging.file", Bool, "false", "Log file.").support(STDOUT),
    key("logging.root", Path, "", "Directory of the log file.").support(STDOUT),
    key("logging.path", Path, "", "Path of the log file.").support(STDOUT),
    key("logging.stdStreams", Bool, "true", "Log on the standard streams.").support(STDOUT),
    key("logging.console", Bool, "false", "Output of components in the log.").support(SCRIPT),
    key("logging.colors", Bool, "false", "Colours.").support(STDOUT),
    key("logging.rotation", Any, "", "Rotation of the log file.").support(STDOUT),
    key("logging.auditAuthEvents", Any, "", "Log of authentication events.").support(SESSIONS),
    key("logging.external", Any, "", "Log of application code.").support(SCRIPT),
    // storage
    key("storage.path", Path, "", "Directory of the databases; `<rootPath>/database` when unset."),
    key("storage.writeAsync", Bool, "false", "Answers writes after one sync of the disk instead of two: a power failure may lose the last ones, but never harms the database, and `kill -9` loses nothing."),
    key("storage.mapBytes", Bytes, "1T", "Largest size of one database. It is address space, not memory."),
    key(
        "storage.treesMax",
        Int(8, 10_000),
        "128",
        "Tables and indexes, counted together, that one database may have. A larger number slows every read.",
    ),
    key("storage.queueMax", Int(1, 1_000_000), "4096", "Write requests that may wait for one database; one more is answered with 503."),
    key(
        "storage.queueBytesMax",
        Bytes,
        "256M",
        "Bytes of the write requests that one database holds until they are answered; more is answered with 503.",
    ).live(),
    key(
        "storage.batchBytesMax",
        Bytes,
        "64M",
        "Bytes of write requests after which no more join a sync of the disk.",
    ).live(),
    key("storage.batchMax", Int(1, 100_000), "1024", "Write requests that share one sync of the disk.").live(),
    key("storage.freeBytesMin", Bytes, "512M", "Free space of the volume below which writes are answered with 507; deletes still work.").live(),
    key("storage.changeLogBytesMax", Bytes, "1G", "Size of one database's change log.").live(),
    key("storage.syncDelayForTests", Millis, "0", "Added to every sync of the disk.").live().support(Support::Hidden),
    key("storage.expirySweepInterval", Millis, "1000", "Time between two removals of expired records. A record is not seen from the moment it expires on, removed or not; a table's `scanInterval` can make its removals rarer.").live(),
    key("storage.maxTransactionQueueTime", Millis, "45s", "Time a write may wait before it is answered with 503.").live(),
    key("storage.caching", Bool, "true", "Record cache.").support(ENGINE),
    key("storage.compression", Any, "true", "Compression of stored records.").support(ENGINE),
    key("storage.noReadAhead", Bool, "false", "Read-ahead of the operating system.").support(ENGINE),
    key("storage.prefetchWrites", Bool, "true", "Prefetch of pages to be written.").support(ENGINE),
    key("storage.overlappingSync", Bool, "", "Overlapping syncs.").support(ENGINE),
    key("storage.pageSize", Int(0, 65536), "", "Page size of a database.").support(ENGINE),
    key("storage.maxFreeSpaceToLoad", Any, "", "Free list limits.").support(ENGINE),
    key("storage.maxFreeSpaceToRetain", Any, "", "Free list limits.").support(ENGINE),
    key("storage.debugLongTransactions", Bool, "", "Log of long transactions.").support(ENGINE),
    key("storage.compactOnStart", Bool, "false", "Compaction at start.").support(Support::Later("backup and compaction")),
    key("storage.compactOnStartKeepBackup", Bool, "false", "Backup of a compaction.").support(Support::Later("backup and compaction")),
    key("storage.blobPaths", Any, "", "Directories of blobs.").support(Support::Later("blobs in files")),
    key("storage.reclamation", Any, "", "Eviction when the disk fills.").support(Support::Later("caching tables")),
    key("storage.audit", Any, "", "Path of the audit store.").support(ENGINE),
    key("storage.engine", Text, "", "Storage engine.").support(Support::Never("there is one engine, LMDB")),
    key("storage.logging", Any, "", "Log of the storage.").support(STDOUT),
    // limits of queries and of background work
    key("query.sortRecordsMax", Int(1, 100_000_000), "100000", "Records that one query may hold to sort them when no index gives the order; more is answered with 400.").live(),
    key(
        "query.heldBytesMax",
        Bytes,
        "16M",
        "Bytes of one query's result that are held because its type, MessagePack, begins with the number of records; more is answered with 400.",
    )
    .live(),
    key("query.scanRecordsMax", Int(0, 1 << 40), "10000000", "Records that one query may read without returning them, as when no condition has an index; more is answered with 400. 0 allows any number.").live(),
    key("pool.threads", AutoOr(1, 256), "auto", "Threads for work that may block: cold reads, files, password hashing. `auto` is the number of workers, at least 2.").live(),
    key("pool.queueMax", Int(1, 1_000_000), "1024", "Pieces of such work that may wait; one more is answered with 503."),
    // admin and shutdown
    key("admin.port", Port, "9464", "Port of `/metrics`, `/livez`, `/readyz` and `/startupz`; never part of a client Service."),
    key("admin.stuckAfter", Millis, "10000", "A worker that has not answered for this long makes `/livez` fail.").live(),
    key("shutdown.delay", Millis, "0", "Time between failing readiness and closing the listeners when the process is told to stop.").live(),
    key("shutdown.timeout", Millis, "30000", "Time for requests under way to finish when the process is told to stop.").live(),
    // the rest of what Harper knows
    key("localStudio", Any, "", "Web interface.").support(Support::Never("there is no bundled web interface")),
    key("analytics", Any, "", "Stored analytics.").support(Support::Later("analytics tables; Prometheus metrics are on the admin port")),
    key("databases", Any, "", "Paths of single databases.").support(Support::Later("paths of single databases")),
    key("serialization", Any, "", "JSON of big integers.").support(Support::Never("numbers keep the exact digits that were stored")),
    key("node.hostname", Text, "", "Name of this node.").support(Support::Later("the distributed engine")),
    key("node.url", Text, "", "Address of this node.").support(Support::Later("the distributed engine")),
    key("replication", Any, "", "Replication.").support(Support::Later("the distributed engine")),
    key("clustering", Any, "", "Clustering of Harper 3.").support(Support::Never("replaced by the distributed engine")),
    key("ignoreScripts", Bool, "", "npm scripts.").support(SCRIPT),
    key("customFunctionsRoot", Path, "", "Old name of the components directory.").support(Support::Never("use componentsRoot")),
];
