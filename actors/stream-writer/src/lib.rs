//! Writes records to a stream, with retries and order per key
