//! Who is asking.

use crate::auth::Identity;
use crate::auth::users::User;
use crate::error::Answer;
use crate::exchange::Request;
use crate::services::Services;
use http::header;
use std::sync::{Arc, LazyLock};

/// Who a loopback client without credentials is, where `authentication.authorizeLocal` says so.
static LOCAL: LazyLock<Arc<User>> = LazyLock::new(|| {
    let (username, password) = ("local".to_owned(), String::new());
    Arc::new(User { username, password, active: true, super_user: true })
});

/// Sets the request's identity from its `Authorization` header.
pub(super) async fn identify(services: &Services, request: &mut Request) -> Answer<()> {
    request.identity = match request.head.headers.get(header::AUTHORIZATION) {
        Some(credentials) => {
            services.credentials.identify(credentials.as_bytes(), request.started).await?
        }
        None if services.config.authentication.authorize_local
            && request.peer.ip().to_canonical().is_loopback() =>
        {
            Identity::User(Arc::clone(&LOCAL))
        }
        None => Identity::Anonymous,
    };
    Ok(())
}
