//! The admin listener: probes and metrics.

use crate::harness::{Home, Server};
use std::collections::{BTreeMap, BTreeSet};

fn start() -> Server {
    Home::with_schema("type Dog @table @export { id: ID @primaryKey name: String }").start()
}

#[test]
fn probes_answer_and_tell_what_they_looked_at() {
    let server = start();
    let admin = server.admin();
    for probe in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(admin.get(probe).expect(200).text(), "ok\n", "{probe}");
        let head = admin.request("HEAD", probe).send().expect(200);
        assert!(head.body.is_empty());
        admin.request("POST", probe).body("text/plain", "x").send().expect(405);
    }
    let ready = admin.get("/readyz?verbose").expect(200).text();
    for line in [
        "[+] listener http ok",
        "[+] store data ok",
        "[+] store system ok",
        "[+] component app ok",
        "[+] shutdown ok",
    ] {
        assert!(ready.contains(line), "{line}: {ready}");
    }
    let live = admin.get("/livez?verbose").expect(200).text();
    assert!(live.contains("[+] worker 0 ok") && live.contains("[+] worker 1 ok"), "{live}");
    admin.get("/").expect(404);
    admin.get("/metrics/x").expect(404);
    server.client().get("/metrics").expect(404);
    server.client().get("/readyz").expect(404);
}

#[test]
fn they_answer_while_the_application_is_under_load() {
    let server = start();
    let mut stuck: Vec<_> = (0..50).map(|_| server.wire()).collect();
    for wire in &mut stuck {
        wire.send("PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{");
    }
    for _ in 0..20 {
        server.admin().get("/livez").expect(200);
        server.admin().get("/readyz").expect(200);
    }
}

/// One family of the exposition format.
#[derive(Default, Debug)]
struct Family {
    kind: String,
    help: String,
    series: Vec<(String, String, f64)>,
}

/// Reads the exposition format, strictly.
fn parse(page: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.help.is_empty() && !help.is_empty(), "{line}");
            family.help = help.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.kind.is_empty(), "{line}");
            family.kind = kind.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').expect(line);
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}').expect(line)),
                None => (series, ""),
            };
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
                let base = name.strip_suffix(end)?;
                families.get(base).filter(|family| family.kind == "histogram").map(|_| base)
            });
            let family = families
                .get_mut(base.unwrap_or(name))
                .unwrap_or_else(|| panic!("no TYPE before: {line}"));
            family.series.push((name.to_owned(), labels.to_owned(), value.parse().expect(line)));
        }
    }
    families
}

#[test]
fn metrics_follow_the_conventions() {
    let server = start();
    let client = server.client();
    client.put("/Dog/secret-key", r#"{"name":"x"}"#).expect(204);
    client.get("/Dog/secret-key").expect(200);
    client.get("/Dog/?name=secret-value").expect(200);
    client.get("/secret-path").expect(404);
    client.request("BREW", "/secret-path").send().expect(501);
    let reply = server.admin().get("/metrics").expect(200);
    assert!(reply.header("content-type").starts_with("text/plain; version=0.0.4"), "{reply}");
    let page = reply.text();
    assert!(!page.contains("secret") && !page.contains("BREW") && !page.contains("/Dog"), "{page}");
    let families = parse(&page);
    for (name, family) in &families {
        assert!(name.starts_with("harper_") || name.starts_with("process_"), "{name}");
        assert!(
            matches!(family.kind.as_str(), "counter" | "gauge" | "histogram"),
            "{name}: {family:?}"
        );
        assert!(!family.help.is_empty() && !family.series.is_empty(), "{name}: {family:?}");
        assert_eq!(
            name.ends_with("_total"),
            family.kind == "counter",
            "{name} is a {}",
            family.kind
        );
        let mut seen = BTreeSet::new();
        for (series, labels, value) in &family.series {
            assert!(seen.insert((series, labels)), "{series} {labels} twice");
            assert!(
                value.is_finite() && (family.kind == "gauge" || *value >= 0.0),
                "{series} {value}"
            );
        }
    }
    assert!(
        families.keys().filter(|name| name.starts_with("harper_")).count() >= 15,
        "{:?}",
        families.keys()
    );
    histogram(&families["harper_http_request_duration_seconds"]);
}

/// The buckets grow, and the last is the count.
fn histogram(family: &Family) {
    let values = |end: &str| -> Vec<f64> {
        family
            .series
            .iter()
            .filter(|(name, _, _)| name.ends_with(end))
            .map(|(_, _, value)| *value)
            .collect()
    };
    let buckets = values("_bucket");
    assert!(buckets.windows(2).all(|pair| pair[0] <= pair[1]), "{family:?}");
    assert_eq!(buckets.last(), values("_count").first());
    assert_eq!(values("_count"), [5.0]);
    assert!(values("_sum")[0] > 0.0);
}

#[test]
fn requests_are_counted_by_method_and_status() {
    let server = start();
    let client = server.client();
    for _ in 0..3 {
        client.put("/Dog/1", "{}").expect(204);
        client.get("/Dog/1").expect(200);
    }
    client.get("/Dog/none").expect(404);
    client.request("BREW", "/Dog/1").send().expect(501);
    let count = |method: &str, code: &str| {
        // label order is not part of the contract
        let page = server.admin().get("/metrics").text();
        let families = parse(&page);
        let series = &families["harper_http_requests_total"].series;
        let of = |labels: &str| {
            labels.contains(&format!("method=\"{method}\""))
                && labels.contains(&format!("code=\"{code}\""))
        };
        series.iter().find(|(_, labels, _)| of(labels)).map(|(_, _, value)| *value)
    };
    assert_eq!(count("PUT", "204"), Some(3.0));
    assert_eq!(count("GET", "200"), Some(3.0));
    assert_eq!(count("GET", "404"), Some(1.0));
    assert_eq!(count("other", "501"), Some(1.0));
    assert_eq!(count("DELETE", "200"), None);
    assert!(server.metric("harper_store_operations_total{database=\"data\"}") >= 3.0);
    assert!(server.metric("harper_connections_accepted_total") >= 1.0);
    assert!(server.metric("harper_bytes_total{direction=\"sent\"}") > 500.0);
    assert_eq!(server.metric("harper_panics_total"), 0.0);
}
