//! The script engine: JavaScript expressions over one record. The only crate with `rquickjs`.
//!
//! Each thread has an engine of its own, made when the first expression is evaluated there, and
//! compiles an expression once. An expression sees the attributes of the record and the language
//! itself: no files, no network, no timers, and nothing that another evaluation left behind, since
//! the global object is frozen. Time, memory and the size of the result are bounded; an expression
//! that broke a bound is not evaluated again on the thread for a second, so that it cannot hold it
//! up again and again.

mod engine;

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use engine::Engine;

/// How long an expression that took too much is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// What one evaluation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Processor time that one evaluation may take.
    pub time_max: Duration,
    /// Memory of all that one thread's engine holds.
    pub memory_bytes_max: usize,
    /// Size of the result as JSON text.
    pub result_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            time_max: Duration::from_millis(20),
            memory_bytes_max: 16 << 20,
            result_bytes_max: 64 << 10,
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
    #[error("it took longer than {} ms", .max.as_millis())]
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
    /// It broke a limit moments ago and is not evaluated now.
    #[error("it broke a limit and is paused")]
    Paused,
    /// The engine could not be made.
    #[error("the script engine failed: {0}")]
    Engine(String),
}

/// What a thread keeps from one evaluation to the next.
#[derive(Default)]
struct Thread {
    engine: Option<Engine>,
    /// Until when expressions are left alone.
    paused: HashMap<String, Instant>,
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
        if let Some(until) = self.paused.get(expression) {
            if Instant::now() < *until {
                return Err(Error::Paused);
            }
            self.paused.remove(expression);
        }
        let engine = match &mut self.engine {
            Some(engine) if engine.limits() == limits => engine,
            other => other.insert(Engine::new(limits)?),
        };
        let result = engine.evaluate(expression, names, record);
        if let Err(Error::TimedOut { .. } | Error::OutOfMemory { .. }) = &result {
            // what is left of it is not worth keeping
            self.engine = None;
            self.paused.insert(expression.to_owned(), Instant::now() + PAUSE);
        }
        result
    }
}

#[cfg(test)]
mod tests;
