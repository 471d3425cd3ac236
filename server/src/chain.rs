//! The one visible list of layers that every request passes, front to back, and every response, back to front.
//!
//! A layer answers, or lets the request go on. Dispatch is static; layers of applications get their place in the
//! same list.

mod admission;
mod client;
mod compress;
mod cors;
mod framing;
mod limit;
mod log;
mod login;
mod request_id;
mod security;
mod stamp;
mod timeout;
mod trace;

use crate::error::Answer;
use crate::exchange::{Request, RequestBody, Response};
use crate::ops;
use crate::reply;
use crate::route::Routes;
use crate::services::Services;
use crate::ws;
use http::{HeaderValue, header};
use std::pin::pin;

/// The layers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// The trace that a request is part of.
    Trace,
    /// The request log.
    Log,
    /// `Server`, `Server-Timing`, connection headers.
    Stamp,
    /// Who has sent the request, where proxies stand between.
    Client,
    /// The id of the request.
    RequestId,
    /// Headers for browsers to be careful.
    Security,
    /// Requests that the protocol refuses.
    Framing,
    /// Requests that have waited too long.
    Admission,
    /// Cross-origin requests.
    Cors,
    /// How often an address may ask.
    AddressLimit,
    /// Who is asking.
    Login,
    /// How often a user may ask.
    UserLimit,
    /// Brotli.
    Compress,
}

/// The order. Trace and log are outermost and see what is sent; stamp is next, so that every answer carries its headers
/// and the time counts what all others do; who asks and how the request is called is known before anything can be
/// refused; framing is checked before anything else is believed; what has waited too long costs nothing more; CORS
/// answers preflights, which carry no credentials, before the login, and lets pages read any refusal after it; an address
/// is limited before the login, which costs most.
pub(crate) const ORDER: [Layer; 13] = [
    Layer::Trace,
    Layer::Log,
    Layer::Stamp,
    Layer::Client,
    Layer::RequestId,
    Layer::Security,
    Layer::Framing,
    Layer::Admission,
    Layer::Cors,
    Layer::AddressLimit,
    Layer::Login,
    Layer::UserLimit,
    Layer::Compress,
];

impl Layer {
    /// The layer's word on a request: an answer, a failure, or none to go on. The login is not asked here: it alone may
    /// have to wait.
    fn request(self, services: &Services, request: &mut Request) -> Answer<Option<Response>> {
        match self {
            Self::Trace => trace::find(services, request),
            Self::Client => client::identify(services, request),
            Self::RequestId => request_id::take(services, request),
            Self::Framing => framing::check(services, request)?,
            Self::Admission => admission::check(services, request)?,
            Self::Cors => {
                cors::check_socket(services, request)?;
                return Ok(cors::preflight(services, request));
            }
            Self::AddressLimit => limit::by_address(services, request)?,
            Self::UserLimit => limit::by_user(services, request)?,
            Self::Log | Self::Stamp | Self::Security | Self::Login | Self::Compress => {}
        }
        Ok(None)
    }

    /// What the layer adds to a response. Compression is not asked here: it alone may have to wait.
    fn response(self, services: &Services, request: &mut Request, response: &mut Response) {
        match self {
            Self::Trace => trace::export(services, request, response),
            Self::Log => log::line(services, request, response),
            Self::Stamp => stamp::headers(services, request, response),
            Self::RequestId => request_id::header(services, request, response),
            Self::Security => security::headers(services, request, response),
            Self::Cors => cors::headers(services, request, response),
            Self::AddressLimit => limit::headers(request, response),
            Self::Login => login::headers(request, response),
            Self::Client | Self::Framing | Self::Admission | Self::UserLimit | Self::Compress => {}
        }
    }
}

/// Answers a request: through the layers, to the routes, and back.
pub(crate) async fn handle(
    services: &Services,
    routes: &Routes,
    request: &mut Request,
) -> Response {
    let mut passed = 0;
    let started = request.started;
    let answer = {
        // pinned where it is made: it is large, and costs time to move
        let answer = pin!(answer(services, routes, request, &mut passed));
        timeout::within(services, started, answer).await
    };
    let mut response = answer.unwrap_or_else(|failure| {
        let (http, metrics) = (&services.config.http, &services.metrics);
        ws::refuse(http, metrics, request, &failure)
            .unwrap_or_else(|| reply::problem(&failure, &request.head.headers, request.id.get()))
    });
    let unread = std::mem::replace(&mut request.body, RequestBody::Empty);
    let is_read = match unread {
        RequestBody::Empty => true,
        unread => Box::pin(unread.drain(&request.head.headers)).await,
    };
    if !is_read {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    for layer in ORDER[..passed].iter().rev() {
        match layer {
            Layer::Compress => compress::body(services, request, &mut response).await,
            _ => layer.response(services, request, &mut response),
        }
    }
    services.metrics.request(request.head.method.as_str(), response.status(), request.took);
    response
}

/// The answer of the first layer that has one, else that of the routes. `passed` counts the layers that were asked,
/// even when the work is given up.
async fn answer(
    services: &Services,
    routes: &Routes,
    request: &mut Request,
    passed: &mut usize,
) -> Answer<Response> {
    for layer in &ORDER {
        *passed += 1;
        if *layer == Layer::Login {
            login::identify(services, request).await?;
        } else if let Some(response) = layer.request(services, request)? {
            return Ok(response);
        }
    }
    if ops::are_meant(services, request) {
        return Box::pin(ops::answer(services, request)).await;
    }
    routes.dispatch(services, request).await
}
