//! The HTTP collector
