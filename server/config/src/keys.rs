//! What a configuration key is, and how one is found by its name.

use crate::table::KEYS;

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number between the two, both included.
    Int(i64, i64),
    /// `auto`, or a whole number between the two.
    AutoOr(i64, i64),
    /// A TCP port, or `address:port`.
    Port,
    /// A time in milliseconds; text takes a unit: `ms`, `s`, `m`, `h`, `d`.
    Millis,
    /// The same, and not 0: without it something would never be done.
    MillisNotZero,
    /// A size in bytes; text takes a unit: `K`, `M`, `G`, `T`.
    Bytes,
    /// Text.
    Text,
    /// A path in the file system.
    Path,
    /// One of the words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    TextList,
    /// A list of IP addresses and networks, such as `10.0.0.0/8`.
    Networks,
    /// The name of an HTTP header.
    HeaderName,
    /// The value of an HTTP header; empty text leaves the header out.
    HeaderValue,
    /// A number from 0 to 1.
    Ratio,
    /// The URL of an HTTP server.
    Url,
    /// A list of `name=value`.
    Pairs,
    /// `true` or `false`, or a mapping of header names to values, null leaving one out.
    SecurityHeaders,
    /// Text, or null, which is a value of its own and not the default.
    TextOrNull,
    /// A list of mappings; each has the members of the section of the same name.
    Sections,
    /// A list of issuers of tokens, each with its `issuer` and `audience`.
    Issuers,
    /// Anything; used for keys whose parts are not read yet.
    Any,
}

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// At the next start.
    Restart,
    /// At once.
    Live,
}

impl Kind {
    /// Whether null is a value; for other kinds it means the default.
    pub(crate) fn has_null(self) -> bool {
        matches!(self, Self::Port | Self::TextOrNull)
    }
}

/// Whether the server acts on the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// The server acts on it.
    Yes,
    /// Not yet; the text says what it needs.
    Later(&'static str),
    /// Never; the text says why it has no meaning here.
    Never(&'static str),
    /// The server acts on it, but it is for tests and left out of the documentation.
    Hidden,
}

/// One configuration key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted name, as in the file.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// The default as it would be written in the file; empty when the key is unset by default.
    pub default: &'static str,
    /// Meaning, one or two sentences.
    pub doc: &'static str,
    /// Whether the server acts on it.
    pub support: Support,
    /// When a change takes effect.
    pub reload: Reload,
    /// Whether its value must not be shown.
    pub is_secret: bool,
    /// Other names under which Harper knows it, separated by spaces; empty when there are none.
    pub alias: &'static str,
}

impl Key {
    /// A key that the server acts on.
    #[must_use]
    pub const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default,
            doc,
            support: Support::Yes,
            reload: Reload::Restart,
            is_secret: false,
            alias: "",
        }
    }

    /// The same key with another support.
    #[must_use]
    pub const fn support(mut self, support: Support) -> Self {
        self.support = support;
        self
    }

    /// The same key under further names, separated by spaces.
    #[must_use]
    pub const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = alias;
        self
    }

    /// The same key, followed while the server runs. `tests/it/live` has a case for each such key.
    #[must_use]
    pub const fn live(mut self) -> Self {
        self.reload = Reload::Live;
        self
    }

    /// The same key, whose value is never shown.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    /// The environment variable that sets it, such as `HTTP_PORT` for `http.port`.
    #[must_use]
    pub fn env(&self) -> String {
        self.name.replace('.', "_").to_ascii_uppercase()
    }

    /// Its other names.
    pub fn aliases(&self) -> impl Iterator<Item = &'static str> {
        self.alias.split_whitespace()
    }

    /// Whether the server acts on it.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self.support, Support::Yes | Support::Hidden)
    }
}

/// The key with this dotted name or alias.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name || key.aliases().any(|alias| alias == name))
}

/// The key that the environment variable `name` sets; upper and lower case are the same.
#[must_use]
pub fn find_by_env(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| {
        key.env().eq_ignore_ascii_case(name)
            || key.aliases().any(|alias| alias.replace('.', "_").eq_ignore_ascii_case(name))
    })
}

/// Whether some key lies below `prefix`, so that `prefix` is a section of the file.
pub(crate) fn is_section(prefix: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')))
}

/// The known name nearest to `name`, when one is near enough to be what was meant.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    KEYS.iter()
        .filter(|key| key.support != Support::Hidden)
        .map(|key| {
            let whole = strsim::normalized_damerau_levenshtein(name, key.name);
            let word = strsim::normalized_damerau_levenshtein(&last(name), &last(key.name));
            (whole.max(word * 0.95), key.name)
        })
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_environment_names_are_unique() {
        let mut names: Vec<_> =
            KEYS.iter().flat_map(|key| [key.name.to_owned(), key.env()]).collect();
        names.extend(KEYS.iter().flat_map(Key::aliases).map(str::to_owned));
        names.sort();
        let before = names.len();
        names.dedup();
        assert_eq!(before, names.len());
    }

    #[test]
    fn a_slip_finds_the_known_name() {
        assert_eq!(nearest("http.prot"), Some("http.port"));
        assert_eq!(nearest("htpp.compressionThreshold"), Some("http.compressionThreshold"));
        assert_eq!(nearest("entirelyDifferent"), None);
    }

    #[test]
    fn keys_are_found_by_environment_name_in_any_case() {
        assert_eq!(find_by_env("HTTP_PORT").unwrap().name, "http.port");
        assert_eq!(
            find_by_env("operationsapi_network_port").unwrap().name,
            "operationsApi.network.port"
        );
        assert_eq!(find_by_env("THREADS").unwrap().name, "threads.count");
    }
}
