//! Who the client is, where proxies stand between: what a trusted proxy says is believed, what anyone else says is
//! not (RFC 7239 §8.1).

use crate::exchange::{Client, Request};
use crate::services::Services;
use harper_config::Proxies;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Headers that only a proxy sends.
const OF_PROXIES: [HeaderName; 6] = [
    header::FORWARDED,
    header::VIA,
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    HeaderName::from_static("x-real-ip"),
];

/// Learns from a trusted proxy who sent the request.
pub(super) fn identify(services: &Services, request: &mut Request) {
    let proxies = &services.config.http.proxies;
    if proxies.trust(request.client.address) {
        believe(proxies, &request.head.headers, &mut request.client);
    }
}

/// Whether the request came, or says that it came, through a proxy: then it was not made on this machine, whatever
/// the address of the peer.
pub(super) fn is_forwarded(request: &Request) -> bool {
    request.client.is_proxied || request.head.headers.keys().any(|name| OF_PROXIES.contains(name))
}

fn believe(proxies: &Proxies, headers: &HeaderMap, client: &mut Client) {
    client.is_vouched = true;
    let said = if proxies.use_forwarded { forwarded(headers) } else { x_forwarded(headers) };
    // from the proxy nearest to us outwards: the first that is not a trusted proxy is the client
    for hop in said.hops.iter().rev() {
        let Some(address) = hop else { break };
        client.address = *address;
        if !proxies.trust(*address) {
            break;
        }
    }
    if let Some(scheme) = said.scheme {
        client.is_secure = scheme.eq_ignore_ascii_case("https");
    }
    client.host = said.host.and_then(|host| HeaderValue::from_str(&host).ok());
}

/// What the headers say, the oldest hop first. A hop without a usable address (`unknown`, a pseudonym) is none.
#[derive(Default)]
struct Said {
    hops: Vec<Option<IpAddr>>,
    scheme: Option<String>,
    host: Option<String>,
}

fn x_forwarded(headers: &HeaderMap) -> Said {
    Said {
        hops: items(headers, &X_FORWARDED_FOR).map(|item| address(item?)).collect(),
        scheme: items(headers, &X_FORWARDED_PROTO).last().flatten().map(str::to_owned),
        host: items(headers, &X_FORWARDED_HOST).last().flatten().map(str::to_owned),
    }
}

/// The items of a list header, over all its lines. One that is no text is none, and nothing is made of it, while it
/// keeps its place: what a client wrote must not hide what a proxy has added to it.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Option<&'a str>> {
    let lines = headers.get_all(name).iter();
    let items = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let items = items.map(<[u8]>::trim_ascii).filter(|item| !item.is_empty());
    items.map(|item| std::str::from_utf8(item).ok())
}

/// RFC 7239 §4: elements between commas, `name=value` pairs between semicolons. None of its values that are used
/// here can hold a comma or a semicolon; a quoted one that does is no address.
fn forwarded(headers: &HeaderMap) -> Said {
    let mut said = Said::default();
    for element in items(headers, &header::FORWARDED) {
        let mut hop = None;
        let pairs = element.unwrap_or_default().split(';');
        for (name, value) in pairs.filter_map(|pair| pair.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "for" => hop = address(value),
                "proto" => said.scheme = Some(value.to_owned()),
                "host" => said.host = Some(value.to_owned()),
                _ => {}
            }
        }
        said.hops.push(hop);
    }
    said
}

