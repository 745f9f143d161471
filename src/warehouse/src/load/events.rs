//! Enriched events: the TSV line as a row of `events` and rows of its entities, and the bad rows made of it
//! (spec postgres-loader, sections 3.1, 4.1 and 8).

use std::borrow::Cow;

use memchr::memchr3;
use snowmelt_iglu::ddl::{quote_identifier, quote_if_needed};
use snowmelt_iglu::{ParseError, SchemaKey};
use snowmelt_protocol::badrow::{
    LoaderIgluError, LoaderIgluMessage, LoaderParsingError, LoaderRuntimeError, ParsingFailure, RowError,
};
use snowmelt_protocol::document::{Document, Kind as JsonKind, Node};
use snowmelt_protocol::event::{Column, Kind, TsvError, TsvRow};

use super::InputRecord;
use super::batch::{Batch, Root};
use super::json_records::{MAX_JSON_DEPTH, Refusal};
use crate::atomic::{EVENT_COLUMNS, EVENT_SOURCES, EVENTS};
use crate::catalog;
use crate::copy::CopyText;
use crate::{Warehouse, WarehouseError, java};

/// Texts are cut to so many UTF-16 units, whatever their column holds.
const MAX_TEXT_UNITS: usize = 1024;

/// A number of no more digits loses nothing and overflows nothing when the server reads it.
const SHORT_NUMBER: usize = 17;

/// The table `events` as it is.
pub(crate) struct EventsTable {
    /// `COPY ... FROM STDIN` with the columns it has of ours.
    pub(crate) copy: String,
    /// For each TSV column whether it is one of them.
    stored: [bool; 131],
}

impl EventsTable {
    /// Reads which columns there are: an existing table is never altered, and its columns of other origin stay alone.
    pub(crate) async fn read(warehouse: &Warehouse) -> Result<Self, WarehouseError> {
        let what = "reading the columns of events";
        let failed = |error: sqlx::Error| WarehouseError::prepare(warehouse.schema(), what, error.into());
        let mut connection = warehouse.pool.acquire().await.map_err(failed)?;
        let table = catalog::read_table(&mut connection, warehouse.schema(), EVENTS).await.map_err(failed)?;
        let existing = table.unwrap_or_default().columns;
        let mut stored = [false; 131];
        let mut names = Vec::with_capacity(EVENT_COLUMNS.len());
        for ((name, _), source) in EVENT_COLUMNS.iter().zip(EVENT_SOURCES.iter()) {
            if existing.iter().any(|column| column.name == *name) {
                stored[source.index()] = true;
                names.push(quote_identifier(name));
            } else {
                tracing::warn!(column = *name, "events lacks a column; its values are not stored");
            }
        }
        let schema = quote_if_needed(warehouse.schema());
        Ok(Self { copy: format!("COPY {schema}.{EVENTS} ({}) FROM STDIN", names.join(", ")), stored })
    }
}

/// Adds one record to the batch: rows, or a bad row.
pub(super) fn add_event(
    table: &EventsTable,
    batch: &mut Batch<'_>,
    place: usize,
    record: &InputRecord<'_>,
    refusal: Refusal<'_>,
) {
    let text = read_text(record.data);
    let row = match TsvRow::parse(&text) {
        Ok(row) => row,
        Err(error) => return batch.refuse(place, record, refusal.not_parsed(&text, &columns_failure(&error))),
    };
    // The documents are borrowed from while rows are added to the batch.
    let mut documents = std::mem::take(&mut batch.documents);
    let clean = memchr3(b'\\', b'\n', b'\r', text.as_bytes()).is_none();
    let outcome = add_row(table, batch, &row, clean, &mut documents);
    batch.documents = documents;
    match outcome {
        Ok((event_id, failures)) if failures.is_empty() => batch.keep_event(place, event_id),
        Ok((_, failures)) => batch.refuse(place, record, refusal.not_cast(&row, &failures)),
        Err(errors) => batch.refuse(place, record, refusal.not_parsed(&text, &ParsingFailure::RowDecoding(errors))),
    }
}

fn columns_failure(error: &TsvError) -> ParsingFailure {
    match error {
        TsvError::ColumnCount { found: 1 } => ParsingFailure::NotTsv,
        TsvError::ColumnCount { found } => ParsingFailure::FieldNumberMismatch { field_count: *found },
    }
}

