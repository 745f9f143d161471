//! The files of the original that a command was given, and where they go among definitions.

use super::load::Loaded;
use super::problem::Problem;
use super::{OriginalCollector, OriginalPostgres, OriginalS3Loader};
use crate::cli::OriginalArgs;
use crate::trouble::{Outcome, Trouble};

/// Configuration files of the original that were read and checked.
#[derive(Debug, Default)]
pub struct Originals {
    collector: Option<OriginalCollector>,
    postgres: Vec<OriginalPostgres>,
    s3_loaders: Vec<OriginalS3Loader>,
}

impl Originals {
    /// Reads the files that the command line names.
    ///
    /// # Errors
    /// The mistakes in the first that has some.
    pub fn read(args: &OriginalArgs) -> Outcome<Self> {
        let collector = args.collector_config.as_deref().map(OriginalCollector::read).transpose()?;
        let resolver = args.resolver.as_deref();
        let postgres = args.postgres_config.iter().map(|file| OriginalPostgres::read(file, resolver));
        let s3_loaders = args.s3_loader_config.iter().map(|file| OriginalS3Loader::read(file));
        Ok(Self {
            collector,
            postgres: postgres.collect::<Outcome<_>>()?,
            s3_loaders: s3_loaders.collect::<Outcome<_>>()?,
        })
    }

    /// Whether none was named.
    pub fn is_empty(&self) -> bool {
        self.collector.is_none() && self.postgres.is_empty() && self.s3_loaders.is_empty()
    }

    /// What their writers should know: keys that do nothing here.
    pub fn notes(&self) -> Vec<String> {
        let collector = self.collector.iter().flat_map(OriginalCollector::notes);
        let postgres = self.postgres.iter().flat_map(|one| one.notes().to_vec());
        collector.chain(postgres).chain(self.s3_loaders.iter().flat_map(OriginalS3Loader::notes)).collect()
    }

    /// Puts their settings where they go: into the definition that does the same, else into one of their own.
    pub(super) fn take_over(&self, loaded: &mut Vec<Loaded>, problems: &mut Vec<Problem>) {
        if let Some(collector) = &self.collector {
            take_over_collector(collector, loaded, problems);
        }
        for postgres in &self.postgres {
            take_over_postgres(postgres, loaded, problems);
        }
        for loader in &self.s3_loaders {
            let sections = ["name", "source", "sink", "bad"].map(str::to_owned).to_vec();
            let (path, text, name) = (loader.file().to_owned(), loader.definition(), Some(loader.name().to_owned()));
            let root = loaded.is_empty();
            loaded.push(Loaded { path, text, root, name, sections });
        }
    }
}

impl From<OriginalCollector> for Originals {
    fn from(collector: OriginalCollector) -> Self {
        Self { collector: Some(collector), ..Self::default() }
    }
}

impl From<OriginalS3Loader> for Originals {
    fn from(loader: OriginalS3Loader) -> Self {
        Self { s3_loaders: vec![loader], ..Self::default() }
    }
}

impl From<OriginalPostgres> for Originals {
    fn from(postgres: OriginalPostgres) -> Self {
        Self { postgres: vec![postgres], ..Self::default() }
    }
}

fn take_over_collector(original: &OriginalCollector, loaded: &mut Vec<Loaded>, problems: &mut Vec<Problem>) {
    let mut collectors: Vec<&mut Loaded> =
        loaded.iter_mut().filter(|file| file.sections.iter().any(|section| section == "collector")).collect();
    match collectors.as_mut_slice() {
        [] => {
            let text = original.definition();
            let sections = vec!["name".to_owned(), "collector".to_owned()];
            let (path, name) = (original.file().to_owned(), Some(original.name().to_owned()));
            // The backend of a process is set in its first file.
            let root = loaded.is_empty();
            loaded.push(Loaded { path, text, root, name, sections });
        }
        [one] => match original.instead_of(&one.text) {
            Ok(text) => one.text = text,
            Err(error) => problems.push(Problem::file(&one.path, error.to_string())),
        },
        [_, another, ..] => {
            let message = "--collector-config is for one collector, and this is another";
            problems.push(Problem::key(&another.path, "collector", message));
        }
    }
}

fn take_over_postgres(original: &OriginalPostgres, loaded: &mut Vec<Loaded>, problems: &mut Vec<Problem>) {
    let mut loaders: Vec<&mut Loaded> = loaded.iter_mut().filter(|file| original.fits(&file.text)).collect();
    match loaders.as_mut_slice() {
        [] => match original.definition() {
            Ok(text) => {
                let sections = ["name", "source", "sink", "bad"].map(str::to_owned).to_vec();
                let (path, name) = (original.file().to_owned(), Some(original.name().to_owned()));
                let root = loaded.is_empty();
                loaded.push(Loaded { path, text, root, name, sections });
            }
            Err(Trouble::User(messages)) => problems.extend(messages.into_iter().map(Problem::command_line)),
            Err(Trouble::Machine(message)) => problems.push(Problem::command_line(message)),
        },
        [one] => match original.instead_of(&one.text) {
            Ok(text) => one.text = text,
            Err(error) => problems.push(Problem::file(&one.path, error.to_string())),
        },
        [_, another, ..] => {
            let message = "--postgres-config is for one loader of its purpose, and this is another";
            problems.push(Problem::key(&another.path, "sink", message));
        }
    }
}