/// An address with or without a port; IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let plain = bare.parse::<IpAddr>().ok();
    let address = plain.or_else(|| text.parse::<SocketAddr>().ok().map(|full| full.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(
        trusted: &str,
        use_forwarded: bool,
        lines: &[(&'static str, impl AsRef<[u8]>)],
    ) -> Client {
        let kind = if use_forwarded { "Forwarded" } else { "X-Forwarded" };
        let yaml = format!("http: {{trustedProxies: '{trusted}', forwardedHeaders: {kind}}}");
        let proxies = harper_config::from_text(&yaml).0.unwrap().http.proxies;
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(|(name, value)| (name, value.as_ref())) {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let mut client = Client::of_connection("10.0.0.1".parse().unwrap(), None, false);
        believe(&proxies, &headers, &mut client);
        client
    }

    fn address_of(lines: &[(&'static str, impl AsRef<[u8]>)]) -> String {
        let is_standard = lines.iter().any(|(name, _)| *name == "forwarded");
        client("10.0.0.0/8,2001:db8::/32", is_standard, lines).address.to_string()
    }

    #[test]
    fn the_right_most_address_that_is_not_a_trusted_proxy_is_the_client() {
        let of = |value| address_of(&[("x-forwarded-for", value)]);
        assert_eq!(of("203.0.113.9"), "203.0.113.9");
        assert_eq!(
            of("6.6.6.6, 203.0.113.9"),
            "203.0.113.9",
            "what the client wrote is not believed"
        );
        assert_eq!(of("6.6.6.6, 203.0.113.9, 10.0.0.7, 10.1.1.1"), "203.0.113.9");
        assert_eq!(of("10.0.0.9, 10.0.0.7"), "10.0.0.9", "all are ours: the farthest");
        assert_eq!(of("203.0.113.9:1234, [2001:db8::1]:80"), "203.0.113.9");
        assert_eq!(of("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(of("203.0.113.9, unknown"), "10.0.0.1", "beyond a gap nothing is known");
        assert_eq!(of("203.0.113.9, junk, 10.0.0.7"), "10.0.0.7");
        assert_eq!(of(""), "10.0.0.1");
        let twice = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "203.0.113.10")];
        assert_eq!(address_of(&twice), "203.0.113.10", "lines count as one list");
    }

    #[test]
    fn what_is_no_text_is_a_gap_and_hides_nothing() {
        for name in ["x-forwarded-for", "forwarded"] {
            let (prefix, suffix) =
                if name == "forwarded" { ("for=", ";proto=http") } else { ("", "") };
            let item = |text: &[u8]| [prefix.as_bytes(), text, suffix.as_bytes()].concat();
            let list = |items: &[&[u8]]| items.iter().map(|text| item(text)).collect::<Vec<_>>();
            let of = |items: &[&[u8]]| address_of(&[(name, list(items).join(&b", "[..]))]);
            assert_eq!(of(&[b"\xff", b"203.0.113.9"]), "203.0.113.9");
            assert_eq!(of(&[b"\xff", b"203.0.113.9", b"10.0.0.7"]), "203.0.113.9");
            assert_eq!(of(&[b"203.0.113.9", b"\xff", b"10.0.0.7"]), "10.0.0.7");
            let lines =
                [(name, item(b"6.6.6.6")), (name, list(&[b"\xff", b"203.0.113.9"]).join(&b','))];
            assert_eq!(address_of(&lines), "203.0.113.9");
        }
        let lines = [("x-forwarded-proto", &b"https"[..]), ("x-forwarded-proto", b"\xff")];
        assert!(!client("10.0.0.0/8", false, &lines).is_secure);
    }

    #[test]
    fn the_standard_header_says_the_same() {
        let of = |value| address_of(&[("forwarded", value)]);
        assert_eq!(of("for=203.0.113.9;proto=https;by=10.0.0.1"), "203.0.113.9");
        assert_eq!(of("for=6.6.6.6, For=\"[2001:db9::17]:4711\""), "2001:db9::17");
        assert_eq!(of("for=203.0.113.9, for=10.0.0.7"), "203.0.113.9");
        assert_eq!(of("for=203.0.113.9, for=_hidden"), "10.0.0.1");
        assert_eq!(of("for=203.0.113.9, proto=https"), "10.0.0.1");
    }

    #[test]
    fn scheme_and_host_are_those_of_the_nearest_proxy_and_only_the_chosen_kind_is_read() {
        let lines = [
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "http, HTTPS"),
            ("x-forwarded-host", "a.example"),
            ("forwarded", "for=6.6.6.6;proto=http;host=evil.example"),
        ];
        let read = client("10.0.0.0/8", false, &lines);
        assert!(read.is_secure && read.is_vouched);
        assert_eq!(read.host.unwrap(), "a.example");
        let read = client("10.0.0.0/8", true, &lines);
        assert!(!read.is_secure);
        assert_eq!(
            (read.address.to_string(), read.host.unwrap()),
            ("6.6.6.6".into(), "evil.example".parse().unwrap())
        );
    }
}
