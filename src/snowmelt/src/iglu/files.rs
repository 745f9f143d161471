//! Schemas in folders: files `VENDOR/NAME/FORMAT/VERSION`, at any depth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use snowmelt_iglu::{SchemaKey, SchemaVer, schema_key_of};

use crate::trouble::{Outcome, Trouble};

/// Deepest folder that is looked into.
const MAX_DEPTH: usize = 16;
/// Largest file that is read.
const MAX_BYTES: u64 = 16 << 20;

/// A schema that was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// Its file.
    pub(super) file: PathBuf,
    /// Its identity.
    pub(super) key: SchemaKey,
    /// Itself.
    pub(super) document: Value,
}

/// What was found: schemas by identity, which is also the order in which a registry takes them, and what is wrong with
/// files that should be schemas.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) schemas: BTreeMap<SchemaKey, Found>,
    pub(super) mistakes: Vec<String>,
    /// Files that belong to schemas of other formats, such as Avro: registries can't judge those.
    pub(super) other_formats: usize,
}

/// Reads folders and single files.
///
/// A file counts as a schema when it was named itself, or its name is a version and its folder's `jsonschema`; others
/// (read-me files, column orders) are none.
pub(super) fn read(paths: &[PathBuf]) -> Outcome<Folder> {
    let (mut files, mut folder) = (Vec::new(), Folder::default());
    for path in paths {
        let failed = |error| Trouble::user(format!("{} can't be read: {error}", path.display()));
        if std::fs::metadata(path).map_err(failed)?.is_dir() {
            folder.other_formats += collect(path, 0, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    for file in files {
        match read_file(&file) {
            Ok(found) => {
                if let Some(twin) = folder.schemas.get(&found.key) {
                    let shown = file.display();
                    folder.mistakes.push(format!("{shown}: {} has the same identity", twin.file.display()));
                } else {
                    folder.schemas.insert(found.key.clone(), found);
                }
            }
            Err(mistake) => folder.mistakes.push(format!("{}: {mistake}", file.display())),
        }
    }
    if folder.schemas.is_empty() && folder.mistakes.is_empty() {
        let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let message = "no schemas; expected are files VENDOR/NAME/FORMAT/VERSION, e.g. com.acme/event/jsonschema/1-0-0";
        return Err(Trouble::user(format!("{}: {message}", shown.join(", "))));
    }
    Ok(folder)
}

/// Adds the schemas' files below a folder; gives how many there are of other formats.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Outcome<usize> {
    if depth > MAX_DEPTH {
        return Err(Trouble::user(format!("{}: folders are nested too deeply", folder.display())));
    }
    let failed = |error| Trouble::user(format!("{} can't be read: {error}", folder.display()));
    let is_json_schema = folder.file_name().is_some_and(|name| name == "jsonschema");
    let mut other_formats = 0;
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (kind, path) = (entry.file_type().map_err(failed)?, entry.path());
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // Links are not followed: they may lead round.
        if kind.is_dir() {
            other_formats += collect(&path, depth + 1, files)?;
        } else if kind.is_file() && version_of(&path).is_some() {
            if is_json_schema {
                files.push(path);
            } else {
                other_formats += 1;
            }
        }
    }
    Ok(other_formats)
}

/// `1-0-0` and `1-0-0.json` are versions.
fn version_of(file: &Path) -> Option<SchemaVer> {
    let name = file.file_name()?.to_str()?;
    name.strip_suffix(".json").unwrap_or(name).parse().ok()
}

fn read_file(file: &Path) -> Result<Found, String> {
    let length = std::fs::metadata(file).map_err(|error| format!("can't be read: {error}"))?.len();
    if length > MAX_BYTES {
        return Err(format!("is larger than {} MiB", MAX_BYTES >> 20));
    }
    let text = std::fs::read_to_string(file).map_err(|error| format!("can't be read: {error}"))?;
    let document: Value = serde_json::from_str(&text).map_err(|error| format!("is not JSON: {error}"))?;
    let key = schema_key_of(&document).map_err(|code| format!("is not a self-describing schema, {code}"))?;
    let parts: Vec<&str> = file.iter().filter_map(|part| part.to_str()).collect();
    let place = [key.vendor(), key.name(), key.format()];
    let named = version_of(file).is_none_or(|version| version == key.version());
    // A file that was named alone may lie anywhere.
    let lies = parts.len() < 4 || parts[parts.len() - 4..parts.len() - 1] == place;
    if !(named && lies) {
        return Err(format!("says that it is {key}, which belongs into {}", key.path()));
    }
    Ok(Found { file: file.to_owned(), key, document })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn write(folder: &Path, path: &str, own: (&str, &str)) {
        let file = folder.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let own = json!({"vendor": "com.acme", "name": own.0, "format": "jsonschema", "version": own.1});
        std::fs::write(file, json!({"$schema": snowmelt_iglu::META_SCHEMA, "self": own}).to_string()).unwrap();
    }

    #[test]
    fn schemas_come_in_the_order_in_which_they_can_be_published() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["1-0-10", "1-0-9", "2-0-0", "1-1-0"] {
            write(folder.path(), &format!("schemas/com.acme/e/jsonschema/{version}"), ("e", version));
        }
        std::fs::write(folder.path().join("README.md"), "no schema").unwrap();
        let found = read(&[folder.path().to_owned()]).unwrap();
        let versions: Vec<String> = found.schemas.keys().map(|key| key.version().to_string()).collect();
        assert_eq!(versions, ["1-0-9", "1-0-10", "1-1-0", "2-0-0"]);
        assert!(found.mistakes.is_empty(), "{:?}", found.mistakes);
    }

    #[test]
    fn files_that_are_not_what_they_seem_are_named() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "com.acme/e/jsonschema/1-0-1", ("e", "1-0-0"));
        write(folder.path(), "com.acme/f/jsonschema/1-0-0", ("e", "1-0-0"));
        std::fs::write(folder.path().join("com.acme/f/jsonschema/1-0-1"), "{").unwrap();
        std::fs::create_dir(folder.path().join("avro")).unwrap();
        std::fs::write(folder.path().join("avro/1-0-0"), "{}").unwrap();
        let found = read(&[folder.path().to_owned()]).unwrap();
        let counts = (found.schemas.len(), found.mistakes.len(), found.other_formats);
        assert_eq!(counts, (0, 3, 1), "{:?}", found.mistakes);
        assert!(read(&[tempfile::tempdir().unwrap().path().to_owned()]).is_err());
    }
}
