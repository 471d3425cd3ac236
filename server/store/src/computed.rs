//! Values that are not stored but made from the record's others, by an expression that the store
//! knows nothing of: whoever opens the store brings what evaluates it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How an attribute's value is made.
#[derive(Clone, Serialize, Deserialize)]
pub struct Computed {
    /// The expression.
    pub from: String,
    /// Changes when the expression has come to mean something else; empty if there is none.
    pub version: String,
    /// Names of the attributes that the expression uses.
    pub names: Vec<String>,
    #[serde(skip)]
    evaluator: Evaluator,
}

/// Evaluates expressions, on any thread.
pub trait Evaluate: Send + Sync {
    /// The value as compact JSON text for a record's body, which is a JSON object; `null` when the
    /// expression has none.
    ///
    /// # Errors
    /// [`NoValue`] when the expression broke a limit, so that nothing is known of its value.
    fn evaluate(&self, computed: &Computed, record: &str) -> Result<String, NoValue>;
}

/// Why nothing is known of a value, as a clause: `it took more than 20 ms of processor time`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoValue(pub String);

/// What a store evaluates expressions with; without it every value is null.
#[derive(Clone, Default)]
pub struct Evaluator(Option<Arc<dyn Evaluate>>);

impl Computed {
    /// An expression without its evaluator, which the store adds when a table is defined.
    pub fn new(from: String, version: String, names: Vec<String>) -> Computed {
        Computed { from, version, names, evaluator: Evaluator::default() }
    }

    /// The value for a record's body, as JSON text.
    ///
    /// # Errors
    /// [`NoValue`]; it is not to be taken for null.
    pub fn value(&self, record: &[u8]) -> Result<Vec<u8>, NoValue> {
        let Some(evaluator) = &self.evaluator.0 else { return Ok(b"null".to_vec()) };
        let record = std::str::from_utf8(record);
        let record = record.map_err(|_| NoValue(String::from("the record is not UTF-8")))?;
        evaluator.evaluate(self, record).map(String::into_bytes)
    }

    pub(crate) fn bind(&mut self, evaluator: &Evaluator) {
        self.evaluator = evaluator.clone();
    }
}

impl Evaluator {
    /// One that evaluates.
    pub fn new(evaluate: Arc<dyn Evaluate>) -> Evaluator {
        Evaluator(Some(evaluate))
    }
}

/// The evaluator is not part of what is defined.
impl PartialEq for Computed {
    fn eq(&self, other: &Computed) -> bool {
        (&self.from, &self.version, &self.names) == (&other.from, &other.version, &other.names)
    }
}

impl Eq for Computed {}

impl fmt::Debug for Computed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Computed { from, version, names, evaluator: _ } = self;
        let fields = (from, version, names);
        f.debug_tuple("Computed").field(&fields).finish()
    }
}
