//! The TSV line of an enriched event (enrich-core 4.2): writing, and reading without copying.

use memchr::memchr_iter;

use crate::event::{COLUMN_COUNT, Column, EnrichedEvent};

/// Why a line is no enriched event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TsvError {
    /// The line has another number of columns than 131.
    #[error("expected 131 columns, found {found}")]
    ColumnCount {
        /// How many columns the line has.
        found: usize,
    },
}

/// The 131 columns of a TSV line, borrowed from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TsvRow<'a> {
    columns: [&'a str; COLUMN_COUNT],
}

impl<'a> TsvRow<'a> {
    /// Splits a line at its tabs. The line must have exactly 131 columns and no line break at its end.
    pub fn parse(line: &'a str) -> Result<Self, TsvError> {
        let mut columns = [""; COLUMN_COUNT];
        let mut start = 0;
        let mut index = 0;
        for tab in memchr_iter(b'\t', line.as_bytes()) {
            if index < COLUMN_COUNT - 1 {
                columns[index] = &line[start..tab];
            }
            start = tab + 1;
            index += 1;
        }
        if index != COLUMN_COUNT - 1 {
            return Err(TsvError::ColumnCount { found: index + 1 });
        }
        columns[index] = &line[start..];
        Ok(TsvRow { columns })
    }

    /// The value of a column; `None` when empty (TSV knows no difference between empty and unset).
    #[inline]
    pub fn get(&self, column: Column) -> Option<&'a str> {
        Some(self.text(column)).filter(|text| !text.is_empty())
    }

    /// The text of a column as it stands in the line.
    #[inline]
    pub fn text(&self, column: Column) -> &'a str {
        self.columns[column.index()]
    }

    /// All texts in column order.
    pub fn columns(&self) -> &[&'a str; COLUMN_COUNT] {
        &self.columns
    }
}

impl EnrichedEvent {
    /// Appends the event as one line: 131 values, 130 tabs, no line break. Values are written as they are.
    pub fn write_tsv(&self, out: &mut String) {
        out.reserve(self.size_hint());
        for column in Column::ALL {
            if column.index() > 0 {
                out.push('\t');
            }
            out.push_str(self.text(column));
        }
    }

    /// The line of [`write_tsv`](EnrichedEvent::write_tsv) as bytes, in memory of exactly its size.
    pub fn to_tsv(&self) -> Vec<u8> {
        // Tabs everywhere, then the values between them: most columns are empty.
        let mut line = vec![b'\t'; self.tsv_len()];
        let mut at = 0;
        for piece in self.pieces() {
            if !piece.is_empty() {
                line[at..at + piece.len()].copy_from_slice(piece);
            }
            at += piece.len() + 1;
        }
        line
    }

    /// Reads a line of exactly 131 columns; empty columns are unset.
    pub fn parse_tsv(line: &str) -> Result<EnrichedEvent, TsvError> {
        let row = TsvRow::parse(line)?;
        let mut event = EnrichedEvent::new();
        for column in Column::ALL {
            if let Some(value) = row.get(column) {
                event.set(column, value);
            }
        }
        Ok(event)
    }
}

impl<'a> From<&'a EnrichedEvent> for TsvRow<'a> {
    /// The view of an event that its TSV line would give.
    fn from(event: &'a EnrichedEvent) -> Self {
        TsvRow { columns: Column::ALL.map(|column| event.text(column)) }
    }
}
