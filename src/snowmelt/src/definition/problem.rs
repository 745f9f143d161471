//! A mistake in a definition: where, what, and what was probably meant.

use std::fmt;
use std::path::PathBuf;

/// One mistake of the user, told with file, key and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file it stands in; the command line or environment where absent.
    pub file: Option<PathBuf>,
    /// The dotted key, empty for the file as a whole.
    pub key: String,
    /// The value as written, where there is one.
    pub value: Option<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    /// A mistake about a file as a whole.
    pub fn file(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self { file: Some(file.into()), key: String::new(), value: None, message: message.into() }
    }

    /// A mistake about one key.
    pub fn key(file: impl Into<PathBuf>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: Some(file.into()), key: key.into(), value: None, message: message.into() }
    }

    /// A mistake of the command line.
    pub fn command_line(message: impl Into<String>) -> Self {
        Self { file: None, key: String::new(), value: None, message: message.into() }
    }

    /// The same, with the value.
    #[must_use]
    pub fn with_value(mut self, value: impl fmt::Display) -> Self {
        self.value = Some(value.to_string());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: ", file.display())?,
            None => write!(f, "command line: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{}", self.key)?;
            if let Some(value) = &self.value {
                write!(f, " = {value}")?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", self.message)
    }
}

/// The known name that is nearest to `name`, if any is near enough to be what was meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_file_key_value_and_what_to_do() {
        let problem =
            Problem::key("a.toml", "source.strem", "unknown key; did you mean `stream`?").with_value("\"raw\"");
        assert_eq!(problem.to_string(), "a.toml: source.strem = \"raw\": unknown key; did you mean `stream`?");
    }

    #[test]
    fn only_near_names_are_suggested() {
        assert_eq!(nearest("strem", ["stream", "start"]), Some("stream"));
        assert_eq!(nearest("colour", ["stream", "start"]), None);
    }
}
