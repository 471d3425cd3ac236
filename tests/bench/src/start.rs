//! From the start of the process to ready, and anonymous memory ten seconds later, with the empty application.

use std::{path::Path, thread::sleep, time::Duration};

use anyhow::{Result, bail};
use serde_json::json;

use crate::{
    Common,
    process::anonymous_bytes,
    report::{Goal, Limit, Section, median, note},
    server::{self, ASK_TIMEOUT, Application, PASSWORD, Server, Settings, USERNAME},
    wire,
};

const READY_MILLIS_MAX: f64 = 200.0;
const MEMORY_MEGABYTES_MAX: f64 = 20.0;
const WORKERS: usize = 2;
const RUNS_PER_ROUND: usize = 4;
const REST: Duration = Duration::from_secs(10);

/// Runs the benchmark: `RUNS_PER_ROUND` starts a round, of each kind.
pub(crate) fn run(common: &Common) -> Result<Section> {
    let binary = server::binary(common.server.as_deref())?;
    let runs = common.rounds * RUNS_PER_ROUND;
    let directory = tempfile::tempdir_in(&common.directory)?;
    let application = Application::empty(directory.path())?;
    let start = |directory: &Path| {
        Server::start(&Settings {
            binary: &binary,
            directory,
            application: &application,
            workers: WORKERS,
            sync_delay_ms: 0,
            core: None,
            identity: None,
        })
    };

    let mut first = Vec::new();
    let mut again = Vec::new();
    for _ in 0..runs {
        let root = tempfile::tempdir_in(directory.path())?;
        first.push(millis(start(root.path())?.start_time));
        again.push(millis(start(root.path())?.start_time));
    }
    note(&format!("start: {runs} new and {runs} existing roots; memory takes {:?}", REST * 2));

    let idle = {
        let root = tempfile::tempdir_in(directory.path())?;
        let server = start(root.path())?;
        memory_after_rest(&server)?
    };
    let verified = {
        let root = tempfile::tempdir_in(directory.path())?;
        let server = start(root.path())?;
        log_in(&server)?;
        memory_after_rest(&server)?
    };
    Ok(section(&first, &again, idle, verified))
}

fn memory_after_rest(server: &Server) -> Result<f64> {
    sleep(REST);
    Ok(anonymous_bytes(server.process.id())? as f64 / 1e6)
}

/// Has the server check a right and a wrong password, each with a memory-hard hash.
fn log_in(server: &Server) -> Result<()> {
    for (password, refused) in [(PASSWORD, false), ("another password", true)] {
        let authorization = wire::basic(USERNAME, password);
        let request = wire::request("GET", "/", &authorization, b"");
        let answer = wire::ask(server.http, &request, ASK_TIMEOUT)?;
        if (answer.status == 401) != refused {
            bail!(
                "a login that should{} fail got {}",
                if refused { "" } else { " not" },
                answer.status
            );
        }
    }
    Ok(())
}

fn section(first: &[f64], again: &[f64], idle: f64, verified: f64) -> Section {
    let worst = |runs: &[f64]| runs.iter().copied().fold(f64::NAN, f64::max);
    let row = |name: &str, unit: &str, middle: f64, worst: f64| {
        vec![name.to_owned(), format!("{middle:.1}"), format!("{worst:.1}"), unit.to_owned()]
    };
    let middle = |runs: &[f64]| median(runs.iter().copied());
    let ready = Limit::AtMost(READY_MILLIS_MAX);
    let memory = Limit::AtMost(MEMORY_MEGABYTES_MAX);
    Section {
        title: format!(
            "Start and rest, {WORKERS} workers, empty application, {} starts",
            first.len()
        ),
        columns: &["", "median", "worst", ""],
        rows: vec![
            row("start to ready, new root", "ms", middle(first), worst(first)),
            row("start to ready, existing root", "ms", middle(again), worst(again)),
            row("RssAnon 10 s after ready", "MB", idle, idle),
            row("the same after two password checks", "MB", verified, verified),
        ],
        goals: vec![
            Goal {
                name: "median start to ready in ms, new root",
                got: middle(first),
                limit: ready,
            },
            Goal { name: "median start to ready in ms", got: middle(again), limit: ready },
            Goal { name: "RssAnon in MB", got: idle, limit: memory },
            Goal { name: "RssAnon in MB after password checks", got: verified, limit: memory },
        ],
        figures: json!({
            "ready_new_root_millis": first,
            "ready_existing_root_millis": again,
            "rss_anon_megabytes": idle,
            "rss_anon_after_password_checks_megabytes": verified,
        }),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
