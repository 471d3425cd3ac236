//! The MQTT broker: clients of MQTT 3.1, 3.1.1 and 5.0 publish to tables and subscribe to them.
//!
//! A topic is the path of an exported table, `/`, and a record's key: `Dog/1`. A retained message is that record: publishing
//! one writes it, an empty one deletes it. Any other message is told to those who subscribe and changes nothing. What is
//! written over another protocol is told as a retained message of QoS 2.
//!
//! `harper_mqtt` knows packets and the rules of a session; the hub knows who hears of a change. Here the two meet:
//! [`serve`] drives one connection, [`client`](client::Client) is its state, [`Broker`] is what the process knows of
//! all clients. Whether a message has to last is decided by who listens: while a session that outlives its connection
//! subscribes to a table, every message to the table goes through its change log, and the session is a cursor into that.

mod answer;
mod authenticate;
mod broker;
mod client;
mod connect;
mod deliver;
mod drive;
mod due;
mod enter;
mod keep;
mod message;
mod pace;
mod publish;
mod resume;
mod shares;
mod stored;
mod subscribe;
mod sys;
mod web_socket;

pub(crate) use broker::{Broker, Sessions};
pub(crate) use drive::{Context, Host, serve};
pub(crate) use keep::keep;
pub(crate) use web_socket::OverWebSocket;
