//! The store: records in LMDB, one environment for each database.
//!
//! It owns record and key encoding, validation against a table's schema, secondary indexes, the
//! change log, the single writer with group commit, and query planning. It is synchronous, knows
//! nothing of HTTP, and refuses to hold a read transaction for its caller: a [`QueryRun`] goes in
//! slices, each with a transaction of its own.
//!
//! ```text
//! Store -> Database -> Table        reading: Database::read, Table::get, Table::query
//!                 \-> writer        writing: Prepared -> Op -> Database::submit -> Outcome
//! ```

mod access;
mod batch;
mod body;
mod bounds;
mod catalog;
mod collector;
mod computed;
mod database;
mod date;
mod define;
mod encode;
mod entry;
mod env;
mod error;
mod events;
mod expiry;
mod explain;
mod filter;
mod hlc;
mod index;
mod intersect;
mod join;
mod json;
mod key;
mod layout;
mod ledger;
mod load;
mod log;
mod matcher;
mod merge;
mod migrate;
mod node;
mod observer;
mod options;
mod plan;
mod planner;
mod precondition;
mod query;
mod readers;
mod record;
mod resolve;
mod room;
mod scalar;
mod scan;
mod schema;
mod side;
mod sort;
mod space;
mod stats;
mod store;
mod sweep;
mod table;
mod validate;
mod writer;

pub use body::Prepared;
pub use computed::{Computed, Evaluate, Evaluator, NoValue};
pub use database::{Database, ReadTxn};
pub use error::{Error, Invalid, InvalidValue};
pub use events::{Events, Stretch};
pub use explain::{Explanation, Read};
pub use filter::{Comparator, Filter, Value};
pub use join::{Join, Related};
pub use json::{Member, members};
pub use key::{KEY_BYTES_MAX, Key, KeyValue};
pub use matcher::Matcher;
pub use observer::{Event, Interest, Observer, Observing, Operation, Reached, TableId};
pub use options::{Durability, Options};
pub use plan::Plan;
pub use precondition::Precondition;
pub use query::{Budget, Limits, Query, QueryRun, Sort, Step};
pub use record::{Meta, Record};
pub use schema::{Attribute, Element, Expiry, Kind, Role, TableSchema};
pub use side::{SideOp, SideRange, SideTree, Transaction};
pub use stats::DatabaseStats;
pub use store::{Hooks, Store};
pub use table::Table;
pub use writer::{Message, Op, Outcome};
