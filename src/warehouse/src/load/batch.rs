//! The rows of a batch, by table, ready for COPY; any run of its records is a run of bytes in each table.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use snowmelt_iglu::{ParseError, SchemaKey};
use snowmelt_protocol::badrow::LoaderIgluMessage;
use snowmelt_protocol::document::{Document, Node};

use super::events::EventsTable;
use super::{BadRow, InputRecord};
use crate::cast::{LongText, cast};
use crate::copy::CopyText;
use crate::models::{Model, ModelId, Models};

/// What the records are.
pub(crate) enum Purpose {
    /// Enriched events; the table as it was last read, once it was.
    Events(RwLock<Option<Arc<EventsTable>>>),
    /// Any self-describing JSON.
    Json,
}

/// What models could not be made ready in this batch, and what their bad rows say.
pub(crate) type Unusable = HashMap<ModelId, LoaderIgluMessage>;

/// The rows for one table.
pub(crate) struct BatchTable {
    /// `None` for `events`.
    pub(crate) model: Option<Arc<Model>>,
    copy: String,
    rows: CopyText,
    /// Record and place of each row.
    starts: Vec<(u32, usize)>,
}

impl BatchTable {
    fn new(model: Option<Arc<Model>>, copy: String) -> Self {
        Self { model, copy, rows: CopyText::default(), starts: Vec::new() }
    }

    /// Starts a row of this record.
    pub(crate) fn begin_row(&mut self, record: u32) -> &mut CopyText {
        self.starts.push((record, self.rows.len()));
        self.rows.begin_row();
        &mut self.rows
    }

    /// The rows of the records `from..to` and how many they are.
    pub(crate) fn slice(&self, from: u32, to: u32) -> (&[u8], u64) {
        let first = self.starts.partition_point(|(record, _)| *record < from);
        let end = self.starts.partition_point(|(record, _)| *record < to);
        let place = |at: usize| self.starts.get(at).map_or(self.rows.len(), |(_, place)| *place);
        (&self.rows.bytes()[place(first)..place(end)], (end - first) as u64)
    }

    /// All rows and how many they are.
    pub(crate) fn all(&self) -> (&[u8], u64) {
        (self.rows.bytes(), self.starts.len() as u64)
    }

    /// Forgets all rows: they are on their way.
    pub(crate) fn clear(&mut self) {
        self.rows.truncate(0);
        self.starts.clear();
    }

    /// The statement that takes the rows; `None` where there is no column to COPY into.
    pub(crate) fn copy(&self) -> Option<&str> {
        let has_columns = self.model.as_ref().is_none_or(|model| model.meta || !model.columns.is_empty());
        has_columns.then_some(self.copy.as_str())
    }

    /// Forgets the rows of the records for which `renumbered` has no number; the others get theirs.
    fn retain(&mut self, renumbered: &[Option<u32>]) {
        let mut bytes = Vec::with_capacity(self.rows.len());
        let mut starts = Vec::with_capacity(self.starts.len());
        for (at, (record, from)) in self.starts.iter().enumerate() {
            if let Some(record) = renumbered[*record as usize] {
                let to = self.starts.get(at + 1).map_or(self.rows.len(), |(_, place)| *place);
                starts.push((record, bytes.len()));
                bytes.extend_from_slice(&self.rows.bytes()[*from..to]);
            }
        }
        self.rows = CopyText::from_bytes(bytes);
        self.starts = starts;
    }

    /// Forgets the rows of this record and later ones.
    fn forget_from(&mut self, record: u32) {
        let first = self.starts.partition_point(|(of, _)| *of < record);
        if let Some((_, place)) = self.starts.get(first) {
            self.rows.truncate(*place);
            self.starts.truncate(first);
        }
    }
}

/// What is known of a schema URI, for the length of a batch.
#[derive(Clone)]
enum Entity {
    Ready { table: usize, key: SchemaKey },
    Unusable(LoaderIgluMessage),
    Needed,
}

/// Where an entity's rows belong to: the event's id and collector time, as the columns take them.
#[derive(Clone, Copy)]
pub(crate) struct Root<'a> {
    pub(crate) id: &'a str,
    pub(crate) tstamp: &'a str,
}

/// A point between two records of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    loaded: usize,
    bad: usize,
}