/// A record as text; what is no UTF-8 becomes the replacement character.
fn read_text(data: &[u8]) -> Cow<'_, str> {
    simdutf8::basic::from_utf8(data).map_or_else(|_| String::from_utf8_lossy(data), Cow::Borrowed)
}

/// Writes the event's rows, and gives its id; what stays of them when something fails is for the caller to forget. `clean`
/// tells that no text of the event needs escaping.
fn add_row(
    table: &EventsTable,
    batch: &mut Batch<'_>,
    row: &TsvRow<'_>,
    clean: bool,
    documents: &mut [Document; 3],
) -> Result<(String, Vec<LoaderIgluMessage>), Vec<RowError>> {
    let [first, second, third] = documents;
    let contexts = read_envelope(row.text(Column::Contexts), first, "contexts");
    let unstruct_event = read_envelope(row.text(Column::UnstructEvent), second, "unstruct_event");
    let derived_contexts = read_envelope(row.text(Column::DerivedContexts), third, "contexts");
    let mut errors = Vec::new();
    let mut event_id = String::new();
    let current = batch.current();
    let out = batch.tables[0].begin_row(current);
    for column in Column::ALL {
        let value = row.text(column);
        let outcome = match column {
            Column::Contexts => fault_of(&contexts),
            Column::UnstructEvent => fault_of(&unstruct_event),
            Column::DerivedContexts => fault_of(&derived_contexts),
            _ if value.is_empty() => write_absent(column, table, out),
            _ if !table.stored[column.index()] => Ok(()),
            Column::EventId => write_event_id(value, &mut event_id, out),
            _ => write_value(column, value, clean, out),
        };
        if let Err(message) = outcome {
            errors.push(invalid_value(column, value, &message));
        }
    }
    out.end_row();
    if !errors.is_empty() {
        return Err(errors);
    }
    let root = Root { id: &event_id, tstamp: row.text(Column::CollectorTstamp) };
    let mut failures = Vec::new();
    let mut add = |entity: Node<'_>, column: Column| {
        let uri = entity.get("schema").and_then(|uri| uri.as_str()).unwrap_or_default();
        let data = entity.get("data").unwrap_or(entity);
        let added = batch.add_entity(&uri, data, Some(root), &mut failures);
        added.map_err(|error| vec![invalid_value(column, row.text(column), error.code())])
    };
    for (list, column) in [(contexts, Column::Contexts), (derived_contexts, Column::DerivedContexts)] {
        for entity in list.iter().flatten().flat_map(Node::elements) {
            add(entity, column)?;
        }
    }
    if let Ok(Some(entity)) = unstruct_event {
        add(entity, Column::UnstructEvent)?;
    }
    Ok((event_id, failures))
}

fn invalid_value(column: Column, value: &str, message: &str) -> RowError {
    RowError::InvalidValue {
        key: format!("Symbol({})", column.name()),
        value: value.to_owned(),
        message: message.to_owned(),
    }
}

fn write_absent(column: Column, table: &EventsTable, out: &mut CopyText) -> Result<(), String> {
    if matches!(column, Column::CollectorTstamp | Column::EventId | Column::VCollector | Column::VEtl) {
        return Err(format!("Field Symbol({}) cannot be empty", column.name()));
    }
    if table.stored[column.index()] {
        out.null();
    }
    Ok(())
}

fn write_event_id(value: &str, event_id: &mut String, out: &mut CopyText) -> Result<(), String> {
    let mut bytes = Vec::with_capacity(36);
    match java::write_uuid(value, &mut bytes).and_then(|()| String::from_utf8(bytes).ok()) {
        Some(uuid) => {
            out.plain(&uuid);
            *event_id = uuid;
            Ok(())
        }
        None => Err(cannot_parse(Column::EventId, value, "UUID")),
    }
}

