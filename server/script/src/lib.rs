//! The script engine: JavaScript expressions over one record. The only crate with `rquickjs`.
//!
//! Each thread has an engine of its own, made when the first expression is evaluated there, and
//! compiles an expression once. An expression sees the attributes of the record and the language
//! itself: no files, no network, no timers, and nothing that another evaluation left behind, since
//! the global object is frozen. Time, memory and the size of the result are bounded; a record on
//! which an expression broke a bound is not evaluated again on the thread for a while, so that it
//! cannot hold it up again and again. Other records are not affected.

mod engine;
mod pause;

use std::cell::RefCell;
use std::time::Duration;

use engine::Engine;
use pause::Paused;

/// What one evaluation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Processor time that one evaluation may take.
    pub cpu_time_max: Duration,
    /// Memory of all that one thread's engine holds.
    pub heap_bytes_max: usize,
    /// Size of the result as JSON text.
    pub result_bytes_max: usize,
    /// How long a record is left alone after an expression took too much time or memory on it.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            cpu_time_max: Duration::from_millis(20),
            heap_bytes_max: 16 << 20,
            result_bytes_max: 64 << 10,
            pause: Duration::from_secs(1),
        }
    }
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no expression.
    #[error("{0}")]
    Syntax(String),
    /// It failed, as on a property of undefined.
    #[error("{0}")]
    Thrown(String),
    /// It took too long.
    #[error("it took more than {} ms of processor time", .max.as_millis())]
    TimedOut {
        /// The limit.
        max: Duration,
    },
    /// It held too much.
    #[error("it needs more than {max} bytes of memory")]
    OutOfMemory {
        /// The limit.
        max: usize,
    },
    /// Its result is too large.
    #[error("its result has {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Bytes of the result as JSON.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The engine could not be made.
    #[error("the script engine failed: {0}")]
    Engine(String),
}

impl Error {
    /// Whether the expression fails on the record however often it is evaluated, so that null may
    /// stand for its value. One that broke a limit may have a value the next time.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        matches!(self, Error::Syntax(_) | Error::Thrown(_))
    }
}

/// What a thread keeps from one evaluation to the next.
#[derive(Default)]
struct Thread {
    engine: Option<Engine>,
    paused: Paused,
}

thread_local! {
    static THREAD: RefCell<Thread> = RefCell::default();
}

/// Checks that the text is one expression over attributes of these names.
///
/// # Errors
/// [`Error::Syntax`] with the engine's sentence; [`Error::Engine`].
pub fn check(expression: &str, names: &[String]) -> Result<(), Error> {
    let mut engine = Engine::new(Limits::default())?;
    engine.compile(expression, names)
}

/// Evaluates an expression on a record: JSON text in, JSON text out. Attributes named in `names` are
/// variables, undefined where the record has none; the whole record is `record`, unless an
/// attribute has that name. Values are as in JSON: a date is its text. `undefined` becomes `null`, a
/// `BigInt` its digits.
///
/// # Errors
/// Why there is no value.
pub fn evaluate(
    expression: &str,
    names: &[String],
    record: &str,
    limits: Limits,
) -> Result<String, Error> {
    THREAD.with_borrow_mut(|thread| thread.evaluate(expression, names, record, limits))
}

impl Thread {
    fn evaluate(
        &mut self,
        expression: &str,
        names: &[String],
        record: &str,
        limits: Limits,
    ) -> Result<String, Error> {
        if let Some(error) = self.paused.error(expression, record) {
            return Err(error);
        }
        let engine = match &mut self.engine {
            Some(engine) if engine.limits() == limits => engine,
            other => other.insert(Engine::new(limits)?),
        };
        let result = engine.evaluate(expression, names, record);
        if let Err(error @ (Error::TimedOut { .. } | Error::OutOfMemory { .. })) = &result {
            // what is left of it is not worth keeping
            self.engine = None;
            self.paused.add(expression, record, limits.pause, error.clone());
        }
        result
    }
}

#[cfg(test)]
mod tests;
