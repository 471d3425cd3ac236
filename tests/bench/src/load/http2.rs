//! HTTP/2 as a client: several requests in flight on each connection.

use std::{net::SocketAddr, rc::Rc, time::Instant};

use anyhow::{Context, Result, bail};
use http::{Request, header};
use tokio::task::JoinSet;

use super::{Expected, Get, Shared, tls};

/// Keeps `streams` requests in flight on one connection.
pub(super) async fn connection(
    addr: SocketAddr,
    get: Get,
    streams: usize,
    shared: Rc<Shared>,
) -> Result<()> {
    let stream = tls::connect(addr, b"h2").await?;
    let (client, connection) = h2::client::handshake(stream).await.context("no HTTP/2")?;
    let mut tasks = JoinSet::new();
    for _ in 0..streams {
        tasks.spawn_local(requests(client.clone(), get.clone(), Rc::clone(&shared)));
    }
    drop(client);
    tokio::pin!(connection);
    loop {
        tokio::select! {
            ended = &mut connection => {
                ended?;
                if !shared.stop.get() {
                    bail!("the server closed a connection in use");
                }
                return Ok(());
            }
            Some(ended) = tasks.join_next() => ended??,
        }
    }
}

async fn requests(
    client: h2::client::SendRequest<bytes::Bytes>,
    get: Get,
    shared: Rc<Shared>,
) -> Result<()> {
    let mut client = client.ready().await?;
    while !shared.stop.get() {
        let request = Request::get(format!("https://localhost{}", get.path))
            .header(header::AUTHORIZATION, &get.authorization)
            .body(())?;
        let begun = Instant::now();
        let (answer, _) = client.send_request(request, true)?;
        let (head, mut body) = answer.await?.into_parts();
        let mut body_bytes = 0;
        while let Some(part) = body.data().await {
            let part = part?;
            body_bytes += part.len();
            body.flow_control().release_capacity(part.len())?;
        }
        shared.answered(begun, Expected { status: head.status.as_u16(), body_bytes })?;
        client = client.ready().await?;
    }
    Ok(())
}
