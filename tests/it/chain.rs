//! The layers that every request passes.

mod headers;
mod proxies;
mod request_id;

use crate::harness::Home;
use std::sync::Arc;

fn home() -> Arc<Home> {
    Home::with_schema("type Dog @table @export { id: ID @primaryKey name: String }")
}
