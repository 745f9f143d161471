//! Validating the self-describing parts of an event (enrich-core 5.3, 5.4).

use std::collections::HashMap;
use std::sync::Arc;

use snowmelt_iglu::{ClientError, Lookup, Schema, SchemaCriterion, SchemaKey, SchemaSource, SchemaVer};
use snowmelt_protocol::badrow::{self, FailureMessage, IgluError, ValidationReport};
use snowmelt_protocol::document::{Document, Node, SyntaxError};
use snowmelt_protocol::event::{Column, EnrichedEvent};

use crate::enrich::Needs;
use crate::enrichments::Entity;
use crate::failed::{Origin, Violation};
use crate::selfdescribing::KeyCache;

/// Envelope that contexts and derived contexts are written in.
pub(crate) const CONTEXTS: &str = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1";
const UNSTRUCT: &str = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0";

/// A schema that another one took the place of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Superseded {
    original: SchemaKey,
    with: SchemaVer,
}

impl Superseded {
    /// Appends the `validation_info` entity.
    pub(crate) fn write(&self, out: &mut String) {
        use std::fmt::Write;
        let Superseded { original, with } = self;
        let written = write!(
            out,
            r#"{{"schema":"iglu:com.snowplowanalytics.iglu/validation_info/jsonschema/1-0-0","data":{{"originalSchema":"{original}","validatedWith":"{with}"}}}}"#
        );
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
}

/// Why a value is not accepted.
pub(crate) enum Rejection {
    /// The schema has to be fetched first; it was noted in [`Needs`].
    Pending,
    Invalid(IgluError),
}

/// Criteria of the envelopes.
#[derive(Debug)]
pub(crate) struct Envelopes {
    pub payload_data: SchemaCriterion,
    unstruct: SchemaCriterion,
    contexts: SchemaCriterion,
}

pub(crate) const PAYLOAD_DATA_CRITERION: &str = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-*";
const UNSTRUCT_CRITERION: &str = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-*";
const CONTEXTS_CRITERION: &str = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-*";

impl Default for Envelopes {
    fn default() -> Self {
        let parse = |text: &str| text.parse().expect("the constant is a criterion");
        Envelopes {
            payload_data: parse(PAYLOAD_DATA_CRITERION),
            unstruct: parse(UNSTRUCT_CRITERION),
            contexts: parse(CONTEXTS_CRITERION),
        }
    }
}

/// Validates values against the schemas in memory and notes those that are missing.
pub(crate) struct Checker<'c> {
    pub schemas: &'c dyn SchemaSource,
    pub keys: &'c mut KeyCache,
    pub needs: &'c mut Needs,
    pub envelopes: &'c Envelopes,
    pub max_depth: usize,
}

/// Data of entities that were found valid, by which copy they are and which schema: what enrichments attach to many
/// events is not parsed for each of them.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    valid: HashMap<usize, Verdict, ahash::RandomState>,
}

/// Holds what it is about, so that nothing else can come to its address.
#[derive(Debug)]
struct Verdict {
    data: Arc<str>,
    schema: Arc<Schema>,
    max_depth: usize,
}

/// More than there are browsers in use; 400 bytes each.
const MAX_VERDICTS: usize = 4_096;

impl Verdicts {
    fn place(data: &Arc<str>) -> usize {
        Arc::as_ptr(data).addr()
    }

    fn knows(&self, data: &Arc<str>, schema: &Arc<Schema>, max_depth: usize) -> bool {
        self.valid.get(&Self::place(data)).is_some_and(|known| {
            Arc::ptr_eq(&known.data, data) && Arc::ptr_eq(&known.schema, schema) && known.max_depth == max_depth
        })
    }

    fn remember(&mut self, data: &Arc<str>, schema: Arc<Schema>, max_depth: usize) {
        // What nobody else holds does not come again.
        if Arc::strong_count(data) < 2 {
            return;
        }
        if self.valid.len() >= MAX_VERDICTS {
            self.valid.clear();
        }
        self.valid.insert(Self::place(data), Verdict { data: Arc::clone(data), schema, max_depth });
    }
}

/// What validation gathers about one event.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub violations: Vec<Violation>,
    pub superseded: Vec<Superseded>,
    /// Bytes of the reports so far.
    report_bytes: usize,
}

/// About how many bytes the reports of one event take: values after that are told with their first report only. A bad row
/// with more is too large anyway.
const MAX_REPORT_BYTES: usize = 1 << 20;

impl Findings {
    pub(crate) fn clear(&mut self) {
        self.violations.clear();
        self.superseded.clear();
        self.report_bytes = 0;
    }

    /// Drops all reports but the first when there were too many before.
    fn shorten(&mut self, error: &mut IgluError) {
        let IgluError::Validation { reports, .. } = error else { return };
        if self.report_bytes > MAX_REPORT_BYTES {
            reports.truncate(1);
        }
        let bytes = |report: &ValidationReport| report.message.len() + report.path.as_deref().map_or(0, str::len);
        self.report_bytes += reports.iter().map(bytes).sum::<usize>();
    }

