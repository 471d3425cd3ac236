//! HTTP/1 on the wire: framing, deadlines, limits, and the request log.

mod admission;
mod deadlines;
mod framing;
mod limits;
mod log;

use crate::harness::Home;
use std::sync::Arc;

fn home() -> Arc<Home> {
    Home::with_schema("type Dog @table @export { id: ID @primaryKey name: String }")
}
