//! A scope for tests that has seen nothing, and whose watches show what a test wants.

use super::{Scope, Settings, Shared, stores};
use kube::{Client, Config};
use std::sync::Arc;

pub(super) fn with_writers(url: &str) -> (Scope, stores::Writers) {
    // a second installation is refused, and is the same
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
    let settings = Settings { server_image: String::new(), namespaces: Vec::new() };
    let shared = Arc::new(Shared::new(client.clone(), settings).unwrap());
    let (stores, writers) = stores::new();
    (Scope::new(client, stores, shared), writers)
}

/// A scope of an API server at this URL.
pub(crate) fn scope(url: &str) -> Scope {
    with_writers(url).0
}
