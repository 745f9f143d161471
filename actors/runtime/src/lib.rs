//! The actor runtime: bounded ports, acknowledgements, supervision, clock, cores
