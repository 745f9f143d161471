//! `snowmelt iglu pull`.

use std::path::Path;

use serde_json::Value;
use snowmelt_iglu::schema_key_of;

use super::args::PullArgs;
use super::client::Registry;
use super::push::progress;
use crate::trouble::{Outcome, Trouble};

/// Writes every schema that the key may read; files that hold it already are not touched.
pub(super) async fn pull(args: &PullArgs) -> Outcome {
    let registry = Registry::find(&args.registry)?;
    let schemas = registry.schemas("schemas").await?;
    let bar = progress(schemas.len());
    let (mut written, mut unchanged, mut mistakes) = (0, 0, Vec::new());
    for document in &schemas {
        match write(&args.folder.join("schemas"), document)? {
            Ok(true) => written += 1,
            Ok(false) => unchanged += 1,
            Err(mistake) => mistakes.push(mistake),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("{}: {written} written, {unchanged} there already, {} failed", registry.base(), mistakes.len());
    if mistakes.is_empty() { Ok(()) } else { Err(Trouble::User(mistakes)) }
}

/// Whether the file had to be written; a mistake is one of the registry.
fn write(folder: &Path, document: &Value) -> Outcome<Result<bool, String>> {
    let key = match schema_key_of(document) {
        Ok(key) => key,
        Err(code) => return Ok(Err(format!("the registry gave a schema that is not self-describing, {code}"))),
    };
    let file = folder.join(key.path());
    let failed = |error: std::io::Error| Trouble::machine(&file.display().to_string(), error);
    match std::fs::read(&file) {
        Ok(text) if serde_json::from_slice::<Value>(&text).is_ok_and(|known| known == *document) => {
            return Ok(Ok(false));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let text = serde_json::to_string_pretty(document).map_err(|error| Trouble::caused("a schema", error))?;
    std::fs::create_dir_all(file.parent().unwrap_or(folder)).map_err(failed)?;
    // Whole or not at all, also when the command is interrupted.
    let temporary = file.with_extension("new");
    std::fs::write(&temporary, text + "\n").and_then(|()| std::fs::rename(&temporary, &file)).map_err(failed)?;
    Ok(Ok(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_is_written_outside_of_the_folder_and_equal_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let of = |vendor: &str| {
            let own = json!({"vendor": vendor, "name": "e", "format": "jsonschema", "version": "1-0-0"});
            json!({"$schema": snowmelt_iglu::META_SCHEMA, "self": own})
        };
        assert!(write(folder.path(), &of("..")).unwrap().is_err());
        assert!(write(folder.path(), &of("a/b")).unwrap().is_err());
        assert_eq!(write(folder.path(), &of("com.acme")).unwrap(), Ok(true));
        assert_eq!(write(folder.path(), &of("com.acme")).unwrap(), Ok(false));
        assert!(folder.path().join("com.acme/e/jsonschema/1-0-0").is_file());
    }
}
