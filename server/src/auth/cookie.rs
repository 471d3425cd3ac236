//! The cookie that carries a session's id (RFC 6265). Its name holds the origin of the page, as Harper's does: pages of
//! two origins that talk to one server have sessions of their own.

use http::{HeaderMap, HeaderValue, header};
use std::time::{Duration, SystemTime};

/// What follows the origin in the name.
const NAME: &str = "hdb-session";

/// Where a cookie goes and where it comes from.
pub(crate) struct Scope<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The host that the client asked for; empty when it named none.
    pub host: &'a str,
    /// Whether the client's connection is encrypted.
    pub is_secure: bool,
}

impl Scope<'_> {
    /// The origin of the page that has sent the request, if it says so.
    #[must_use]
    pub(crate) fn origin(&self) -> Option<&str> {
        self.headers.get(header::ORIGIN)?.to_str().ok()
    }

    /// Whether the request comes from a page of another origin than this server's own.
    #[must_use]
    pub(crate) fn is_foreign(&self) -> bool {
        let scheme = if self.is_secure { "https" } else { "http" };
        match self.origin() {
            Some(origin) => {
                let own = origin.split_once("://").filter(|(name, _)| *name == scheme);
                !own.is_some_and(|(_, host)| host.eq_ignore_ascii_case(self.host))
            }
            // browsers that leave the origin out still say where the page is from
            None => {
                let site = self.headers.get("sec-fetch-site");
                site.is_some_and(|site| site == "cross-site" || site == "same-site")
            }
        }
    }

    /// The cookie's name: the page's origin, else the host, with its first character that is no letter, digit or
    /// underscore replaced, and every other that no cookie can have in its name.
    fn name(&self) -> String {
        let from = self.origin().unwrap_or(self.host);
        let from = from.split_once("://").map_or(from, |(_, rest)| rest);
        if from.is_empty() {
            return NAME.to_owned();
        }
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let first = from.find(|letter| !is_word(letter));
        let letters = from.char_indices().map(|(at, letter)| {
            let is_usable = is_word(letter) || ".-".contains(letter);
            if Some(at) == first || !is_usable { '_' } else { letter }
        });
        letters.chain("-".chars()).chain(NAME.chars()).collect()
    }

    /// The id of the session that the request carries.
    #[must_use]
    pub(crate) fn id(&self) -> Option<&str> {
        // most requests carry no cookie at all
        self.headers.get(header::COOKIE)?;
        let name = self.name();
        let fields = self.headers.get_all(header::COOKIE).iter();
        let pairs = fields.filter_map(|field| field.to_str().ok()).flat_map(|text| text.split(';'));
        pairs.map(str::trim).find_map(|pair| pair.strip_prefix(&name)?.strip_prefix('='))
    }

    /// The `Set-Cookie` that gives the client the id `value` for `life`; an empty one takes it away.
    #[must_use]
    pub(crate) fn set(
        &self,
        value: &str,
        life: Duration,
        domains: &[String],
        crosses_sites: bool,
    ) -> Option<HeaderValue> {
        let ends = SystemTime::UNIX_EPOCH.checked_add(life).filter(|_| value.is_empty());
        let ends = ends.or_else(|| SystemTime::now().checked_add(life))?;
        let mut text = format!("{}={value}; Path=/; Expires={}; HttpOnly", self.name(), date(ends));
        if let Some(domain) = self.domain(domains) {
            text.push_str("; Domain=");
            text.push_str(domain);
        }
        text.push_str(match (crosses_sites && self.is_secure, self.is_secure) {
            (true, _) => "; SameSite=None; Secure",
            (false, true) => "; SameSite=Lax; Secure",
            (false, false) => "; SameSite=Lax",
        });
        HeaderValue::from_str(&text).ok()
    }

    /// The configured domain that the host belongs to.
    fn domain<'d>(&self, domains: &'d [String]) -> Option<&'d str> {
        let host = self.host.rsplit_once(':').map_or(self.host, |(host, _)| host);
        let known = domains.iter().find(|domain| match domain.strip_prefix('.') {
            Some(parent) => host
                .strip_suffix(parent)
                .is_some_and(|start| start.is_empty() || start.ends_with('.')),
            None => host == **domain,
        });
        known.map(|domain| domain.trim_start_matches('.'))
    }
}

