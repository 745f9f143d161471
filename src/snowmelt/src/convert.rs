//! `snowmelt convert`: configurations of the original as definitions.

use crate::cli::{Convert, ConvertArgs};
use crate::definition::{OriginalCollector, OriginalS3Loader};
use crate::trouble::Outcome;

/// Runs the command.
pub fn convert(args: &ConvertArgs) -> Outcome {
    match &args.what {
        Convert::Collector { file } => {
            let original = OriginalCollector::read(file)?;
            for note in original.notes() {
                eprintln!("note: {note}");
            }
            print!("{}", original.definition());
            Ok(())
        }
        Convert::S3Loader { file } => {
            let original = OriginalS3Loader::read(file)?;
            for note in original.notes() {
                eprintln!("note: {note}");
            }
            print!("{}", original.definition());
            Ok(())
        }
    }
}
