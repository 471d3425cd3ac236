//! Values by the type of their key: what is accepted, and the one form the server uses.

use crate::headers;
use crate::keys::Kind;
use crate::oidc;
use ipnet::IpNet;
use serde_json::{Value, json};
use std::net::IpAddr;

/// A TCP port, with the address to bind when one was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The address to bind; none means every address (loopback in `harper-server dev`).
    pub host: Option<String>,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

/// Checks `written` against `kind` and returns it in the one form that the rest of the program reads:
/// times as milliseconds, sizes as bytes, ports as text.
///
/// # Errors
/// What the value should have been.
pub(crate) fn normalize(kind: Kind, written: &Value) -> Result<Value, String> {
    match kind {
        Kind::Bool => boolean(written).ok_or_else(|| "expected true or false".into()),
        Kind::Int(least, most) => whole(written, least, most),
        Kind::AutoOr(least, most) => match written.as_str() {
            Some("auto") => Ok(json!("auto")),
            _ => whole(written, least, most).map_err(|message| format!("{message} or `auto`")),
        },
        Kind::Port => port(written).map(|port| json!(port.to_string())),
        Kind::Millis => millis(written).map(Value::from),
        Kind::MillisNotZero => match millis(written)? {
            0 => Err("expected more than 0 milliseconds".into()),
            time => Ok(time.into()),
        },
        Kind::Bytes => bytes(written).map(Value::from),
        Kind::Text | Kind::TextOrNull | Kind::Path => {
            text(written).map(Value::from).ok_or_else(|| "expected text".into())
        }
        Kind::Choice(words) => choice(words, written),
        Kind::TextList => list(written),
        Kind::Networks => networks(written),
        Kind::Ratio => ratio(written),
        Kind::Url => url(written),
        Kind::Pairs => pairs(written),
        Kind::Issuers => oidc::normalize(written),
        Kind::HeaderName => headers::name(written),
        Kind::HeaderValue => headers::value(written),
        Kind::SecurityHeaders => headers::security(written),
        Kind::Sections | Kind::Any => Ok(written.clone()),
    }
}

fn boolean(written: &Value) -> Option<Value> {
    match written {
        Value::Bool(_) => Some(written.clone()),
        Value::String(word) => word.parse::<bool>().ok().map(Value::from),
        _ => None,
    }
}

fn whole(written: &Value, least: i64, most: i64) -> Result<Value, String> {
    let number = match written {
        Value::String(word) => word.trim().parse().ok(),
        _ => written.as_i64(),
    };
    number
        .filter(|number| (least..=most).contains(number))
        .map(Value::from)
        .ok_or_else(|| format!("expected a whole number from {least} to {most}"))
}

/// Text, or a number as it is written.
pub(crate) fn text(written: &Value) -> Option<String> {
    match written {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn choice(words: &[&str], written: &Value) -> Result<Value, String> {
    let word = text(written).unwrap_or_default();
    if words.contains(&word.as_str()) {
        return Ok(json!(word));
    }
    Err(format!("expected one of {}", words.join(", ")))
}

fn list(written: &Value) -> Result<Value, String> {
    match written {
        Value::String(words) => Ok(words.split(',').map(str::trim).collect()),
        Value::Array(items) => items
            .iter()
            .filter(|item| !item.is_null())
            .map(|item| {
                text(item).map(Value::from).ok_or_else(|| "expected a list of texts".into())
            })
            .collect(),
        _ => Err("expected a list of texts".into()),
    }
}

fn ratio(written: &Value) -> Result<Value, String> {
    let number = match written {
        Value::String(word) => word.trim().parse().ok(),
        _ => written.as_f64(),
    };
    let number = number.filter(|number| (0.0..=1.0).contains(number));
    number.map(Value::from).ok_or_else(|| "expected a number from 0 to 1".into())
}

/// `http` or `https`, a host, perhaps a port and a path.
fn url(written: &Value) -> Result<Value, String> {
    let is_good = |text: &String| {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
        host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    text(written).filter(is_good).map(Value::from).ok_or_else(|| {
        "expected a URL such as http://collector:4318, without a user or a password".into()
    })
}

/// A mapping, or texts with an equals sign; as such texts.
fn pairs(written: &Value) -> Result<Value, String> {
    let expected = || "expected a list of name=value".to_owned();
    let items: Vec<String> = match written {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| Some(format!("{name}={}", text(value)?)))
            .collect::<Option<_>>()
            .ok_or_else(expected)?,
        _ => match list(written).map_err(|_| expected())? {
            Value::Array(items) => items.iter().filter_map(text).collect(),
            _ => Vec::new(),
        },
    };
    let is_pair = |item: &&String| item.split_once('=').is_none_or(|(name, _)| name.is_empty());
    if items.iter().find(is_pair).is_some() {
        return Err(expected());
    }
    Ok(json!(items))
}

/// Addresses and networks, as networks.
fn networks(written: &Value) -> Result<Value, String> {
    let expected =
        |item: &str| format!("expected IP addresses or networks such as 10.0.0.0/8, not `{item}`");
    let items = list(written).map_err(|_| expected(&written.to_string()))?;
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    let read = items.iter().filter_map(Value::as_str).filter(|item| !item.is_empty());
    read.map(|item| network(item).map(|net| json!(net.to_string())).ok_or_else(|| expected(item)))
        .collect()
}

/// One network; an address is the network of itself.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().ok().map(|net| net.trunc());
    net.or_else(|| text.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical())))
}