/// A date of RFC 9110 §5.6.7. The year has four digits there.
fn date(time: SystemTime) -> String {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    httpdate::fmt_http_date(time.min(SystemTime::UNIX_EPOCH + LAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn scope<'a>(headers: &'a HeaderMap, host: &'a str, is_secure: bool) -> Scope<'a> {
        Scope { headers, host, is_secure }
    }

    #[test]
    fn the_name_follows_the_origin_and_then_the_host() {
        let none = headers(&[]);
        assert_eq!(scope(&none, "localhost:9925", false).name(), "localhost_9925-hdb-session");
        assert_eq!(scope(&none, "api.example.com:1", true).name(), "api_example.com_1-hdb-session");
        assert_eq!(scope(&none, "", false).name(), "hdb-session");
        let page = headers(&[("origin", "https://app.example.com")]);
        assert_eq!(scope(&page, "api", true).name(), "app_example.com-hdb-session");
    }

    #[test]
    fn the_id_is_found_among_other_cookies_and_nowhere_else() {
        let all = headers(&[
            ("cookie", "a=b; x_1-hdb-session=id1; c=d"),
            ("cookie", "y-hdb-session=id2"),
        ]);
        assert_eq!(scope(&all, "x:1", false).id(), Some("id1"));
        assert_eq!(scope(&all, "z:1", false).id(), None);
        let near = headers(&[("cookie", "xx_1-hdb-session=id; x_1-hdb-session2=id")]);
        assert_eq!(scope(&near, "x:1", false).id(), None);
    }

    #[test]
    fn the_cookie_is_sent_back_to_this_site_alone_unless_another_is_listed() {
        let none = headers(&[]);
        let life = Duration::from_secs(60);
        let set = |scope: &Scope<'_>, crosses| {
            let text = scope.set("id", life, &[".example.com".into()], crosses).unwrap();
            text.to_str().unwrap().to_owned()
        };
        let plain = set(&scope(&none, "localhost", false), true);
        assert!(plain.starts_with("localhost-hdb-session=id; Path=/; Expires="), "{plain}");
        assert!(plain.ends_with("; HttpOnly; SameSite=Lax"), "{plain}");
        let secure = set(&scope(&none, "a.example.com:9925", true), false);
        assert!(
            secure.ends_with("; HttpOnly; Domain=example.com; SameSite=Lax; Secure"),
            "{secure}"
        );
        let cross = set(&scope(&none, "badexample.com", true), true);
        assert!(cross.ends_with("; HttpOnly; SameSite=None; Secure"), "{cross}");
        let gone = scope(&none, "h", false).set("", Duration::ZERO, &[], false).unwrap();
        assert!(gone.to_str().unwrap().contains("Expires=Thu, 01 Jan 1970"), "{gone:?}");
    }

    #[test]
    fn a_foreign_page_is_known_by_its_origin() {
        for (origin, is_secure, is_foreign) in [
            ("http://host:1", false, false),
            ("HTTP://HOST:1", false, true),
            ("http://Host:1", false, false),
            ("https://host:1", false, true),
            ("https://host:1", true, false),
            ("http://host", false, true),
            ("null", false, true),
        ] {
            let headers = headers(&[("origin", origin)]);
            assert_eq!(scope(&headers, "host:1", is_secure).is_foreign(), is_foreign, "{origin}");
        }
        assert!(!scope(&headers(&[]), "host", false).is_foreign());
        assert!(scope(&headers(&[("sec-fetch-site", "cross-site")]), "host", false).is_foreign());
        assert!(!scope(&headers(&[("sec-fetch-site", "same-origin")]), "host", false).is_foreign());
    }
}
