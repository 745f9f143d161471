//! Everything that is decided, without sockets, database or clock.

pub mod api_key;
pub mod catalog;
pub mod document;
pub mod page;
pub mod permission;
pub mod publish;
pub mod reply;
pub mod representation;
pub mod request;
pub mod route;
