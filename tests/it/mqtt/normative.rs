//! Normative statements that no other test shows, each named by the tests. Which test shows which statement is listed in
//! `statements/`.

mod answers;
mod connect;
mod delivery;
mod publish;
mod sent;
