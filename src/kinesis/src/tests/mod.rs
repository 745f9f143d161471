//! The streams against other people's and our own stand-ins for the service.

mod kinesis_mock;
mod mock;
mod support;
