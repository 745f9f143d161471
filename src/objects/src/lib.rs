//! Object stores, and what the S3 loader puts into them: framing, keys, buffering rules
