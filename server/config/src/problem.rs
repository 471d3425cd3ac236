//! What is wrong with a configuration, said so that a person can mend it.

use std::fmt;

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The server starts, but the named setting has no effect or is probably a slip.
    Warning,
    /// The server does not start.
    Error,
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether it stops the server.
    pub severity: Severity,
    /// The key as written, dotted; empty when the whole source cannot be read.
    pub key: String,
    /// Where it was written, such as `harperdb-config.yaml:3:5` or `environment HTTP_PORT`.
    pub origin: String,
    /// What is wrong, with the value where there is one.
    pub message: String,
    /// How to mend it; may be empty.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{word}: {}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}
