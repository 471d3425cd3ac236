//! The request log (`http.logging`): one line for each request, when its answer has been handed over or given up. It
//! exists only where the configuration has an `http.logging` block, and costs nothing otherwise.

mod entry;
mod forms;

use crate::exchange::{Request, Response};
use crate::services::Services;
use crate::telemetry;
use entry::Entry;

/// Has the line of an answered request written when the answer ends.
pub(super) fn line(services: &Services, request: &Request, response: &mut Response) {
    let Some(logging) = &services.config.http.logging else { return };
    let status = response.status().as_u16();
    if status < least_status(&logging.level) {
        return;
    }
    let entry = Entry::new(logging, request, status);
    response.body_mut().on_end(move |sent| telemetry::write(forms::line(&entry, sent)));
}

/// The least status that a level lets through.
fn least_status(level: &str) -> u16 {
    match level {
        "trace" | "debug" | "info" => 0,
        "warn" => 400,
        _ => 500,
    }
}
