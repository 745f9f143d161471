//! What the web page shows beside the schemas themselves: fields as a table, columns in Postgres, what changed between two
//! versions. Documents in, values for JSON out.

mod columns;
mod compare;
mod fields;

pub use columns::{PageColumn, PageTable, table_of};
pub use compare::{Change, Comparison, Kind, Step, compare};
pub use fields::{Field, fields_of};
