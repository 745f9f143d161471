//! `snowmelt iglu ddl`.

use std::collections::BTreeMap;

use serde_json::Value;
use snowmelt_iglu::SchemaKey;
use snowmelt_iglu::ddl::{Table, comment_on_table, create_table};

use super::args::DdlArgs;
use super::files;
use crate::trouble::{Outcome, Trouble};

/// All versions of a model, in order.
type Versions<'f> = Vec<(SchemaKey, &'f Value)>;

/// Prints the statements that make the tables, one for each model.
pub(super) fn ddl(args: &DdlArgs) -> Outcome {
    let folder = files::read(&args.paths)?;
    let mut models: BTreeMap<(&str, &str, u32), Versions<'_>> = BTreeMap::new();
    for (key, found) in folder.schemas.iter().filter(|(key, _)| key.format() == "jsonschema") {
        let model = (key.vendor(), key.name(), key.version().model);
        models.entry(model).or_default().push((key.clone(), &found.document));
    }
    let mut wrong = folder.mistakes;
    for versions in models.values() {
        match Table::of(&args.schema, versions, true) {
            Ok(table) => {
                println!("{};", create_table(&table).trim_end());
                println!("{};\n", comment_on_table(&table).trim_end());
            }
            Err(error) => {
                let (key, _) = &versions[error.version()];
                wrong.push(format!("{key}: {error}"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Trouble::User(wrong)) }
}