/// A value that is not empty.
fn write_value(column: Column, value: &str, clean: bool, out: &mut CopyText) -> Result<(), String> {
    match column.kind() {
        Kind::Text | Kind::Json if clean => out.plain(cut(value)),
        Kind::Text | Kind::Json => out.text(cut(value)),
        Kind::Timestamp => {
            java::check_timestamp(value).map_err(|_| cannot_parse(column, value, "datetime"))?;
            out.plain(value);
        }
        Kind::Int => {
            // PostgreSQL reads whatever Rust reads: digits with a sign or none.
            value.parse::<i32>().map_err(|_| cannot_parse(column, value, "integer"))?;
            out.plain(value);
        }
        Kind::Flag => match value {
            "1" => out.plain("t"),
            "0" => out.plain("f"),
            _ => return Err(cannot_parse(column, value, "boolean")),
        },
        Kind::Decimal | Kind::Float => {
            let number = java::double(value).ok_or_else(|| cannot_parse(column, value, "double"))?;
            if !number.is_finite() {
                out.null();
            } else if value.len() <= SHORT_NUMBER && value.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-')
            {
                out.plain(value);
            } else {
                out.plain(&format!("{number:e}"));
            }
        }
    }
    Ok(())
}

fn cannot_parse(column: Column, value: &str, into: &str) -> String {
    format!("Cannot parse key Symbol({}) with value {value} into {into}", column.name())
}

/// The first 1024 UTF-16 units, never half a character.
fn cut(text: &str) -> &str {
    // No text of so few bytes has more units.
    if text.len() <= MAX_TEXT_UNITS { text } else { snowmelt_protocol::badrow::head(text, MAX_TEXT_UNITS) }
}

/// Its fault, and nothing else: an envelope is no column of `events`.
fn fault_of(envelope: &Result<Option<Node<'_>>, String>) -> Result<(), String> {
    envelope.as_ref().map(|_| ()).map_err(Clone::clone)
}

/// The data of a JSON column, checked: a list of self-describing values for contexts, one for the event.
fn read_envelope<'a>(value: &'a str, document: &'a mut Document, name: &str) -> Result<Option<Node<'a>>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let root = document.parse(value, MAX_JSON_DEPTH).map_err(|error| error.to_string())?;
    let (schema, data) = self_describing(root).map_err(|error| error.code().to_owned())?;
    let expected = schema
        .strip_prefix("iglu:com.snowplowanalytics.snowplow/")
        .and_then(|rest| rest.strip_prefix(name))
        .is_some_and(|rest| rest.starts_with("/jsonschema/1-0-"));
    if !expected {
        return Err(format!("Unknown payload: {schema}"));
    }
    let check = |entity: Node<'a>| self_describing(entity).map(|_| ()).map_err(|error| error.code().to_owned());
    match (name, data.kind()) {
        ("contexts", JsonKind::Array) => data.elements().try_for_each(check)?,
        ("contexts", _) => return Err(ParseError::DataPayload.code().to_owned()),
        _ => check(data)?,
    }
    Ok(Some(data))
}

fn self_describing<'a>(value: Node<'a>) -> Result<(Cow<'a, str>, Node<'a>), ParseError> {
    let schema = value.get("schema").and_then(|schema| schema.as_str()).ok_or(ParseError::DataPayload)?;
    let data = value.get("data").ok_or(ParseError::DataPayload)?;
    schema.parse::<SchemaKey>()?;
    Ok((schema, data))
}

impl Refusal<'_> {
    fn not_parsed(&self, payload: &str, failure: &ParsingFailure) -> String {
        let mut line = String::new();
        LoaderParsingError { processor: self.processor, failure, payload }.write(&mut line);
        line
    }

    fn not_cast(&self, row: &TsvRow<'_>, failures: &[LoaderIgluMessage]) -> String {
        let (mut line, mut event) = (String::new(), String::new());
        row.write_loader_json(&mut event);
        LoaderIgluError { processor: self.processor, failures, event_json: &event }.write(&mut line);
        line
    }

    /// The bad row of an event which the database refused.
    pub(super) fn event_refused_by_database(&self, data: &[u8], message: &str) -> String {
        let text = read_text(data);
        let Ok(row) = TsvRow::parse(&text) else {
            return self.not_parsed(&text, &ParsingFailure::NotTsv);
        };
        let (mut line, mut event) = (String::new(), String::new());
        row.write_loader_json(&mut event);
        LoaderRuntimeError { processor: self.processor, error: message, event_json: &event }.write(&mut line);
        line
    }
}
