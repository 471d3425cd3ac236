//! MQTT on a connection of its own.

use super::{ConnState, Peer, Shared, Stage};
use crate::metrics::Closed;
use crate::mqtt::{self, Context, Host};
use crate::route::OwnRoutes;
use crate::services::Services;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};

impl Host for Shared {
    fn services(&self) -> Rc<Services> {
        self.services()
    }

    fn routes(&self) -> Rc<OwnRoutes> {
        Rc::clone(&self.routes.borrow())
    }

    fn now(&self) -> Instant {
        self.coarse_now.get()
    }
}

/// Serves a client of MQTT until the connection ends.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    state: Rc<ConnState>,
    io: S,
    peer: Peer,
) -> Closed {
    // the broker has deadlines of its own
    state.enter(Stage::Streams);
    let address = peer.address.ip().to_canonical();
    let context = Context {
        host: Rc::<Shared>::clone(&state.shared),
        broker: std::sync::Arc::clone(&state.shared.broker),
        address,
        is_local: address.is_loopback() && !peer.is_proxied,
        certificate: peer.certificate,
        identity: None,
    };
    let ending = poll_fn(|cx| {
        state.register(cx);
        if state.draining.get() { Poll::Ready(()) } else { Poll::Pending }
    });
    mqtt::serve(io, context, ending).await
}
