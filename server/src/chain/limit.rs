//! How many requests a client may make (`http.rateLimit`), off by default. The limit is the process's, whichever worker
//! serves: only while it is on do workers share a table, of which each request locks one small part for a moment.

mod table;

use crate::auth::Identity;
use crate::error::{Answer, Code, Failure};
use crate::exchange::{Quota, Request, Response};
use crate::metrics::Rejected;
use crate::services::Services;
use harper_config::{RateLimit, RateLimitBy};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use table::{Rate, Table};

/// What every client of the process has left. Time is counted from when it was made.
static CLIENTS: LazyLock<(Table, Instant)> = LazyLock::new(|| (Table::default(), Instant::now()));

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Who is limited together.
#[derive(Hash)]
enum Who<'a> {
    Address(IpAddr),
    User(&'a str),
}

/// Counts a request for the address it comes from, before any work is done for it.
///
/// # Errors
/// 429 when the address has made too many.
pub(super) fn by_address(services: &Services, request: &mut Request) -> Answer<()> {
    match services.config.http.rate_limit.by {
        RateLimitBy::Address => count(services, request),
        RateLimitBy::User => Ok(()),
    }
}

/// Counts a request for the user who makes it; without a login, for its address.
///
/// # Errors
/// 429 when the user has made too many.
pub(super) fn by_user(services: &Services, request: &mut Request) -> Answer<()> {
    match services.config.http.rate_limit.by {
        RateLimitBy::Address => Ok(()),
        RateLimitBy::User => count(services, request),
    }
}

fn count(services: &Services, request: &mut Request) -> Answer<()> {
    let limit = &services.config.http.rate_limit;
    let Some(rate) = rate(limit) else { return Ok(()) };
    let who = match (&request.identity, limit.by) {
        (Identity::User(user), RateLimitBy::User) => Who::User(&user.username),
        _ => Who::Address(network(request.client.address)),
    };
    let (table, begun) = &*CLIENTS;
    let now = request.started.saturating_duration_since(*begun);
    let left = table.count(&who, now, rate, limit.addresses_max);
    request.quota =
        Some(Quota { limit: limit.requests, remaining: left.requests, reset: left.full_after });
    match left.wait {
        None => Ok(()),
        Some(wait) => {
            services.metrics.rejected(Rejected::RateLimit);
            Err(refusal(limit, wait))
        }
    }
}

/// The rate that is configured; none when requests are not limited.
fn rate(limit: &RateLimit) -> Option<Rate> {
    let interval = limit.window.checked_div(limit.requests)?;
    let burst = limit.burst.unwrap_or(limit.requests).max(1);
    (!interval.is_zero()).then_some(Rate { interval, burst })
}

fn refusal(limit: &RateLimit, wait: Duration) -> Box<Failure> {
    let (requests, window, wait) = (limit.requests, limit.window.as_secs_f64(), seconds(wait));
    let sentence =
        format!("Too many requests: {requests} in {window} s are allowed; try again in {wait} s");
    Failure::new(Code::TooManyRequests, sentence).with(header::RETRY_AFTER, HeaderValue::from(wait))
}

/// Whole seconds, rounded up: after them it will have been long enough.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The address, or for IPv6 its network of 64 bits: one customer has as many addresses as they like.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// Tells the client what it has left, in the three fields that are widely read: those of
/// draft-ietf-httpapi-ratelimit-headers-06, the last one that has them.
pub(super) fn headers(request: &Request, response: &mut Response) {
    if let Some(quota) = &request.quota {
        tell(quota, response.headers_mut());
    }
}

fn tell(quota: &Quota, headers: &mut HeaderMap) {
    headers.insert(LIMIT, HeaderValue::from(quota.limit));
    headers.insert(REMAINING, HeaderValue::from(quota.remaining));
    headers.insert(RESET, HeaderValue::from(seconds(quota.reset)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_one_ipv6_network_count_together() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn a_rate_needs_requests_and_a_window() {
        let rate = |yaml: &str| {
            let yaml = format!("http: {{rateLimit: {{{yaml}}}}}");
            rate(&harper_config::from_text(&yaml).0.unwrap().http.rate_limit)
        };
        assert!(rate("").is_none() && rate("requests: 0").is_none());
        assert!(rate("requests: 5, window: 0").is_none());
        let minute = rate("requests: 60").unwrap();
        assert_eq!((minute.interval, minute.burst), (Duration::from_secs(1), 60));
        let slow = rate("requests: 4, window: 1h, burst: 1").unwrap();
        assert_eq!((slow.interval, slow.burst), (Duration::from_secs(900), 1));
    }
}
