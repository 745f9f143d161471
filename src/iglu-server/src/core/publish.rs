//! Whether a schema may be published next to those that are there, and what that changes (iglu-server spec, 5.5 to 6).

use snowmelt_iglu::SchemaVer;

/// A schema that is stored already: same vendor and name as the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// Its version.
    pub version: SchemaVer,
    /// Its format.
    pub format: String,
    /// Whether everybody may read it.
    pub is_public: bool,
    /// The newer version to use instead.
    pub superseded_by: Option<SchemaVer>,
}

/// What is to be published.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its version.
    pub version: SchemaVer,
    /// Its format.
    pub format: &'a str,
    /// Whether everybody may read it.
    pub is_public: bool,
    /// The versions it declares to replace.
    pub supersedes: &'a [SchemaVer],
}

/// Why it may not be published. `Display` is the message of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Others of this name are public or private, and this one would be the opposite.
    #[error("Inconsistent schema availability. Cannot add {}", availability(.public))]
    Availability {
        /// What the new one would be.
        public: bool,
    },
    /// The version is there, and versions do not change here.
    #[error("Schema already exists")]
    Exists,
    /// A version before this one is missing.
    #[error("Preceding SchemaVer in the group is missing, check that schemas published in proper order")]
    PreviousMissing,
    /// A version after this one is there.
    #[error("The schema version is not sequential")]
    NextExists,
    /// A version it would replace is not there.
    #[error("Superseded schema version(s) do not exist")]
    SupersededMissing,
    /// A version it would replace is newer.
    #[error("Superseded schema version(s) must be below the superseding version")]
    SupersededAbove,
}

fn availability(public: &bool) -> &'static str {
    match public {
        true => "public schema, previous versions are private",
        false => "private schema, previous versions are public",
    }
}

/// What publishing does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new row; and these rows (by place in the list of existing ones) are superseded by it.
    Create {
        /// Places of rows to mark.
        superseded: Vec<usize>,
    },
    /// The row of this identity gets another body. Supersession stays as it is.
    Patch,
}

/// Decides on a schema, given all of its vendor and name.
///
/// # Errors
/// The first [`Conflict`] in the order of the spec.
pub fn decide(existing: &[Existing], candidate: Candidate<'_>, patches_allowed: bool) -> Result<Change, Conflict> {
    let all_public = existing.iter().all(|schema| schema.is_public);
    if !existing.is_empty() && candidate.is_public != all_public {
        return Err(Conflict::Availability { public: candidate.is_public });
    }
    let same_version = existing.iter().any(|schema| schema.version == candidate.version);
    if same_version && !patches_allowed {
        return Err(Conflict::Exists);
    }
    in_order(existing, candidate.version)?;
    let supersedes = candidate.supersedes;
    let known = |version: &SchemaVer| existing.iter().any(|schema| schema.version == *version);
    let repeated = supersedes.iter().enumerate().any(|(at, version)| supersedes[..at].contains(version));
    if repeated || !supersedes.iter().all(known) {
        return Err(Conflict::SupersededMissing);
    }
    if supersedes.iter().any(|version| *version > candidate.version) {
        return Err(Conflict::SupersededAbove);
    }
    if existing.iter().any(|schema| schema.version == candidate.version && schema.format == candidate.format) {
        return Ok(Change::Patch);
    }
    let is_superseded = |schema: &Existing| {
        let named = supersedes.contains(&schema.version)
            || schema.superseded_by.is_some_and(|version| supersedes.contains(&version));
        named && schema.superseded_by.is_none_or(|version| version < candidate.version)
    };
    let superseded = (0..existing.len()).filter(|&at| is_superseded(&existing[at])).collect();
    Ok(Change::Create { superseded })
}

