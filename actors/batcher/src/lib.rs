//! Gathers records into batches by bytes, count and time
