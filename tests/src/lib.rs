//! Whole-product tests: end to end, crash, restart, compatibility, command line
