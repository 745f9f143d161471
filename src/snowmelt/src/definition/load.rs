//! Loading: files, then the environment, then `--set`, checked as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat};
use serde_json::{Map, Value};

use super::keys;
use super::model::Plan;
use super::originals::Originals;
use super::problem::{Problem, nearest};
use super::verify::{beside, verify};
use super::{build, units};

/// Prefix of the environment variables that are read; `__` separates the parts of a key.
const PREFIX: &str = "SNOWMELT__";
/// Included files that include files, at most so deep.
const MAX_DEPTH: usize = 8;

/// Values that go over what the files say, weakest first.
#[derive(Debug, Clone, Default)]
pub struct Overrides(Vec<Override>);

#[derive(Debug, Clone)]
struct Override {
    path: Vec<String>,
    value: String,
    origin: String,
}

impl Overrides {
    /// The environment's `SNOWMELT__…` variables, then the command line's `key=value` texts.
    ///
    /// # Errors
    /// Texts without `=`.
    pub fn new(environment: impl Iterator<Item = (String, String)>, sets: &[String]) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut all: Vec<Override> = environment
            .filter_map(|(name, value)| {
                let rest = name.strip_prefix(PREFIX)?;
                let path = rest.split("__").map(str::to_lowercase).collect();
                Some(Override { path, value, origin: name })
            })
            .collect();
        all.sort_by(|a, b| a.origin.cmp(&b.origin));
        for set in sets {
            match set.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => all.push(Override {
                    path: key.trim().split('.').map(str::to_owned).collect(),
                    value: value.trim().to_owned(),
                    origin: format!("--set {set}"),
                }),
                _ => problems.push(Problem {
                    file: None,
                    key: String::new(),
                    value: None,
                    message: format!("--set {set}: has to be key=value, such as --set source.start=latest"),
                }),
            }
        }
        if problems.is_empty() { Ok(Self(all)) } else { Err(problems) }
    }

    /// Adds one that is stronger than all before.
    pub fn push(&mut self, key: &str, value: String, origin: &str) {
        let path = key.split('.').map(str::to_owned).collect();
        self.0.push(Override { path, value, origin: origin.to_owned() });
    }
}

/// A file with its text, in the order of mention.
pub(super) struct Loaded {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) root: bool,
    pub(super) name: Option<String>,
    pub(super) sections: Vec<String>,
}

/// Loads the named files and all that they include. The settings of `originals` replace those of the collector and loaders that
/// they have; where they have none each is a definition beside them.
///
/// # Errors
/// Every mistake that was found, in the order of the files.
pub fn load(files: &[PathBuf], originals: &Originals, overrides: &Overrides) -> Result<Plan, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut loaded = Vec::new();
    for file in files {
        read(file, true, 0, &mut loaded, &mut problems);
    }
    originals.take_over(&mut loaded, &mut problems);
    let assigned = assign(&loaded, overrides, &mut problems);
    let mut documents = Vec::new();
    for (index, file) in loaded.iter().enumerate() {
        match layer(file, assigned.get(&index).map_or(&[][..], Vec::as_slice)) {
            Ok(document) => {
                problems.extend(verify(&file.path, &document, file.root));
                documents.push((file.path.clone(), document));
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    build::plan(&documents)
}

/// Reads a file and what it includes. A file that is named twice is read once.
fn read(path: &Path, root: bool, depth: usize, loaded: &mut Vec<Loaded>, problems: &mut Vec<Problem>) {
    if depth > MAX_DEPTH {
        problems.push(Problem::file(path, format!("includes go deeper than {MAX_DEPTH} files")));
        return;
    }
    if loaded.iter().any(|file| file.path == path) {
        return;
    }
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::file(path, format!("can't be read: {error}")));
            return;
        }
    };
    let document: toml::Table = match text.parse() {
        Ok(document) => document,
        Err(error) => {
            problems.push(Problem::file(path, syntax_error(&text, &error)));
            return;
        }
    };
    let name = document.get("name").and_then(toml::Value::as_str).map(str::to_owned);
    let sections = document.keys().cloned().collect();
    loaded.push(Loaded { path: path.to_owned(), text, root, name, sections });
    // A wrong type is reported by the check of the whole document.
    let includes = document.get("include").and_then(toml::Value::as_array).into_iter().flatten();
    for include in includes.filter_map(toml::Value::as_str) {
        let whole = beside(path, include);
        // A file that is not there is reported by the check of the key, once.
        if whole.try_exists().unwrap_or(true) {
            read(&whole, false, depth + 1, loaded, problems);
        }
    }
}

fn syntax_error(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    format!("line {line}: {}", error.message().replace('\n', ", "))
}

/// Which override goes to which file.
fn assign<'a>(
    loaded: &[Loaded],
    overrides: &'a Overrides,
    problems: &mut Vec<Problem>,
) -> BTreeMap<usize, Vec<(Vec<String>, &'a str)>> {
    let mut assigned: BTreeMap<usize, Vec<(Vec<String>, &str)>> = BTreeMap::new();
    for one in &overrides.0 {
        let targets = targets(loaded, &one.path);
        if targets.is_empty() {
            let mut known: Vec<String> = loaded.iter().filter_map(|file| file.name.clone()).collect();
            known.extend(keys::sections().filter(|section| !section.is_empty()).map(str::to_owned));
            let hint = nearest(&one.path[0], known.iter().map(String::as_str))
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let message = format!("{}: no loaded definition has this key{hint}", one.origin);
            problems.push(Problem { file: None, key: String::new(), value: None, message });
        }
        for (index, path) in targets {
            assigned.entry(index).or_default().push((path, &one.value));
        }
    }
    assigned
}

