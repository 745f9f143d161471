//! The arena that holds one enriched event.

use crate::event::number::write_int;
use crate::event::{COLUMN_COUNT, Column, write_float};
use crate::time;

/// Where a column's value lies in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u32,
    len: u32,
}

/// A column without a value. An empty text is a value, and prints as `""` in bad rows.
const UNSET: Span = Span { start: u32::MAX, len: 0 };

/// One enriched event: every value as its TSV text, in one buffer.
///
/// Made to be reused: [`clear`](EnrichedEvent::clear) keeps the memory, so that in the long run an event costs no
/// allocation. Numbers and timestamps are kept as the text that goes into the TSV line. A value that is set again
/// leaves its old bytes behind in the buffer until `clear`.
#[derive(Clone)]
pub struct EnrichedEvent {
    buffer: String,
    spans: [Span; COLUMN_COUNT],
    scratch: String,
}

impl Default for EnrichedEvent {
    fn default() -> Self {
        EnrichedEvent { buffer: String::new(), spans: [UNSET; COLUMN_COUNT], scratch: String::new() }
    }
}

impl EnrichedEvent {
    /// An event without values; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes all values away and keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.spans = [UNSET; COLUMN_COUNT];
    }

    /// The value of a column; `None` when unset, `Some("")` when set to the empty text.
    #[inline]
    pub fn get(&self, column: Column) -> Option<&str> {
        let span = self.spans[column.index()];
        if span == UNSET {
            return None;
        }
        let start = span.start as usize;
        Some(&self.buffer[start..start + span.len as usize])
    }

    /// The value of a column, the empty text when unset: what the TSV line shows.
    #[inline]
    pub fn text(&self, column: Column) -> &str {
        self.get(column).unwrap_or("")
    }

    /// The length in bytes of what the TSV line shows of a column.
    #[inline]
    pub fn len_of(&self, column: Column) -> usize {
        self.spans[column.index()].len as usize
    }

    /// The value of an integer or flag column as a number.
    pub fn int(&self, column: Column) -> Option<i32> {
        self.get(column)?.parse().ok()
    }

    /// The value of a timestamp column in milliseconds since the epoch.
    pub fn millis(&self, column: Column) -> Option<i64> {
        time::parse_tsv(self.get(column)?)
    }

    /// True when the column has a value.
    #[inline]
    pub fn is_set(&self, column: Column) -> bool {
        self.spans[column.index()] != UNSET
    }

    /// Sets a column. The text is taken as it is: cleaning is the caller's.
    ///
    /// # Panics
    /// When all values of the event together pass 4 GiB; records are limited far below.
    #[inline]
    pub fn set(&mut self, column: Column, value: &str) {
        let start = self.buffer.len();
        self.buffer.push_str(value);
        self.spans[column.index()] = Self::span(start, value.len());
    }

    /// Sets a column if there is a value, else takes the value away.
    #[inline]
    pub fn set_or_unset(&mut self, column: Column, value: Option<&str>) {
        match value {
            Some(value) => self.set(column, value),
            None => self.unset(column),
        }
    }

    /// Sets a column to what `write` appends to the empty text it is given.
    pub fn set_with<R>(&mut self, column: Column, write: impl FnOnce(&mut String) -> R) -> R {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let result = write(&mut scratch);
        self.set(column, &scratch);
        self.scratch = scratch;
        result
    }

    /// [`set_with`](EnrichedEvent::set_with) for what only appends.
    #[inline]
    fn append(&mut self, column: Column, write: impl FnOnce(&mut String)) {
        let start = self.buffer.len();
        write(&mut self.buffer);
        self.spans[column.index()] = Self::span(start, self.buffer.len() - start);
    }

    /// Sets a column to a decimal integer.
    pub fn set_int(&mut self, column: Column, value: i64) {
        self.append(column, |out| write_int(value, out));
    }

    /// Sets a flag column to `1` or `0`.
    pub fn set_flag(&mut self, column: Column, value: bool) {
        self.set(column, if value { "1" } else { "0" });
    }

    /// Sets a column to a 32-bit float in its shortest form, Java style.
    pub fn set_float(&mut self, column: Column, value: f32) {
        self.append(column, |out| write_float(value, out));
    }

    /// Sets a column to a time, `yyyy-MM-dd HH:mm:ss.SSS`.
    pub fn set_millis(&mut self, column: Column, millis: i64) {
        self.append(column, |out| time::write_tsv(millis, out));
    }

    /// Takes the value of a column away.
    #[inline]
    pub fn unset(&mut self, column: Column) {
        self.spans[column.index()] = UNSET;
    }

    /// Gives the column `to` the value of the column `from` (or none), without copying.
    pub fn copy(&mut self, from: Column, to: Column) {
        self.spans[to.index()] = self.spans[from.index()];
    }

    /// An upper bound of the bytes all values take, for reserving room.
    pub fn size_hint(&self) -> usize {
        self.buffer.len() + COLUMN_COUNT
    }

    /// Where each column's text lies in the buffer, in column order, empty when unset.
    #[inline]
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let buffer = self.buffer.as_bytes();
        self.spans.iter().map(move |span| match span.len as usize {
            0 => &[][..],
            len => &buffer[span.start as usize..][..len],
        })
    }

    /// The length of the TSV line in bytes.
    pub fn tsv_len(&self) -> usize {
        COLUMN_COUNT - 1 + self.spans.iter().map(|span| span.len as usize).sum::<usize>()
    }

    fn span(start: usize, len: usize) -> Span {
        let end = u32::try_from(start + len).expect("an event stays below 4 GiB: records are limited");
        Span { start: end - len as u32, len: len as u32 }
    }
}