/// Builds the tables of a batch, record by record.
pub(crate) struct Batch<'a> {
    models: &'a Models,
    pub(super) unusable: Unusable,
    /// `None` where the records are no events.
    pub(super) events: Option<Arc<EventsTable>>,
    /// The first is `events` where the purpose has it.
    pub(crate) tables: Vec<BatchTable>,
    entities: HashMap<String, Entity>,
    place_of: HashMap<ModelId, usize>,
    /// Schemas whose tables must be prepared before this batch can be built.
    pub(crate) needs: Vec<SchemaKey>,
    /// Places in the input of the records in the tables.
    pub(crate) loaded: Vec<usize>,
    /// Whether the ids of events are wanted.
    with_ids: bool,
    /// The id of each record in the tables, if they are wanted.
    pub(super) event_ids: Vec<String>,
    /// Bad rows, each with its record's place in the input.
    pub(crate) bad: Vec<(usize, BadRow)>,
    /// Storage for parsed JSON, reused.
    pub(super) documents: [Document; 3],
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        events: Option<Arc<EventsTable>>,
        models: &'a Models,
        unusable: Unusable,
        with_ids: bool,
    ) -> Self {
        Self {
            models,
            unusable,
            tables: events.iter().map(|events| BatchTable::new(None, events.copy.clone())).collect(),
            events,
            entities: HashMap::new(),
            place_of: HashMap::new(),
            needs: Vec::new(),
            loaded: Vec::new(),
            with_ids,
            event_ids: Vec::new(),
            bad: Vec::new(),
            documents: Default::default(),
        }
    }

    /// The number of the record that is being added.
    pub(super) fn current(&self) -> u32 {
        // Sequence numbers and memory bound a batch far below.
        u32::try_from(self.loaded.len()).unwrap_or(u32::MAX)
    }

    /// The record at this place of the input is complete.
    pub(super) fn keep(&mut self, place: usize) {
        self.loaded.push(place);
    }

    /// The same of an event.
    pub(super) fn keep_event(&mut self, place: usize, event_id: String) {
        self.keep(place);
        if self.with_ids {
            self.event_ids.push(event_id);
        }
    }

    /// Takes out the events for which `keep` is false.
    pub(super) fn retain(&mut self, keep: &[bool]) {
        let mut next = 0;
        let mut number = |keep: &bool| {
            keep.then(|| {
                next += 1;
                next - 1
            })
        };
        let renumbered: Vec<Option<u32>> = keep.iter().map(&mut number).collect();
        self.tables.iter_mut().for_each(|table| table.retain(&renumbered));
        let mut kept = keep.iter();
        self.loaded.retain(|_| kept.next().copied().unwrap_or_default());
        let mut kept = keep.iter();
        self.event_ids.retain(|_| kept.next().copied().unwrap_or_default());
    }

    /// The record is bad: nothing of it stays in the tables.
    pub(super) fn refuse(&mut self, place: usize, record: &InputRecord<'_>, line: String) {
        self.forget();
        self.bad.push((place, BadRow { sequence: record.sequence.to_owned(), line }));
    }

    /// The COPY of the first table, once that has rows and if it has columns.
    pub(super) fn first_copy(&self) -> Option<&str> {
        self.tables.first().filter(|table| table.all().1 > 0)?.copy()
    }

    /// How far the batch is.
    pub(super) fn mark(&self) -> Mark {
        Mark { loaded: self.loaded.len(), bad: self.bad.len() }
    }

    /// Takes back the records since the mark, of which no row may have left.
    pub(super) fn take_back(&mut self, mark: Mark) {
        self.loaded.truncate(mark.loaded);
        self.event_ids.truncate(mark.loaded);
        self.bad.truncate(mark.bad);
        self.forget();
    }

    /// Takes back what was written of the current record.
    pub(super) fn forget(&mut self) {
        let current = self.current();
        for table in &mut self.tables {
            table.forget_from(current);
        }
    }

    /// Adds the row of an entity. Mismatches are added to `failures`; a table that is not ready to `needs`.
    pub(super) fn add_entity(
        &mut self,
        uri: &str,
        data: Node<'_>,
        root: Option<Root<'_>>,
        failures: &mut Vec<LoaderIgluMessage>,
    ) -> Result<(), ParseError> {
        if !self.entities.contains_key(uri) {
            let entity = self.look_up(uri.parse()?);
            self.entities.insert(uri.to_owned(), entity);
        }
        let current = self.current();
        let (table, key) = match &self.entities[uri] {
            Entity::Ready { table, key } => (&mut self.tables[*table], key),
            Entity::Unusable(message) => {
                failures.push(message.clone());
                return Ok(());
            }
            Entity::Needed => return Ok(()),
        };
        let Some(model) = table.model.clone() else {
            return Ok(());
        };
        let long_text = if model.meta { LongText::Refused } else { LongText::Cut };
        let row = table.begin_row(current);
        if let Some(root) = root
            && model.meta
        {
            row.text(key.vendor());
            row.text(key.name());
            row.text(key.format());
            row.text(uri.rsplit('/').next().unwrap_or_default());
            row.plain(root.id);
            row.plain(root.tstamp);
        }
        for column in &model.columns {
            match column.paths.iter().find_map(|path| value_at(data, path)) {
                None => row.null(),
                Some(value) => {
                    if let Err(expected) = cast(value, column.column_type, long_text, row) {
                        failures.push(LoaderIgluMessage::WrongType { schema_key: uri.to_owned(), expected });
                    }
                }
            }
        }
        row.end_row();
        Ok(())
    }

    fn look_up(&mut self, key: SchemaKey) -> Entity {
        let id = ModelId::of(&key);
        if let Some(message) = self.unusable.get(&id) {
            return Entity::Unusable(message.clone());
        }
        let Some(model) = self.models.get(&id, key.version()) else {
            self.needs.push(key);
            return Entity::Needed;
        };
        let tables = &mut self.tables;
        let table = *self.place_of.entry(id).or_insert_with(|| {
            tables.push(BatchTable::new(Some(Arc::clone(&model)), model.copy.clone()));
            tables.len() - 1
        });
        Entity::Ready { table, key }
    }
}

/// The value at a path of members; missing and null are the same.
fn value_at<'a>(data: Node<'a>, path: &[String]) -> Option<Node<'a>> {
    let value = path.iter().try_fold(data, |value, name| value.get(name))?;
    (value.kind() != snowmelt_protocol::document::Kind::Null).then_some(value)
}