/// A number with a unit: the number, and what follows it.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

fn scaled(written: &Value, unit_of: fn(&str) -> Option<f64>) -> Option<u64> {
    let (number, unit) = match written {
        Value::String(text) => number_and_unit(text)?,
        _ => (written.as_f64()?, ""),
    };
    let value = number * unit_of(unit)?;
    (0.0..9e15).contains(&value).then_some(value.round() as u64)
}

fn millis(written: &Value) -> Result<u64, String> {
    let unit = |unit: &str| match unit {
        "" | "ms" => Some(1.0),
        "s" | "S" => Some(1e3),
        "m" | "M" => Some(6e4),
        "h" | "H" => Some(3.6e6),
        "d" | "D" => Some(8.64e7),
        _ => None,
    };
    scaled(written, unit)
        .ok_or_else(|| "expected milliseconds, or a number with ms, s, m, h or d".into())
}

fn bytes(written: &Value) -> Result<u64, String> {
    let unit = |unit: &str| match unit.trim_end_matches(['B', 'b', 'i']) {
        "" => Some(1.0),
        "K" | "k" => Some(1024.0),
        "M" | "m" => Some(1024.0 * 1024.0),
        "G" | "g" => Some(1024.0 * 1024.0 * 1024.0),
        "T" | "t" => Some(1024.0 * 1024.0 * 1024.0 * 1024.0),
        _ => None,
    };
    scaled(written, unit).ok_or_else(|| "expected bytes, or a number with K, M, G or T".into())
}

pub(crate) fn port(written: &Value) -> Result<Port, String> {
    let text = text(written).unwrap_or_default();
    let (host, number) = match text.rsplit_once(':') {
        Some((host, number)) => (Some(host.trim_matches(['[', ']']).to_owned()), number),
        None => (None, text.as_str()),
    };
    let port = number
        .parse()
        .map_err(|_| "expected a port from 0 to 65535, or address:port".to_owned())?;
    if host.as_ref().is_some_and(|host| host.parse::<IpAddr>().is_err()) {
        return Err("expected an IP address before the port".into());
    }
    Ok(Port { host, port })
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
            None => write!(f, "{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_their_one_form() {
        let ok = |kind, written: Value| normalize(kind, &written).unwrap();
        assert_eq!(ok(Kind::Millis, json!("45s")), json!(45_000));
        assert_eq!(ok(Kind::Millis, json!("3d")), json!(259_200_000));
        assert_eq!(ok(Kind::Millis, json!(1500)), json!(1500));
        assert_eq!(ok(Kind::Bytes, json!("64M")), json!(67_108_864));
        assert_eq!(ok(Kind::Port, json!("127.0.0.1:80")), json!("127.0.0.1:80"));
        assert_eq!(ok(Kind::Port, json!("[::1]:80")), json!("[::1]:80"));
        assert_eq!(ok(Kind::AutoOr(1, 9), json!("auto")), json!("auto"));
        assert_eq!(ok(Kind::Ratio, json!("0.25")), json!(0.25));
        assert_eq!(ok(Kind::Url, json!("http://[::1]:4318/x")), json!("http://[::1]:4318/x"));
        assert_eq!(ok(Kind::Pairs, json!("a=b,c=d=e")), json!(["a=b", "c=d=e"]));
        assert_eq!(ok(Kind::Pairs, json!({"a": 1})), json!(["a=1"]));
        assert_eq!(ok(Kind::Bool, json!("true")), json!(true));
        assert_eq!(ok(Kind::TextList, json!("a, b")), json!(["a", "b"]));
        assert_eq!(ok(Kind::TextList, json!([null, "a"])), json!(["a"]));
        assert_eq!(
            ok(Kind::Networks, json!("10.1.2.3/8, ::1,::ffff:1.2.3.4")),
            json!(["10.0.0.0/8", "::1/128", "1.2.3.4/32"])
        );
    }

    #[test]
    fn wrong_values_say_what_was_expected() {
        let bad = |kind, written: Value| normalize(kind, &written).unwrap_err();
        assert!(bad(Kind::Port, json!("70000")).contains("65535"));
        assert!(bad(Kind::Port, json!("tcp://10.0.0.1:80")).contains("IP address"));
        assert!(bad(Kind::Int(1, 3), json!(4)).contains("from 1 to 3"));
        assert!(bad(Kind::Millis, json!("5 weeks")).contains("milliseconds"));
        assert!(bad(Kind::Choice(&["a", "b"]), json!("c")).contains("a, b"));
        assert!(bad(Kind::Networks, json!(["::1", "10.0.0.0/33"])).contains("`10.0.0.0/33`"));
        assert!(bad(Kind::Ratio, json!(1.5)).contains("from 0 to 1"));
        for url in ["collector:4318", "grpc://a", "http://", "http://u:p@a", "http://a b"] {
            assert!(bad(Kind::Url, json!(url)).contains("http://collector"), "{url}");
        }
        assert!(bad(Kind::Pairs, json!("a")).contains("name=value"));
        assert!(bad(Kind::Pairs, json!({"a": []})).contains("name=value"));
        assert!(bad(Kind::Networks, json!("localhost")).contains("`localhost`"));
    }
}