impl PartialEq for EnrichedEvent {
    fn eq(&self, other: &Self) -> bool {
        Column::ALL.into_iter().all(|column| self.get(column) == other.get(column))
    }
}

impl std::fmt::Debug for EnrichedEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = Column::ALL.into_iter().filter_map(|column| Some((column.name(), self.get(column)?)));
        f.debug_map().entries(set).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_set_again_replaces_the_first() {
        let mut event = EnrichedEvent::new();
        event.set(Column::AppId, "shop");
        event.set(Column::Platform, "web");
        event.set(Column::AppId, "shop-2");
        assert_eq!(event.get(Column::AppId), Some("shop-2"));
        assert_eq!(event.get(Column::Platform), Some("web"));
    }

    #[test]
    fn unset_and_empty_differ() {
        let mut event = EnrichedEvent::new();
        event.set(Column::Useragent, "");
        assert_eq!(event.get(Column::Useragent), Some(""));
        assert_eq!(event.get(Column::AppId), None);
        event.unset(Column::Useragent);
        assert_eq!(event.get(Column::Useragent), None);
        assert_eq!(event.text(Column::Useragent), "");
    }

    #[test]
    fn clear_leaves_nothing() {
        let mut event = EnrichedEvent::new();
        event.set(Column::AppId, "shop");
        event.clear();
        assert_eq!(event, EnrichedEvent::new());
    }

    #[test]
    fn typed_setters_write_the_tsv_form() {
        let mut event = EnrichedEvent::new();
        event.set_int(Column::TxnId, -7);
        event.set_flag(Column::BrCookies, true);
        event.set_float(Column::GeoLatitude, 37.751);
        event.set_millis(Column::CollectorTstamp, 1_700_000_000_123);
        event.copy(Column::CollectorTstamp, Column::DerivedTstamp);
        assert_eq!(event.int(Column::TxnId), Some(-7));
        assert_eq!(event.get(Column::BrCookies), Some("1"));
        assert_eq!(event.get(Column::GeoLatitude), Some("37.751"));
        assert_eq!(event.get(Column::DerivedTstamp), Some("2023-11-14 22:13:20.123"));
        assert_eq!(event.millis(Column::DerivedTstamp), Some(1_700_000_000_123));
    }
}
