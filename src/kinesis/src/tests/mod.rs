//! The streams against other people's and our own stand-ins for the service.

mod canned;
mod fan_out;
mod kinesis_mock;
mod mock;
mod polling;
mod putting;
mod support;
