//! The forms of a request line: Harper's text, JSON, and the combined format of web servers. Pure functions of an
//! [`Entry`] and of what was sent.

use super::entry::Entry;
use crate::exchange::{Sent, to_hex};
use harper_config::RequestLogFormat;
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The line, with its end.
pub(super) fn line(entry: &Entry, sent: Sent) -> Vec<u8> {
    let now = Timestamp::now();
    let mut line = match entry.format {
        RequestLogFormat::Text => text(entry, now),
        RequestLogFormat::Json => json(entry, sent, now),
        RequestLogFormat::Combined => combined(entry, sent, now),
    };
    line.push('\n');
    line.into_bytes()
}

/// Harper's: `<time> [<thread>] [<level>] [<tag>]: METHOD target HTTP/version [headers] status [n.nnms] [id: n]`.
fn text(entry: &Entry, now: Timestamp) -> String {
    let mut line = format!("{now:.3} [{}] [{}] [{}]: ", thread(), level(entry), entry.tag);
    // writing to a string cannot fail
    let _ = write!(line, "{} {} {}", entry.summary.method, entry.summary.target, entry.protocol());
    for (name, value) in entry.headers.iter().flatten() {
        let _ = write!(line, " {name}: {value:?}");
    }
    let _ = write!(line, " {}", entry.summary.status);
    if entry.has_timing {
        let _ = write!(line, " {:.2}ms", entry.summary.took.as_secs_f64() * 1000.0);
    }
    if let Some(number) = entry.number {
        let _ = write!(line, " id: {number}");
    }
    line
}

fn level(entry: &Entry) -> &'static str {
    match entry.summary.status {
        500.. => "error",
        400.. => "warn",
        _ => "info",
    }
}

fn thread() -> Cow<'static, str> {
    std::thread::current().name().map_or(Cow::Borrowed("main"), |name| name.to_owned().into())
}

/// A JSON line, with the members that every line of the log has first.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: String,
    message: String,
    target: &'a str,
    #[serde(rename = "threadName")]
    thread_name: Cow<'a, str>,
    method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Cow<'a, str>>,
    status: u16,
    duration_ms: f64,
    head_ms: f64,
    bytes_in: u64,
    bytes_out: u64,
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    request_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<&'a str, String>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    aborted: bool,
}

fn json(entry: &Entry, sent: Sent, now: Timestamp) -> String {
    let protocol = entry.protocol();
    let line = Line {
        timestamp: format!("{now:.6}"),
        level: level(entry).to_ascii_uppercase(),
        message: format!(
            "{} {} {protocol} {}",
            entry.summary.method, entry.summary.target, entry.summary.status
        ),
        target: &entry.tag,
        thread_name: thread(),
        method: entry.summary.method.as_str(),
        path: entry.summary.target.path(),
        query: entry.summary.target.query(),
        protocol,
        tls: entry.summary.tls_version,
        host: entry.summary.host.as_ref().map(lossy),
        status: entry.summary.status,
        duration_ms: millis(entry.summary.started.elapsed()),
        head_ms: millis(entry.summary.took),
        bytes_in: entry.summary.body_bytes,
        bytes_out: sent.bytes,
        client: entry.summary.client.to_string(),
        user: entry.summary.user.as_deref(),
        request_id: lossy(&entry.summary.id),
        trace_id: entry.summary.trace.as_ref().map(|trace| to_hex(&trace.trace_id)),
        span_id: entry.summary.trace.as_ref().map(|trace| to_hex(&trace.span_id)),
        user_agent: entry.summary.user_agent.as_ref().map(lossy),
        referer: entry.summary.referer.as_ref().map(lossy),
        id: entry.number,
        headers: entry.headers.as_ref().map(by_name),
        // the answer to HEAD is the head
        aborted: !sent.is_whole && entry.summary.method != Method::HEAD,
    };
    // every member has a form in JSON
    serde_json::to_string(&line).unwrap_or_default()
}

fn millis(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}