/// The rules of order, which hold for patches too.
fn in_order(existing: &[Existing], version: SchemaVer) -> Result<(), Conflict> {
    let any = |of: &dyn Fn(SchemaVer) -> bool| existing.iter().any(|schema| of(schema.version));
    let SchemaVer { model, revision, addition } = version;
    let has_previous = match (model, revision, addition) {
        (1, 0, 0) => true,
        (_, 0, 0) => any(&|v| v.model == model - 1),
        (_, _, 0) => any(&|v| v.model == model && v.revision == revision - 1),
        _ => {
            if any(&|v| v.model == model && u64::from(v.revision) == u64::from(revision) + 1) {
                return Err(Conflict::NextExists);
            }
            any(&|v| v == SchemaVer::new(model, revision, addition - 1))
        }
    };
    if has_previous { Ok(()) } else { Err(Conflict::PreviousMissing) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn existing(versions: &[&str]) -> Vec<Existing> {
        let of = |text: &&str| {
            let (version, by) = text.split_once('<').unwrap_or((text, ""));
            let superseded_by = by.parse().ok();
            Existing { version: version.parse().unwrap(), format: "jsonschema".into(), is_public: false, superseded_by }
        };
        versions.iter().map(of).collect()
    }

    fn publish(there: &[&str], version: &str, supersedes: &[&str], patches: bool) -> Result<Change, Conflict> {
        let supersedes: Vec<SchemaVer> = supersedes.iter().map(|text| text.parse().unwrap()).collect();
        let version = version.parse().unwrap();
        let candidate = Candidate { version, format: "jsonschema", is_public: false, supersedes: &supersedes };
        decide(&existing(there), candidate, patches)
    }

    #[test]
    fn versions_come_in_order() {
        let created = Ok(Change::Create { superseded: vec![] });
        for (there, version, expected) in [
            (&[][..], "1-0-0", created.clone()),
            (&[], "2-0-0", Err(Conflict::PreviousMissing)),
            (&["1-0-0"], "1-0-2", Err(Conflict::PreviousMissing)),
            (&["1-0-0"], "2-0-0", created.clone()),
            (&["1-0-0", "1-0-1"], "1-1-0", created.clone()),
            (&["1-0-0", "1-1-0"], "1-0-1", Err(Conflict::NextExists)),
            (&["1-0-0"], "1-2147483647-1", Err(Conflict::PreviousMissing)),
            (&["1-0-0"], "1-0-0", Err(Conflict::Exists)),
        ] {
            assert_eq!(publish(there, version, &[], false), expected, "{there:?} {version}");
        }
    }

    #[test]
    fn patches_follow_the_order_too() {
        let there = ["1-0-0", "1-0-1", "1-1-0"];
        assert_eq!(publish(&there, "1-0-0", &[], true), Ok(Change::Patch));
        assert_eq!(publish(&there, "1-0-1", &[], true), Err(Conflict::NextExists));
        assert_eq!(publish(&there, "1-1-0", &["1-1-0"], true), Ok(Change::Patch));
    }

    #[test]
    fn availability_is_that_of_the_others() {
        let candidate =
            Candidate { version: SchemaVer::new(3, 0, 0), format: "jsonschema", is_public: true, supersedes: &[] };
        let conflict = decide(&existing(&["1-0-0"]), candidate, false).unwrap_err();
        assert_eq!(
            conflict.to_string(),
            "Inconsistent schema availability. Cannot add public schema, previous versions are private"
        );
    }

    #[test]
    fn chains_point_to_the_newest_and_the_higher_of_two_heads_wins() {
        let marked = |there: &[&str], version, supersedes: &[&str]| publish(there, version, supersedes, false);
        assert_eq!(
            marked(&["1-0-0<1-0-1", "1-0-1"], "1-0-2", &["1-0-1"]),
            Ok(Change::Create { superseded: vec![0, 1] })
        );
        assert_eq!(marked(&["1-0-0<2-0-0", "2-0-0"], "1-0-1", &["1-0-0"]), Ok(Change::Create { superseded: vec![] }));
        assert_eq!(marked(&["1-0-0"], "1-0-1", &["1-0-9"]), Err(Conflict::SupersededMissing));
        assert_eq!(marked(&["1-0-0"], "1-0-1", &["1-0-0", "1-0-0"]), Err(Conflict::SupersededMissing));
        assert_eq!(marked(&["1-0-0", "2-0-0"], "1-0-1", &["2-0-0"]), Err(Conflict::SupersededAbove));
    }
}
