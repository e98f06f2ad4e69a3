//! The Durable Objects of Dormouse. They decide nothing: translate what happens for the core, ask it, and perform what it says.

mod alarm;
mod common;
mod directory;
mod directory_sql;
mod env;
mod hall;
mod home;
mod hub;
mod kept;
mod laggards;
mod places;
mod room;
mod script;
mod sockets;
mod sql;
mod stub;
mod tabs;

pub use directory::Directory;
pub use env::{Apps, apps};
pub use hub::Hub;
pub use room::Room;
pub use script::{cheap_microtasks, json};
pub use stub::{DirectoryStub, HubStub, RoomStub, close};
