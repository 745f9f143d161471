//! Whole-product tests: the built program, real Postgres, real trackers.

mod accounting;
mod aws;
mod browser;
mod dbt;
mod definitions;
mod escalation;
mod fleets;
mod loader;
mod mistakes;
mod objects;
mod original;
mod outages;
mod registry;
mod registry_fuzz;
mod registry_page;
mod replay;
mod restart;
mod trackers;