    /// The schema that a valid value is printed with; remembers when it is a superseding one.
    fn superseded_by(&mut self, original: SchemaKey, version: Option<SchemaVer>) -> SchemaKey {
        let Some(with) = version else { return original };
        let printed = original.with_version(with);
        let found = Superseded { original, with };
        if !self.superseded.contains(&found) {
            self.superseded.push(found);
        }
        printed
    }
}

impl Checker<'_> {
    /// Looks up the schema and validates `data` (`None`: too deep); gives the version that took the schema's place.
    pub(crate) fn check(&mut self, key: &SchemaKey, data: Option<Node<'_>>) -> Result<Option<SchemaVer>, Rejection> {
        match self.schemas.lookup(key) {
            // A registry that does not answer says nothing about the event: the caller has to wait for it.
            Some(Err(error)) if error.is_system_failure() => {
                self.needs.note_unreachable(key, &error);
                Err(Rejection::Pending)
            }
            Some(lookup) => judge(lookup, data),
            None => {
                self.needs.note_schema(key);
                Err(Rejection::Pending)
            }
        }
    }

    /// The same for an envelope of the tracker protocol, where an unreachable registry is the event's fault.
    pub(crate) fn check_envelope(&mut self, key: &SchemaKey, data: Node<'_>) -> Result<(), Rejection> {
        match self.schemas.lookup(key) {
            Some(lookup) => judge(lookup, Some(data)).map(drop),
            None => {
                self.needs.note_schema(key);
                Err(Rejection::Pending)
            }
        }
    }

    /// Validates an unstruct event and sets its column. Gives the schema that names the event.
    pub(crate) fn unstruct(
        &mut self,
        text: &str,
        document: &mut Document,
        event: &mut EnrichedEvent,
        findings: &mut Findings,
    ) -> Option<SchemaKey> {
        let data = self.open(text, document, Origin::Unstruct, findings)?;
        match self.keys.read(data) {
            Err(code) => findings.violations.push(not_iglu(data, code.code(), Origin::Unstruct)),
            Ok((key, value)) => {
                if let Some(key) = self.accept(key, value, Origin::Unstruct, findings) {
                    event.set_with(Column::UnstructEvent, |out| {
                        envelope_start(UNSTRUCT, out);
                        write_entity(&key, value, out);
                        out.push('}');
                    });
                    return Some(key);
                }
            }
        }
        None
    }

    /// Validates contexts and sets their column to the valid ones.
    pub(crate) fn contexts(
        &mut self,
        text: &str,
        document: &mut Document,
        event: &mut EnrichedEvent,
        findings: &mut Findings,
    ) {
        let Some(data) = self.open(text, document, Origin::Contexts, findings) else { return };
        let any = event.set_with(Column::Contexts, |out| {
            envelope_start(CONTEXTS, out);
            out.push('[');
            let mut any = false;
            for element in data.elements() {
                match self.keys.read(element) {
                    Err(code) => findings.violations.push(not_iglu(element, code.code(), Origin::Contexts)),
                    Ok((key, value)) => {
                        if let Some(key) = self.accept(key, value, Origin::Contexts, findings) {
                            if any {
                                out.push(',');
                            }
                            any = true;
                            write_entity(&key, value, out);
                        }
                    }
                }
            }
            out.push_str("]}");
            any
        });
        if !any {
            event.unset(Column::Contexts);
        }
    }

    /// Validates an entity that an enrichment made; gives the schema it is printed with.
    pub(crate) fn derived(
        &mut self,
        entity: &Entity,
        document: &mut Document,
        findings: &mut Findings,
        verdicts: &mut Verdicts,
    ) -> Option<SchemaKey> {
        // What many events share was seen before.
        let lookup = self.schemas.lookup(&entity.schema);
        if let Some(Ok(schema)) = &lookup
            && verdicts.knows(&entity.data, schema, self.max_depth)
        {
            return Some(findings.superseded_by(entity.schema.clone(), schema.superseded_by()));
        }
        let data = match document.parse(&entity.data, self.max_depth) {
            Ok(value) => Some(value),
            // Too much depth is told like a violation of the schema.
            Err(SyntaxError::TooDeep) => None,
            Err(error) => {
                findings.violations.push(not_json(&entity.data, &error.to_string(), Origin::DerivedContexts));
                return None;
            }
        };
        match self.check(&entity.schema, data) {
            Ok(version) => {
                if let Some(Ok(schema)) = lookup {
                    verdicts.remember(&entity.data, schema, self.max_depth);
                }
                Some(findings.superseded_by(entity.schema.clone(), version))
            }
            Err(rejection) => {
                // What is too deep for us is too deep for those who read failed events.
                let shown = data.map_or_else(|| "null".to_owned(), |data| data.to_compact());
                reject(rejection, &entity.schema, shown, Origin::DerivedContexts, findings);
                None
            }
        }
    }

    /// Reads the envelope around `text` and gives what is in it, when all is well with the envelope.
    fn open<'d>(
        &mut self,
        text: &'d str,
        document: &'d mut Document,
        origin: Origin,
        findings: &mut Findings,
    ) -> Option<Node<'d>> {
        let root = match document.parse(text, self.max_depth) {
            Ok(root) => root,
            Err(error) => {
                findings.violations.push(not_json(text, &error.to_string(), origin));
                return None;
            }
        };
        let (key, data) = match self.keys.read(root) {
            Ok(read) => read,
            Err(code) => {
                findings.violations.push(not_iglu(root, code.code(), origin));
                return None;
            }
        };
        let (criterion, text) = match origin {
            Origin::Unstruct => (&self.envelopes.unstruct, UNSTRUCT_CRITERION),
            _ => (&self.envelopes.contexts, CONTEXTS_CRITERION),
        };
        if !criterion.matches(&key) {
            let message =
                FailureMessage::CriterionMismatch { schema_key: key.uri().to_owned(), criterion: text.into() };
            findings.violations.push(Violation { message, origin, data: data.to_compact() });
            return None;
        }
        match self.check(&key, Some(data)) {
            Ok(_) => Some(data),
            Err(rejection) => {
                reject(rejection, &key, data.to_compact(), origin, findings);
                None
            }
        }
    }

    /// Validates a value; gives the schema it is printed with, which may be a superseding one.
    fn accept(&mut self, key: SchemaKey, data: Node<'_>, origin: Origin, findings: &mut Findings) -> Option<SchemaKey> {
        match self.check(&key, Some(data)) {
            Ok(version) => Some(findings.superseded_by(key, version)),
            Err(rejection) => {
                reject(rejection, &key, data.to_compact(), origin, findings);
                None
            }
        }
    }
}

