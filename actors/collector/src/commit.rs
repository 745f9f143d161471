//! Group commit (being filled in).
