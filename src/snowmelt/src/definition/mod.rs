//! Pipeline definitions: what people write, read and checked.
//!
//! A definition is one application; its name names its lease table and its progress. A file holds one definition, or
//! includes others; the backends are chosen once, in the file named on the command line.

mod aws;
mod build;
pub mod keys;
pub mod load;
pub mod model;
mod objects;
mod original;
mod original_s3;
mod originals;
pub mod problem;
mod registry;
pub mod units;
pub mod verify;

pub use load::{Overrides, load};
pub use model::Plan;
pub use original::OriginalCollector;
pub use original::postgres::OriginalPostgres;
pub use original_s3::OriginalS3Loader;
pub use originals::Originals;
pub use problem::Problem;
