//! Collector payload, tracker protocol, enriched event, bad rows: the wire formats