fn lossy(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// Headers by name; those sent more than once as one list.
fn by_name(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let mut all = BTreeMap::<&str, String>::new();
    for (name, value) in headers {
        let list = all.entry(name.as_str()).or_default();
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(&lossy(value));
    }
    all
}

/// The combined log format: `client - user [time] "request" status bytes "referer" "user agent"`.
fn combined(entry: &Entry, sent: Sent, now: Timestamp) -> String {
    let user = entry.summary.user.as_deref().unwrap_or("-");
    let mut line = format!("{} - ", entry.summary.client);
    escape(user.as_bytes(), &mut line);
    let time = now.strftime("%d/%b/%Y:%H:%M:%S +0000");
    let _ = write!(
        line,
        " [{time}] \"{} {} {:?}\"",
        entry.summary.method, entry.summary.target, entry.summary.version
    );
    let _ = match sent.bytes {
        0 => write!(line, " {} -", entry.summary.status),
        bytes => write!(line, " {} {bytes}", entry.summary.status),
    };
    for value in [&entry.summary.referer, &entry.summary.user_agent] {
        line.push_str(" \"");
        quote(value.as_ref().map_or(b"-", |value| value.as_bytes()), &mut line);
        line.push('"');
    }
    line
}

/// Text outside quotes, in which a space would end the field.
fn escape(bytes: &[u8], line: &mut String) {
    for part in bytes.split_inclusive(|byte| *byte == b' ') {
        match part.strip_suffix(b" ") {
            Some(word) => {
                quote(word, line);
                line.push_str("\\x20");
            }
            None => quote(part, line),
        }
    }
}

/// Text between quotes: what would end it, or the line, is escaped as web servers do.
fn quote(bytes: &[u8], line: &mut String) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' => line.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => line.push(char::from(*byte)),
            _ => {
                let _ = write!(line, "\\x{byte:02x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Summary;
    use harper_config::HttpLogging;
    use http::{Version, header};
    use std::time::{Duration, Instant};

    fn entry() -> Entry {
        let yaml = "http: {logging: {timing: true, id: true, headers: true}}";
        let logging: HttpLogging = harper_config::from_text(yaml).0.unwrap().http.logging.unwrap();
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("*/*"))]);
        Entry {
            format: logging.format,
            tag: logging.tag,
            has_timing: true,
            number: Some(121),
            headers: Some(headers),
            summary: summary(),
        }
    }

    fn summary() -> Summary {
        let text = |text: &'static str| Some(HeaderValue::from_static(text));
        Summary {
            method: Method::GET,
            target: "/Owner/o1?a=b".parse().unwrap(),
            version: Version::HTTP_11,
            is_secure: true,
            tls_version: Some("1.3"),
            status: 200,
            client: "203.0.113.9".parse().unwrap(),
            user: Some("a b\"c".into()),
            host: text("a.example"),
            referer: None,
            user_agent: Some(HeaderValue::from_bytes(b"say \"hi\"\\ \xff").unwrap()),
            id: HeaderValue::from_static("7-1"),
            trace: None,
            route: None,
            body_bytes: 7,
            took: Duration::from_micros(550),
            started: Instant::now(),
        }
    }

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const SENT: Sent = Sent { bytes: 9, is_whole: true };

    #[test]
    fn the_text_form_is_harpers() {
        let thread = thread();
        let line = text(&entry(), NOW);
        let rest = "GET /Owner/o1?a=b HTTPS/1.1 accept: \"*/*\" 200 0.55ms id: 121";
        assert_eq!(line, format!("1970-01-01T00:00:00.000Z [{thread}] [info] [http]: {rest}"));
        let plain = Entry {
            has_timing: false,
            number: None,
            headers: None,
            summary: Summary { is_secure: false, status: 404, ..summary() },
            tag: "web".into(),
            ..entry()
        };
        let line = text(&plain, NOW);
        assert!(line.ends_with("[warn] [web]: GET /Owner/o1?a=b HTTP/1.1 404"), "{line}");
    }

    #[test]
    fn the_json_form_holds_everything() {
        let line: serde_json::Value = serde_json::from_str(&json(&entry(), SENT, NOW)).unwrap();
        let expected = serde_json::json!({
            "timestamp": "1970-01-01T00:00:00.000000Z", "level": "INFO", "target": "http",
            "message": "GET /Owner/o1?a=b HTTPS/1.1 200", "method": "GET", "path": "/Owner/o1",
            "query": "a=b", "protocol": "HTTPS/1.1", "tls": "1.3", "host": "a.example", "status": 200,
            "head_ms": 0.55, "bytes_in": 7, "bytes_out": 9, "client": "203.0.113.9",
            "user": "a b\"c", "request_id": "7-1", "id": 121, "headers": {"accept": "*/*"},
            "user_agent": "say \"hi\"\\ \u{fffd}",
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(line[name], *value, "{name}");
        }
        assert!(line.get("aborted").is_none() && line.get("referer").is_none());
        let cut = Sent { is_whole: false, ..SENT };
        let line: serde_json::Value = serde_json::from_str(&json(&entry(), cut, NOW)).unwrap();
        assert_eq!(line["aborted"], true);
    }

    #[test]
    fn the_combined_form_escapes_what_could_forge_a_field() {
        assert_eq!(
            combined(&entry(), SENT, NOW),
            "203.0.113.9 - a\\x20b\\\"c [01/Jan/1970:00:00:00 +0000] \"GET /Owner/o1?a=b HTTP/1.1\" 200 9 \"-\" \
             \"say \\\"hi\\\"\\\\ \\xff\""
        );
        let nothing = Summary { user: None, user_agent: None, status: 304, ..summary() };
        let nothing = Entry { summary: nothing, ..entry() };
        let line = combined(&nothing, Sent { bytes: 0, is_whole: true }, NOW);
        assert!(
            line.starts_with("203.0.113.9 - - [") && line.ends_with("304 - \"-\" \"-\""),
            "{line}"
        );
    }
}
