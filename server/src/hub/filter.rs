//! Which records of a table a subscription watches. Pure: a filter knows a key and nothing else.

use harper_store::Key;

/// Separates the segments of a key's text.
const SEPARATOR: char = '/';

/// Which records of one table are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// All of them.
    All,
    /// One of them.
    Key(Key),
    /// Those whose key's text fits.
    Pattern(Pattern),
}

/// A pattern of the segments of a key's text, which are what `/` separates: the topic filters of MQTT 5 §4.7 below a
/// table's path. A key that is a number has one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Level>);

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// This text.
    Exact(Box<str>),
    /// `+`: any one segment.
    Any,
    /// `#`, the last: any number of segments, none included.
    Rest,
}

impl Filter {
    /// Whether a record with this key is watched.
    #[must_use]
    pub(crate) fn matches(&self, key: &Key) -> bool {
        match self {
            Self::All => true,
            Self::Key(own) => own == key,
            Self::Pattern(pattern) => pattern.matches(&key.to_text()),
        }
    }

    /// Text with which the text of every key begins that is watched; empty when there is none in common.
    #[must_use]
    pub(crate) fn common_prefix(&self) -> String {
        let Self::Pattern(Pattern(levels)) = self else { return String::new() };
        let mut prefix = String::new();
        for level in levels {
            match level {
                Level::Exact(text) => prefix.push_str(text),
                Level::Any => return prefix,
                // `a/#` fits `a` itself
                Level::Rest => {
                    prefix.pop();
                    return prefix;
                }
            }
            prefix.push(SEPARATOR);
        }
        prefix.pop();
        prefix
    }
}

impl Pattern {
    /// Reads a pattern such as `a/+/#`; none when a wildcard shares its segment, or `#` is not the last.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut levels = Vec::new();
        for segment in text.split(SEPARATOR) {
            if levels.last() == Some(&Level::Rest) {
                return None;
            }
            levels.push(match segment {
                "+" => Level::Any,
                "#" => Level::Rest,
                text if text.contains(['+', '#']) => return None,
                text => Level::Exact(text.into()),
            });
        }
        Some(Self(levels))
    }

    /// All keys whose text begins with `folder` and goes on; it ends with `/`. Signs that are wildcards elsewhere stand for
    /// themselves.
    #[must_use]
    pub(crate) fn below(folder: &str) -> Self {
        let folder = folder.strip_suffix(SEPARATOR).unwrap_or(folder);
        let exact = folder.split(SEPARATOR).map(|segment| Level::Exact(segment.into()));
        Self(exact.chain([Level::Any, Level::Rest]).collect())
    }

    pub(super) fn levels(&self) -> &[Level] {
        &self.0
    }

    fn matches(&self, text: &str) -> bool {
        let mut segments = text.split(SEPARATOR);
        for level in &self.0 {
            match (level, segments.next()) {
                (Level::Rest, _) => return true,
                (Level::Any, Some(_)) => {}
                (Level::Exact(own), Some(segment)) if **own == *segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }
}

/// The segments of a key's text.
pub(super) fn segments(text: &str) -> std::str::Split<'_, char> {
    text.split(SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use harper_store::KeyValue;

    fn key(text: &str) -> Key {
        Key::encode(&KeyValue::String(text.to_owned())).unwrap()
    }

    #[test]
    fn patterns_fit_as_in_mqtt() {
        let cases = [
            ("a", "a", true),
            ("a", "a/b", false),
            ("+", "a", true),
            ("+", "a/b", false),
            ("+/+", "/a", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("#", "anything/at all", true),
            ("a/+/c", "a/b/c", true),
            ("a/+/c", "a/b/d", false),
            ("+/b/#", "a/b", true),
        ];
        for (pattern, text, fits) in cases {
            let filter = Filter::Pattern(Pattern::parse(pattern).unwrap());
            assert_eq!(filter.matches(&key(text)), fits, "{pattern} {text}");
            assert!(!fits || text.starts_with(&filter.common_prefix()), "{pattern} {text}");
        }
        for wrong in ["#/a", "a+", "a/b#", "+a/b", "a/#/#"] {
            assert_eq!(Pattern::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_folder_holds_what_goes_on_after_it() {
        let filter = Filter::Pattern(Pattern::below("a/+/"));
        for (text, fits) in [("a/+/x", true), ("a/+/", true), ("a/+", false), ("a/b/x", false)] {
            assert_eq!(filter.matches(&key(text)), fits, "{text}");
        }
        assert_eq!(filter.common_prefix(), "a/+/");
    }

    #[test]
    fn a_number_is_one_segment() {
        let number = Key::encode(&KeyValue::Integer(12)).unwrap();
        assert!(Filter::Pattern(Pattern::parse("+").unwrap()).matches(&number));
        assert!(Filter::Key(number.clone()).matches(&number));
        assert!(!Filter::Key(key("12")).matches(&number), "a text is no number");
    }
}