/// The files that an override's path speaks of, and the path within each: `enrich.source.start` the definition named `enrich`,
/// `source.start` every definition with a source, `backend.data_dir` the file of the command line.
fn targets(loaded: &[Loaded], path: &[String]) -> Vec<(usize, Vec<String>)> {
    let known =
        |name: &str| keys::sections().any(|section| section == name) || keys::keys_of("").any(|key| key.name == name);
    let same = |name: &str, part: &str| name == part || name.replace('-', "_") == part;
    if let [name, rest @ ..] = path
        && rest.first().is_some_and(|first| known(section_of(first)))
    {
        let named: Vec<_> = (0..loaded.len())
            .filter(|index| loaded[*index].name.as_deref().is_some_and(|own| same(own, name)))
            .map(|index| (index, rest.to_vec()))
            .collect();
        if !named.is_empty() {
            return named;
        }
    }
    let section = section_of(&path[0]);
    if keys::is_global(section) {
        return loaded.iter().position(|file| file.root).map(|index| (index, path.to_vec())).into_iter().collect();
    }
    // Defaults of a section that no file writes may be changed too, where the section makes sense.
    let optional = matches!(section, "mailbox" | "supervision");
    (0..loaded.len())
        .filter(|index| {
            let file = &loaded[*index];
            file.sections.iter().any(|own| own == section) || (optional && file.name.is_some())
        })
        .map(|index| (index, path.to_vec()))
        .collect()
}

/// `sink[0]` speaks of the section `sink`.
fn section_of(part: &str) -> &str {
    part.split('[').next().unwrap_or(part)
}

/// The file's text with its overrides, as one document.
fn layer(file: &Loaded, overrides: &[(Vec<String>, &str)]) -> Result<Map<String, Value>, Problem> {
    let mut builder = Config::builder().add_source(File::from_str(&file.text, FileFormat::Toml));
    for (path, value) in overrides {
        let key = path.join(".");
        builder = builder
            .set_override(&key, scalar(value))
            .map_err(|error| Problem::key(&file.path, key, error.to_string()))?;
    }
    let document = builder.build().and_then(Config::try_deserialize::<Value>);
    match document {
        Ok(Value::Object(document)) => Ok(document),
        Ok(other) => Err(Problem::file(&file.path, format!("is no table but {other}"))),
        Err(error) => Err(Problem::file(&file.path, error.to_string())),
    }
}

/// An override's text as the value that a TOML file would give.
fn scalar(text: &str) -> config::Value {
    if let Ok(flag) = text.parse::<bool>() {
        return flag.into();
    }
    match text.parse::<i64>() {
        Ok(number) if units::duration(text).is_none() => number.into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::model::Start;

    fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    const LOADER: &str = "name = \"s3-raw\"\n[source]\nstream = \"raw\"\n[[sink]]\nkind = \"s3\"\npurpose = \"raw\"\nprefix = \"archive/raw\"\n[bad]\nstream = \"bad-1\"\n";

    #[test]
    fn overrides_reach_one_definition_or_all_that_have_the_key() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.toml", LOADER);
        write(dir.path(), "b.toml", &LOADER.replace("s3-raw", "s3-b"));
        let root = write(dir.path(), "all.toml", "include = [\"a.toml\", \"b.toml\"]\n[backend]\ndata_dir = \"x\"\n");
        let environment = [("SNOWMELT__S3_B__SOURCE__MAX_RECORDS".to_owned(), "7".to_owned())];
        let sets = ["source.start=latest".to_owned(), "backend.data_dir=/tmp/y".to_owned()];
        let overrides = Overrides::new(environment.into_iter(), &sets).unwrap();
        let plan = load(&[root], &Originals::default(), &overrides).unwrap();
        let sources: Vec<_> = plan.definitions.iter().filter_map(|d| d.source()).collect();
        assert_eq!(
            sources.iter().map(|s| (s.start, s.max_records)).collect::<Vec<_>>(),
            [(Start::Latest, 1000), (Start::Latest, 7)]
        );
        assert_eq!(plan.backend.data_dir, Path::new("/tmp/y"));
    }

    #[test]
    fn a_missing_file_a_syntax_error_and_an_unknown_override_are_told_together() {
        let dir = tempfile::tempdir().unwrap();
        let broken = write(dir.path(), "broken.toml", "name = \"x\"\n[source\n");
        let overrides = Overrides::new(std::iter::empty(), &["sorce.start=latest".to_owned()]).unwrap();
        let problems = load(&[dir.path().join("none.toml"), broken], &Originals::default(), &overrides).unwrap_err();
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(texts[0].contains("none.toml: can't be read"), "{texts:?}");
        assert!(texts[1].contains("broken.toml: line 2"), "{texts:?}");
        assert!(texts[2].contains("did you mean `source`?"), "{texts:?}");
    }
}
