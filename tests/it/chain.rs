//! The layers that every request passes.

mod headers;
mod limit;
mod proxies;
mod request_id;
mod timeout;
mod trace;

use crate::harness::Home;
use std::sync::Arc;

fn home() -> Arc<Home> {
    Home::with_schema("type Dog @table @export { id: ID @primaryKey name: String }")
}
