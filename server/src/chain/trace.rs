//! The place of a request in a distributed trace: taken from `traceparent`, told to the log, and exported as a span
//! where `telemetry.otlp.endpoint` says so. Without either, nothing is read and nothing is made.

use crate::exchange::{Request, Response, Summary, TraceContext};
use crate::otlp::{self, Span};
use crate::services::Services;

/// Finds the trace that the request belongs to; one begins here where traces are exported.
pub(super) fn find(services: &Services, request: &mut Request) {
    let config = &services.config;
    let is_exported = config.telemetry.otlp.is_some();
    if !is_exported && config.http.logging.is_none() {
        return;
    }
    request.trace = TraceContext::of_headers(&request.head.headers);
    if request.trace.is_none() && is_exported {
        request.trace = TraceContext::begin(config.telemetry.sample_ratio);
    }
}

/// Has the span of a recorded trace exported when the answer ends.
pub(super) fn export(services: &Services, request: &Request, response: &mut Response) {
    let is_recorded = request.trace.as_ref().is_some_and(|trace| trace.is_sampled);
    if services.config.telemetry.otlp.is_some() && is_recorded {
        let summary = Summary::new(request, response.status().as_u16());
        response.body_mut().on_end(move |sent| otlp::export(Span::new(summary, sent)));
    }
}
