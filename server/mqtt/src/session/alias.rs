//! Topic aliases (§3.3.2.3.4). They belong to a connection, not to its session.

use crate::basic::Text;
use crate::error::Error;
use crate::reason::Reason;
use std::collections::HashMap;

/// The aliases that the other end has given.
#[derive(Debug, Default)]
pub struct InAliases {
    names: HashMap<u16, Text>,
    max: u16,
}

impl InAliases {
    /// None yet, and none above `max`.
    #[must_use]
    pub fn new(max: u16) -> Self {
        Self { names: HashMap::new(), max }
    }

    /// The topic of a message with this alias; a name that is not empty becomes what the alias stands for.
    ///
    /// # Errors
    /// An alias that is greater than allowed (MQTT-3.3.2-9), or stands for nothing yet.
    pub fn resolve(&mut self, name: &Text, alias: u16) -> Result<Text, Error> {
        if alias == 0 || alias > self.max {
            let what = "a topic alias is greater than the server allows";
            return Err(Error { reason: Reason::TopicAliasInvalid, what });
        }
        if name.is_empty() {
            let known = self.names.get(&alias).cloned();
            return known.ok_or(Error::protocol("a topic alias stands for no topic"));
        }
        self.names.insert(alias, name.detached());
        Ok(name.clone())
    }
}

/// The aliases that this end gives: to the first topics of a connection, which it keeps.
#[derive(Debug, Default)]
pub struct OutAliases {
    numbers: HashMap<Text, u16>,
    max: u16,
}

impl OutAliases {
    /// None yet; the other end takes `max` of them.
    #[must_use]
    pub fn new(max: u16) -> Self {
        Self { numbers: HashMap::new(), max }
    }

    /// The alias of a topic, and whether its name has to go with it; none when all are given.
    pub fn assign(&mut self, name: &Text) -> Option<(u16, bool)> {
        if let Some(number) = self.numbers.get(name) {
            return Some((*number, false));
        }
        let number = u16::try_from(self.numbers.len() + 1).ok().filter(|next| *next <= self.max)?;
        self.numbers.insert(name.detached(), number);
        Some((number, true))
    }

    /// Takes back an alias whose name could not be sent.
    pub fn forget(&mut self, name: &Text) {
        let newest = u16::try_from(self.numbers.len()).unwrap_or(u16::MAX);
        if self.numbers.get(name) == Some(&newest) {
            self.numbers.remove(name);
        }
    }
}
