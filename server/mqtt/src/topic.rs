//! Topic names and topic filters (§4.7), and shared subscriptions (§4.8.2).

use crate::basic::Text;
use crate::error::Error;

/// What separates levels (§4.7.1.1).
pub const SEPARATOR: char = '/';
/// What a filter of a shared subscription begins with (§4.8.2).
const SHARE: &str = "$share/";

/// That a name can be published to.
///
/// # Errors
/// When it is empty (MQTT-4.7.3-1) or has a wildcard (MQTT-4.7.1-1).
pub fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::malformed("a topic name is empty"));
    }
    if name.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(Error::malformed("a topic name has a wildcard"));
    }
    Ok(())
}

/// A topic filter that follows the rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter {
    /// As it was sent, with `$share`.
    whole: Text,
    /// Bytes of `$share/name/`; 0 of a filter that is not shared.
    share_bytes: usize,
}

impl Filter {
    /// The filter of this text.
    ///
    /// # Errors
    /// When it is empty (MQTT-4.7.3-1), a wildcard is not a level of its own or `#` is not the last one
    /// (MQTT-4.7.1-1, MQTT-4.7.1-2), or a share has no good name or no filter (MQTT-4.8.2-1, MQTT-4.8.2-2).
    pub fn new(whole: Text) -> Result<Self, Error> {
        let share_bytes = share_bytes(&whole)?;
        check_levels(&whole[share_bytes..])?;
        Ok(Self { whole, share_bytes })
    }

    /// As it was sent.
    #[must_use]
    pub fn whole(&self) -> &Text {
        &self.whole
    }

    /// The filter proper, without the share.
    #[must_use]
    pub fn topics(&self) -> &str {
        &self.whole[self.share_bytes..]
    }

    /// The name of the share.
    #[must_use]
    pub fn share(&self) -> Option<&str> {
        self.whole.get(SHARE.len()..self.share_bytes.checked_sub(1)?)
    }

    /// The levels of the filter proper.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.topics().split(SEPARATOR)
    }

    /// Whether it can match more than one name.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.topics().bytes().any(|byte| matches!(byte, b'+' | b'#'))
    }

    /// Whether it matches a topic name. Names that begin with `$` are matched by no filter that begins with a wildcard
    /// (MQTT-4.7.2-1).
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if name.starts_with('$') && self.topics().starts_with(['+', '#']) {
            return false;
        }
        let mut names = name.split(SEPARATOR);
        for level in self.levels() {
            match (level, names.next()) {
                // also the parent of the level that it stands on
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (level, Some(name)) if level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// The same in memory of its own; see [`Text::detached`].
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { whole: self.whole.detached(), share_bytes: self.share_bytes }
    }
}

/// Bytes of `$share/name/` at the head of a filter.
fn share_bytes(whole: &str) -> Result<usize, Error> {
    let Some(rest) = whole.strip_prefix(SHARE) else {
        if whole == "$share" {
            return Err(Error::malformed("a shared subscription has no name"));
        }
        return Ok(0);
    };
    let Some((name, _)) = rest.split_once(SEPARATOR) else {
        return Err(Error::malformed("a shared subscription has no filter"));
    };
    if name.is_empty() || name.contains(['+', '#']) {
        return Err(Error::malformed("the name of a share is empty or has a wildcard"));
    }
    Ok(SHARE.len() + name.len() + 1)
}

fn check_levels(filter: &str) -> Result<(), Error> {
    if filter.is_empty() {
        return Err(Error::malformed("a topic filter is empty"));
    }
    let mut levels = filter.split(SEPARATOR).peekable();
    while let Some(level) = levels.next() {
        let is_last = levels.peek().is_none();
        match level {
            "+" => {}
            "#" if is_last => {}
            "#" => return Err(Error::malformed("'#' is not the last level of a topic filter")),
            level if level.contains(['+', '#']) => {
                return Err(Error::malformed("a wildcard is a part of a level of a topic filter"));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Result<Filter, Error> {
        Filter::new(Text::try_from(text).unwrap())
    }

    #[test]
    fn filters_match_names_as_the_standard_s_examples_say() {
        let cases = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("#", "a/b", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            // MQTT-4.7.2-1
            ("#", "$SYS/x", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            // MQTT-4.7.3-4: no normalisation, case counts
            ("ACCOUNTS", "Accounts", false),
            ("a//b", "a/b", false),
            ("$share/group/a/+", "a/b", true),
        ];
        for (text, name, expected) in cases {
            assert_eq!(filter(text).unwrap().matches(name), expected, "{text} {name}");
        }
    }

    #[test]
    fn wrong_filters_are_refused() {
        for wrong in [
            "",
            "a#",
            "#/a",
            "a/#/b",
            "a+",
            "+a/b",
            "a/b+c",
            "$share",
            "$share/",
            "$share/a",
            "$share/a/",
            "$share//a",
            "$share/a+/b",
            "$share/#/b",
            "$share/g/a#",
        ] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_has_a_name_and_a_filter() {
        let shared = filter("$share/group/a/b").unwrap();
        assert_eq!((shared.share(), shared.topics()), (Some("group"), "a/b"));
        assert_eq!(filter("$shared/a").unwrap().share(), None);
        assert_eq!(filter("a/b").unwrap().share(), None);
    }
}
