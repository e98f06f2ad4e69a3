//! The rules of Dormouse.
//!
//! Everything that is decided is decided here, and nothing else is done here: no runtime, no clock, no I/O, no waiting, no randomness but what is
//! handed in. `durable` and `src` translate, ask, and perform. Start reading at [`room`] (what a channel does) and [`edge`]
//! (who is let in).
#![forbid(unsafe_code)]

mod access;
pub mod call;
pub mod channel;
pub mod close;
pub mod config;
pub mod connection;
pub mod credentials;
pub mod directory;
pub mod edge;
pub mod frame;
pub mod head;
pub mod hub;
mod json;
pub mod limits;
pub mod link;
mod log;
pub mod message;
pub mod occupancy;
pub mod position;
pub mod presence;
pub mod pusher;
mod rate;
pub mod refusal;
pub mod resume;
pub mod room;
mod roster;
mod segment;
pub mod session;
mod speech;
pub mod store;
pub mod stream;
pub mod token;
pub mod webhook;
