//! `snowmelt convert`: configurations of the original as definitions.

use crate::cli::{Convert, ConvertArgs};
use crate::definition::{OriginalCollector, OriginalPostgres, OriginalS3Loader};
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
        Convert::PostgresLoader { file, resolver } => {
            let original = OriginalPostgres::read(file, Some(resolver))?;
            for note in original.notes() {
                eprintln!("note: {note}");
            }
            print!("{}", original.definition()?);
            Ok(())
        }
    }
}
