//! One thread's engine and its compiled expressions.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, Function, Persistent, Runtime};
use rustix::time::{ClockId, clock_gettime};

use crate::{Error, Limits};

/// Native stack that an evaluation may use; threads have at least two MiB.
const STACK_BYTES_MAX: usize = 256 << 10;
/// Compiled expressions that are kept; all are dropped when there are more.
const FUNCTIONS_MAX: usize = 1024;
/// Characters of a message that are passed on.
const MESSAGE_CHARS_MAX: usize = 200;

/// The engine's word for it.
const OUT_OF_MEMORY: &str = "out of memory";

/// Words that cannot name a variable; attributes of these names are reached by `record.word`.
const RESERVED: [&str; 48] = [
    "arguments",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "let",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "return",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "var",
    "void",
    "while",
    "with",
    "yield",
];

type Compiled = Persistent<Function<'static>>;

/// The fields are dropped in this order, as the engine needs it.
pub(crate) struct Engine {
    /// By expression and names.
    functions: HashMap<String, Vec<(Vec<String>, Compiled)>>,
    count: usize,
    context: Context,
    deadline: Rc<Cell<Option<Duration>>>,
    timed_out: Rc<Cell<bool>>,
    limits: Limits,
    _runtime: Runtime,
}

impl Engine {
    pub(crate) fn new(limits: Limits) -> Result<Engine, Error> {
        let failed = |error: rquickjs::Error| Error::Engine(error.to_string());
        let runtime = Runtime::new().map_err(failed)?;
        runtime.set_memory_limit(limits.heap_bytes_max);
        runtime.set_max_stack_size(STACK_BYTES_MAX);
        let (deadline, timed_out) =
            (Rc::<Cell<Option<Duration>>>::default(), Rc::<Cell<bool>>::default());
        let (until, hit) = (deadline.clone(), timed_out.clone());
        runtime.set_interrupt_handler(Some(Box::new(move || {
            let is_over = until.get().is_some_and(|until| cpu_time() >= until);
            hit.set(hit.get() || is_over);
            is_over
        })));
        let context = Context::full(&runtime).map_err(failed)?;
        context.with(|ctx| ctx.eval::<(), _>("Object.freeze(globalThis)")).map_err(failed)?;
        Ok(Engine {
            functions: HashMap::new(),
            count: 0,
            context,
            deadline,
            timed_out,
            limits,
            _runtime: runtime,
        })
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Makes sure that the expression is compiled.
    pub(crate) fn compile(&mut self, expression: &str, names: &[String]) -> Result<(), Error> {
        if self.function(expression, names).is_some() {
            return Ok(());
        }
        let source = source(expression, names);
        let compiled = self.context.with(|ctx| {
            let function = ctx.eval::<Function<'_>, _>(source).catch(&ctx);
            let function = function.map_err(|error| Error::Syntax(message(&error)))?;
            Ok(Persistent::save(&ctx, function))
        })?;
        if self.count >= FUNCTIONS_MAX {
            self.functions.clear();
            self.count = 0;
        }
        self.count += 1;
        let known = self.functions.entry(expression.to_owned()).or_default();
        known.push((names.to_vec(), compiled));
        Ok(())
    }

    fn function(&self, expression: &str, names: &[String]) -> Option<&Compiled> {
        let known = self.functions.get(expression)?;
        known.iter().find(|(known, _)| known == names).map(|(_, compiled)| compiled)
    }

    pub(crate) fn evaluate(
        &mut self,
        expression: &str,
        names: &[String],
        record: &str,
    ) -> Result<String, Error> {
        self.compile(expression, names)?;
        let Some(compiled) = self.function(expression, names).cloned() else {
            return Err(Error::Engine(String::from("a compiled expression is missing")));
        };
        self.timed_out.set(false);
        self.deadline.set(Some(cpu_time().saturating_add(self.limits.cpu_time_max)));
        let result = self.context.with(|ctx| call(&ctx, compiled, record));
        self.deadline.set(None);
        let Limits { cpu_time_max, heap_bytes_max, result_bytes_max, pause: _ } = self.limits;
        match result {
            Err(_) if self.timed_out.get() => Err(Error::TimedOut { max: cpu_time_max }),
            Err(Error::Thrown(message)) if message == OUT_OF_MEMORY => {
                Err(Error::OutOfMemory { max: heap_bytes_max })
            }
            Ok(text) if text.len() > result_bytes_max => {
                Err(Error::TooLarge { bytes: text.len(), max: result_bytes_max })
            }
            result => result,
        }
    }
}

/// Processor time of this thread: what others take of the machine is not counted.
pub(crate) fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn call(ctx: &Ctx<'_>, compiled: Compiled, record: &str) -> Result<String, Error> {
    let function = compiled.restore(ctx).map_err(|error| Error::Engine(error.to_string()))?;
    let value = function.call::<_, Option<String>>((record,)).catch(ctx);
    let value = value.map_err(|error| match &error {
        // without memory there may be none for an exception either
        CaughtError::Value(value) if value.is_null() => Error::Thrown(String::from(OUT_OF_MEMORY)),
        _ => Error::Thrown(message(&error)),
    })?;
    Ok(value.unwrap_or_else(|| String::from("null")))
}

/// A function from the text of a record to the text of the value.
fn source(expression: &str, names: &[String]) -> String {
    let variables: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !RESERVED.contains(name)).collect();
    format!(
        "((parse, stringify) => {{
            const of = function (record) {{
                \"use strict\";
                {{ const {{ {} }} = arguments[0]; return ({expression}\n); }}
            }};
            return (text) => {{
                const value = of(parse(text));
                return typeof value === \"bigint\" ? value.toString() : stringify(value);
            }};
        }})(JSON.parse, JSON.stringify)",
        variables.join(", ")
    )
}

/// What went wrong, in one line.
fn message(error: &CaughtError<'_>) -> String {
    let text = match error {
        CaughtError::Exception(exception) => exception.message().unwrap_or_default(),
        CaughtError::Value(value) => format!("it threw {:?}", value.type_name()),
        CaughtError::Error(error) => error.to_string(),
    };
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(MESSAGE_CHARS_MAX).collect()
}
