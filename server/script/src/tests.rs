use super::engine::cpu_time;
use super::*;

fn names(all: &[&str]) -> Vec<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

fn value(expression: &str, record: &str) -> Result<String, Error> {
    let all = names(&["price", "rate", "name", "class", "record"]);
    evaluate(expression, &all, record, Limits::default())
}

fn ok(expression: &str, record: &str) -> String {
    value(expression, record).unwrap_or_else(|error| panic!("{expression}: {error}"))
}

#[test]
fn attributes_are_variables() {
    assert_eq!(ok("price * (1 + rate)", r#"{"price":100,"rate":0.25}"#), "125");
    assert_eq!(ok("name.toUpperCase()", r#"{"name":"rex"}"#), "\"REX\"");
    assert_eq!(ok("[price, name]", r#"{"price":1,"name":"a"}"#), r#"[1,"a"]"#);
    assert_eq!(ok("({ a: price })", r#"{"price":1}"#), r#"{"a":1}"#);
    assert_eq!(ok("price // of one", r#"{"price":1}"#), "1");
    assert_eq!(ok("price ?? 'none'", "{}"), "\"none\"", "what is missing is undefined");
    assert_eq!(ok("price", "{}"), "null");
    assert_eq!(ok("2n ** 100n", "{}"), "1267650600228229401496703205376");
    assert_eq!(ok("new Date(0)", "{}"), "\"1970-01-01T00:00:00.000Z\"");
    assert_eq!(ok("record", r#"{"record":"own"}"#), "\"own\"");
    let of = |record| evaluate("record.extra + record.class", &[], record, Limits::default());
    assert_eq!(of(r#"{"extra":1,"class":2}"#).unwrap(), "3");
}

#[test]
fn mistakes_are_told() {
    assert!(matches!(check("price +", &names(&["price"])), Err(Error::Syntax(_))));
    assert!(matches!(check("return 1", &[]), Err(Error::Syntax(_))));
    assert!(check("price + 1", &names(&["price"])).is_ok());
    assert!(matches!(value("name.first.last", "{\"name\":{}}"), Err(Error::Thrown(_))));
    assert!(matches!(value("nosuch", "{}"), Err(Error::Thrown(why)) if why.contains("nosuch")));
    assert!(matches!(value("(() => { throw 1 })()", "{}"), Err(Error::Thrown(_))));
    assert!(matches!(value("price", "{"), Err(Error::Thrown(_))), "damaged records are no crash");
}

#[test]
fn nothing_reaches_out_or_stays_behind() {
    for name in ["require", "process", "fetch", "console", "setTimeout", "std", "os"] {
        assert_eq!(ok(&format!("typeof {name}"), "{}"), "\"undefined\"", "{name}");
    }
    assert!(value("globalThis.left = 1", "{}").is_err());
    assert_eq!(ok("typeof left", "{}"), "\"undefined\"");
    assert!(value("Math = 1", "{}").is_err());
}

#[test]
fn time_memory_stack_and_result_are_bounded() {
    let endless = "(() => { for (;;) {} })()";
    assert!(matches!(value(endless, "{}"), Err(Error::TimedOut { .. })));
    let caught = "(() => { for (;;) { try { for (;;) {} } catch { } } })()";
    assert!(matches!(value(caught, "{}"), Err(Error::TimedOut { .. })));
    let patient = Limits { cpu_time_max: Duration::from_secs(20), ..Limits::default() };
    let memory = "(() => { const a = []; for (;;) a.push(new Array(1000).fill(1)) })()";
    let result = evaluate(memory, &[], "{}", patient);
    assert!(matches!(result, Err(Error::OutOfMemory { .. })), "{result:?}");
    let stack = "(function f() { return 1 + f() })()";
    let result = evaluate(stack, &[], "{}", patient);
    assert!(matches!(result, Err(Error::Thrown(_))), "{result:?}");
    let result = evaluate("'x'.repeat(100000)", &[], "{}", patient);
    assert!(matches!(result, Err(Error::TooLarge { bytes: 100_002, .. })), "{result:?}");
    assert_eq!(ok("1 + 1", "{}"), "2", "the thread goes on");
}

#[test]
fn only_the_record_that_broke_a_limit_is_left_alone() {
    let expression = "(() => { let n = 0; while (price) n++; return n })()";
    let limits = Limits { pause: Duration::from_secs(60), ..Limits::default() };
    let of = |record| evaluate(expression, &names(&["price"]), record, limits);
    let broken = of(r#"{"price":1}"#).unwrap_err();
    assert!(matches!(broken, Error::TimedOut { .. }) && !broken.is_lasting());
    assert_eq!(of(r#"{"price":0}"#).unwrap(), "0", "another record has its value at once");
    let began = cpu_time();
    for _ in 0..100 {
        assert_eq!(of(r#"{"price":1}"#), Err(broken.clone()));
    }
    assert!(cpu_time() - began < 50 * limits.cpu_time_max, "it is not tried each time");
    let unpaused = Limits { pause: Duration::ZERO, ..limits };
    assert!(evaluate(expression, &names(&["price"]), r#"{"price":2}"#, unpaused).is_err());
}

#[test]
fn the_memory_of_many_evaluations_does_not_grow() {
    let limits = Limits { heap_bytes_max: 4 << 20, ..Limits::default() };
    for at in 0..20_000 {
        let record = format!(r#"{{"name":"{}"}}"#, "x".repeat(at % 1000));
        let expression = "(() => { const a = { n: name }; a.self = a; return name.length })()";
        let length = evaluate(expression, &names(&["name"]), &record, limits).unwrap();
        assert_eq!(length, (at % 1000).to_string());
    }
    for at in 0..3000 {
        assert_eq!(evaluate(&format!("{at}"), &[], "{}", limits).unwrap(), at.to_string());
    }
}

#[test]
fn each_thread_has_its_own() {
    let threads: Vec<_> = (0..4)
        .map(|at| std::thread::spawn(move || ok("price + 1", &format!(r#"{{"price":{at}}}"#))))
        .collect();
    for (at, thread) in threads.into_iter().enumerate() {
        assert_eq!(thread.join().unwrap(), (at + 1).to_string());
    }
}