fn judge(lookup: Lookup, data: Option<Node<'_>>) -> Result<Option<SchemaVer>, Rejection> {
    let schema = lookup.map_err(|error| Rejection::Invalid(iglu_error(ClientError::Resolution(error))))?;
    schema.check_document(data).map_err(|error| Rejection::Invalid(iglu_error(error)))
}

fn reject(rejection: Rejection, key: &SchemaKey, data: String, origin: Origin, findings: &mut Findings) {
    if let Rejection::Invalid(mut error) = rejection {
        findings.shorten(&mut error);
        let message = FailureMessage::Iglu { schema_key: key.uri().to_owned(), error };
        findings.violations.push(Violation { message, origin, data });
    }
}

fn not_json(text: &str, error: &str, origin: Origin) -> Violation {
    let message = FailureMessage::NotJson {
        field: origin.name().into(),
        value: Some(text.to_owned()),
        error: format!("invalid json: {error}"),
    };
    let mut data = String::from("{");
    snowmelt_protocol::json::write_string(origin.name(), &mut data);
    data.push(':');
    snowmelt_protocol::json::write_string(text, &mut data);
    data.push('}');
    Violation { message, origin, data }
}

fn not_iglu(value: Node<'_>, error: &'static str, origin: Origin) -> Violation {
    let json = value.to_compact();
    Violation { message: FailureMessage::NotIglu { json: json.clone(), error }, origin, data: json }
}

fn envelope_start(uri: &str, out: &mut String) {
    out.push_str("{\"schema\":\"");
    out.push_str(uri);
    out.push_str("\",\"data\":");
}

fn write_entity(key: &SchemaKey, data: Node<'_>, out: &mut String) {
    envelope_start(key.uri(), out);
    data.write_compact(out);
    out.push('}');
}

/// The client's error as bad rows print it.
pub(crate) fn iglu_error(error: ClientError) -> IgluError {
    match error {
        ClientError::Resolution(error) => {
            let entry = |(repository, history): (&String, &snowmelt_iglu::LookupHistory)| badrow::LookupHistory {
                repository: repository.clone(),
                errors: history.errors.iter().map(registry_error).collect(),
                attempts: history.attempts,
                last_attempt_millis: history.last_attempt_ms,
            };
            IgluError::Resolution(error.history.iter().map(entry).collect())
        }
        ClientError::Data { reports, superseded_by } => {
            let report = |report: snowmelt_iglu::Report| badrow::ValidationReport {
                message: report.message.into(),
                path: Some(report.path.into()),
                keyword: report.keyword.map(Into::into),
                targets: report.targets,
            };
            let reports = reports.into_iter().map(report).collect();
            IgluError::Validation { reports, superseded_by: superseded_by.map(|version| version.to_string()) }
        }
        ClientError::Schema { issues, .. } => {
            let issue =
                |issue: snowmelt_iglu::SchemaIssue| badrow::SchemaIssue { path: issue.path, message: issue.message };
            IgluError::SchemaIssues(issues.into_iter().map(issue).collect())
        }
    }
}

fn registry_error(error: &snowmelt_iglu::RegistryError) -> badrow::RegistryError {
    match error {
        snowmelt_iglu::RegistryError::NotFound => badrow::RegistryError::NotFound,
        snowmelt_iglu::RegistryError::RepoFailure(message) => badrow::RegistryError::RepoFailure(message.clone()),
        snowmelt_iglu::RegistryError::ClientFailure(message) => badrow::RegistryError::ClientFailure(message.clone()),
    }
}
