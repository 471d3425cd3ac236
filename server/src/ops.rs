//! The Operations API: `POST /` with an object that names an `operation`. [`OPERATIONS`] is the one list of what
//! there is; an operation is a row of it and a function.

mod call;
mod roles;
mod sessions;
mod tokens;
mod users;

use crate::auth::Identity;
use crate::auth::users::UsersError;
use crate::content::Media;
use crate::error::{Answer, Code, Failure};
use crate::exchange::{self, Body, Interface, Request, Response};
use crate::reply;
use crate::resource::guard;
use crate::services::Services;
use call::{Call, Done};
use harper_config::Port;
use http::{HeaderValue, Method, StatusCode, header};
use std::pin::Pin;

const ALLOW: &str = "POST, OPTIONS";

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Anybody, logged in or not.
    Anybody,
    /// Whoever has logged in.
    User,
    /// Super users.
    SuperUser,
}

/// What becomes of a call.
type Running<'a> = Pin<Box<dyn Future<Output = Answer<Done>> + 'a>>;

/// One operation.
struct Operation {
    name: &'static str,
    who: Who,
    run: for<'a> fn(Call<'a>) -> Running<'a>,
}

const fn operation(
    name: &'static str,
    who: Who,
    run: for<'a> fn(Call<'a>) -> Running<'a>,
) -> Operation {
    Operation { name, who, run }
}

/// Every operation, by topic.
const OPERATIONS: &[Operation] = &[
    operation("create_authentication_tokens", Who::Anybody, |call| Box::pin(tokens::create(call))),
    operation("refresh_operation_token", Who::Anybody, |call| Box::pin(tokens::refresh(call))),
    operation("login", Who::Anybody, |call| Box::pin(sessions::login(call))),
    operation("logout", Who::Anybody, |call| Box::pin(sessions::logout(call))),
    operation("user_info", Who::User, |call| Box::pin(users::info(call))),
    operation("list_users", Who::SuperUser, |call| Box::pin(users::list(call))),
    operation("add_user", Who::SuperUser, |call| Box::pin(users::add(call))),
    operation("alter_user", Who::SuperUser, |call| Box::pin(users::alter(call))),
    operation("drop_user", Who::SuperUser, |call| Box::pin(users::drop(call))),
    operation("list_roles", Who::SuperUser, |call| Box::pin(roles::list(call))),
    operation("add_role", Who::SuperUser, |call| Box::pin(roles::add(call))),
    operation("alter_role", Who::SuperUser, |call| Box::pin(roles::alter(call))),
    operation("drop_role", Who::SuperUser, |call| Box::pin(roles::drop(call))),
];

/// Whether a request is for the Operations API: it came in on its listener, or, where application and API share a
/// port, it posts to the root path.
#[must_use]
pub(crate) fn are_meant(services: &Services, request: &Request) -> bool {
    if request.interface == Interface::Operations {
        return true;
    }
    let config = &services.config;
    let is_same = |application: &Option<Port>, operations: &Option<Port>| {
        application == operations && application.as_ref().is_some_and(|port| port.port != 0)
    };
    let is_shared = is_same(&config.http.port, &config.operations_api.port)
        || is_same(&config.http.secure_port, &config.operations_api.secure_port);
    is_shared && request.head.method == Method::POST && request.head.uri.path() == "/"
}

/// Answers a request.
///
/// # Errors
/// The failure that the client is told.
pub(crate) async fn answer(services: &Services, request: &mut Request) -> Answer<Response> {
    match (request.head.uri.path(), &request.head.method) {
        ("/", &Method::POST) => operate(services, request).await,
        ("/", &Method::OPTIONS) => {
            let mut response = reply::no_content();
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(ALLOW));
            Ok(response)
        }
        ("/", method) => Err(reply::method_not_allowed(method, "The Operations API", ALLOW)),
        ("/health", &Method::GET | &Method::HEAD) => Ok(health()),
        _ => Err(Failure::new(Code::NotFound, "Not found")),
    }
}

fn health() -> Response {
    let mut response = exchange::response(Body::whole("HarperDB is running.".into()));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn operate(services: &Services, request: &mut Request) -> Answer<Response> {
    let media = Media::negotiate(&request.head.headers)?;
    let call = Call::read(services, request).await?;
    let Done { value, headers } = run(call).await?;
    let mut response = reply::value(StatusCode::OK, media, value.to_string().as_bytes())?;
    for (name, value) in headers {
        response.headers_mut().append(name, value);
    }
    // answers hold tokens and the names of users
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn run(call: Call<'_>) -> Answer<Done> {
    let name = call.name()?;
    let Some(operation) = OPERATIONS.iter().find(|operation| operation.name == name) else {
        let sentence = format!("Operation '{name}' not found");
        return Err(Failure::new(Code::BadRequest, sentence));
    };
    let identity = &call.request.identity;
    match (operation.who, identity) {
        (Who::Anybody, _) | (Who::User, Identity::User(_)) => {}
        (_, Identity::Anonymous) => return Err(guard::refused(identity)),
        (_, Identity::User(_)) if identity.is_super_user() => {}
        (_, Identity::User(_)) => {
            let sentence = format!("Operation '{name}' is restricted to 'super_user' roles");
            return Err(Failure::new(Code::Forbidden, sentence));
        }
    }
    (operation.run)(call).await
}

/// What the client is told of a change of users or roles that cannot be.
fn users_failure(error: &UsersError) -> Box<Failure> {
    let code = match error {
        UsersError::Unusable(_) | UsersError::Permission(_) => Code::InvalidBody,
        UsersError::Conflict(_) => Code::Conflict,
        UsersError::Missing(_) => Code::NotFound,
        UsersError::System(_) | UsersError::Password(_) => {
            return Failure::internal("users could not be read or changed", error);
        }
    };
    Failure::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let names: BTreeSet<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
        assert_eq!(names.len(), OPERATIONS.len());
    }
}
