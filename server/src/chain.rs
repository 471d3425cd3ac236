//! The one visible list of layers that every request passes, front to back, and every response, back to front.
//!
//! A layer answers, or lets the request go on. Dispatch is static; layers of applications get their place in the
//! same list.

mod compress;
mod cors;
mod framing;
mod log;
mod login;
mod stamp;

use crate::error::Failure;
use crate::exchange::{Request, RequestBody, Response};
use crate::reply;
use crate::route::Routes;
use crate::services::Services;
use http::{HeaderValue, header};

/// The layers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// `Server`, `Server-Timing`, connection headers.
    Stamp,
    /// The request log.
    Log,
    /// Requests that the HTTP parser lets pass and RFC 9112 does not.
    Framing,
    /// Cross-origin requests.
    Cors,
    /// Who is asking.
    Login,
    /// Brotli.
    Compress,
}

/// The order. Stamp is outermost so that every answer carries its headers; the log sees what is sent; framing is
/// checked before anything is believed; CORS answers preflights, which carry no credentials, before the login.
pub(crate) const ORDER: [Layer; 6] =
    [Layer::Stamp, Layer::Log, Layer::Framing, Layer::Cors, Layer::Login, Layer::Compress];

impl Layer {
    /// The layer's word on a request: an answer, a failure, or none to go on.
    async fn request(
        self,
        services: &Services,
        request: &mut Request,
    ) -> Result<Option<Response>, Box<Failure>> {
        match self {
            Self::Framing => framing::check(request).map(|()| None),
            Self::Cors => Ok(cors::preflight(services, request)),
            Self::Login => login::identify(services, request).await.map(|()| None),
            Self::Stamp | Self::Log | Self::Compress => Ok(None),
        }
    }

    /// What the layer adds to a response.
    async fn response(self, services: &Services, request: &Request, response: &mut Response) {
        match self {
            Self::Stamp => stamp::headers(services, request, response),
            Self::Log => log::line(services, request, response),
            Self::Cors => cors::headers(services, request, response),
            Self::Compress => compress::body(services, request, response).await,
            Self::Framing | Self::Login => {}
        }
    }
}

/// Answers a request: through the layers, to the routes, and back.
pub(crate) async fn handle(services: &Services, routes: &Routes, mut request: Request) -> Response {
    let mut passed = 0;
    let mut answered = None;
    for layer in ORDER {
        passed += 1;
        match layer.request(services, &mut request).await {
            Ok(None) => {}
            Ok(Some(response)) => answered = Some(Ok(response)),
            Err(failure) => answered = Some(Err(failure)),
        }
        if answered.is_some() {
            break;
        }
    }
    let answer = match answered {
        Some(answer) => answer,
        None => routes.dispatch(services, &mut request).await,
    };
    let mut response =
        answer.unwrap_or_else(|failure| reply::problem(&failure, &request.head.headers));
    let unread = std::mem::replace(&mut request.body, RequestBody::Empty);
    if !unread.drain(&request.head.headers).await {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    for layer in ORDER[..passed].iter().rev() {
        layer.response(services, &request, &mut response).await;
    }
    services.metrics.request(&request.head.method, response.status(), request.started.elapsed());
    response
}
