//! Records that the Kinesis Producer Library has aggregated (spec 14).
//!
//! `F3 89 9A C2`, a protobuf message, the MD5 of the message. The message: field 1 partition keys, field 2 explicit hash keys, field 3
//! records, each with an index into either table and its data. Parsing copies nothing; records are made one at a time, so that a
//! large key used by thousands of them is not held thousands of times.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use md5::{Digest, Md5};

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
const MD5_BYTES: usize = 16;

/// What a payload is.
#[derive(Debug)]
pub(crate) enum Payload {
    /// No aggregate, or something that only looks like one.
    Plain,
    /// Sound.
    Aggregate(Aggregate),
    /// An aggregate with an index outside its table.
    Bad,
}

/// A sound aggregate.
#[derive(Debug)]
pub(crate) struct Aggregate {
    data: Bytes,
    keys: Vec<Range<usize>>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: usize,
    data: Range<usize>,
}

impl Payload {
    pub fn of(data: &Bytes) -> Self {
        if data.len() < MAGIC.len() + MD5_BYTES || data[..MAGIC.len()] != MAGIC {
            return Self::Plain;
        }
        let end = data.len() - MD5_BYTES;
        if Md5::digest(&data[MAGIC.len()..end])[..] != data[end..] {
            return Self::Plain;
        }
        let Some(message) = Message::parse(data, MAGIC.len()..end) else { return Self::Plain };
        let sound = message.records.iter().all(|record| {
            record.key < message.keys.len() as u64
                && record.hash_key.is_none_or(|index| index < message.hash_keys as u64)
        });
        if !sound {
            return Self::Bad;
        }
        let entries = message.records.into_iter();
        // Indices were just checked against a table in memory.
        let entries = entries.map(|record| Entry { key: record.key as usize, data: record.data }).collect();
        Self::Aggregate(Aggregate { data: data.clone(), keys: message.keys, entries })
    }
}

impl Aggregate {
    /// User records in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The key and the data of user record `index`; the data share the aggregate's bytes.
    pub fn record(&self, index: usize) -> Option<(Cow<'_, str>, Bytes)> {
        let entry = self.entries.get(index)?;
        let key = String::from_utf8_lossy(&self.data[self.keys[entry.key].clone()]);
        Some((key, self.data.slice(entry.data.clone())))
    }
}

struct Message {
    keys: Vec<Range<usize>>,
    /// Only how many: a record's own hash key decides nothing here.
    hash_keys: usize,
    records: Vec<UserRecord>,
}

struct UserRecord {
    key: u64,
    hash_key: Option<u64>,
    data: Range<usize>,
}

impl Message {
    /// None where it is no such message.
    fn parse(bytes: &[u8], within: Range<usize>) -> Option<Self> {
        let mut message = Self { keys: Vec::new(), hash_keys: 0, records: Vec::new() };
        let mut fields = Fields { bytes, at: within.start, end: within.end };
        while fields.at < fields.end {
            match fields.next()? {
                (1, Value::Bytes(key)) => message.keys.push(key),
                (2, Value::Bytes(_)) => message.hash_keys += 1,
                (3, Value::Bytes(record)) => message.records.push(UserRecord::parse(bytes, record)?),
                _ => {}
            }
        }
        Some(message)
    }
}

impl UserRecord {
    fn parse(bytes: &[u8], within: Range<usize>) -> Option<Self> {
        let (mut key, mut hash_key, mut data) = (None, None, None);
        let mut fields = Fields { bytes, at: within.start, end: within.end };
        while fields.at < fields.end {
            match fields.next()? {
                (1, Value::Number(index)) => key = Some(index),
                (2, Value::Number(index)) => hash_key = Some(index),
                (3, Value::Bytes(range)) => data = Some(range),
                _ => {}
            }
        }
        Some(Self { key: key?, hash_key, data: data? })
    }
}

/// The fields of a protobuf message.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

enum Value {
    Number(u64),
    Bytes(Range<usize>),
    /// Of a fixed width; none of ours has it.
    Other,
}

impl Fields<'_> {
    /// The next field's number and value; none where it is cut, too long or of an unknown kind.
    fn next(&mut self) -> Option<(u64, Value)> {
        let tag = self.varint()?;
        let field = tag >> 3;
        if field == 0 {
            return None;
        }
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.skip(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let begin = self.at;
                self.skip(length)?;
                Value::Bytes(begin..self.at)
            }
            5 => self.skip(4)?,
            // Groups: nobody writes them.
            _ => return None,
        };
        Some((field, value))
    }

    fn skip(&mut self, length: usize) -> Option<Value> {
        self.at = self.at.checked_add(length).filter(|at| *at <= self.end)?;
        Some(Value::Other)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes[..self.end].get(self.at)?;
            self.at += 1;
            // What does not fit 64 bits is cut, as protobuf's readers do.
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// The other way round, for tests.
#[cfg(test)]
pub(crate) mod encode {
    use super::*;

    pub fn varint(mut value: u64, into: &mut Vec<u8>) {
        while value >= 0x80 {
            into.push(value as u8 | 0x80);
            value >>= 7;
        }
        into.push(value as u8);
    }

    pub fn bytes(field: u64, content: &[u8], into: &mut Vec<u8>) {
        varint(field << 3 | 2, into);
        varint(content.len() as u64, into);
        into.extend_from_slice(content);
    }

    pub fn sealed(message: &[u8]) -> Bytes {
        [&MAGIC[..], message, &Md5::digest(message)].concat().into()
    }

    /// `records`: index of the key, index of the hash key, data.
    pub fn aggregate(keys: &[&str], hash_keys: &[&str], records: &[(u64, Option<u64>, &[u8])]) -> Bytes {
        let mut message = Vec::new();
        keys.iter().for_each(|key| bytes(1, key.as_bytes(), &mut message));
        hash_keys.iter().for_each(|key| bytes(2, key.as_bytes(), &mut message));
        for (key, hash_key, data) in records {
            let mut record = Vec::new();
            varint(1 << 3, &mut record);
            varint(*key, &mut record);
            if let Some(index) = hash_key {
                varint(2 << 3, &mut record);
                varint(*index, &mut record);
            }
            bytes(3, data, &mut record);
            // A tag, which nobody uses.
            let mut tag = Vec::new();
            bytes(1, b"tag", &mut tag);
            bytes(4, &tag, &mut record);
            bytes(3, &record, &mut message);
        }
        sealed(&message)
    }
}

#[cfg(test)]
mod tests {
    use super::encode::{aggregate, bytes, sealed, varint};
    use super::*;
    use proptest::prelude::*;

    fn unpacked(data: &Bytes) -> Vec<(String, Bytes)> {
        let Payload::Aggregate(aggregate) = Payload::of(data) else { panic!("not an aggregate") };
        (0..aggregate.len())
            .map(|at| aggregate.record(at).unwrap())
            .map(|(key, data)| (key.into_owned(), data))
            .collect()
    }

    #[test]
    fn user_records_share_the_bytes_of_the_aggregate() {
        let data = aggregate(&["a", "b"], &["7"], &[(0, None, b"one"), (1, Some(0), b""), (0, None, b"three")]);
        let records = unpacked(&data);
        assert_eq!(
            records.iter().map(|(key, data)| (key.as_str(), &data[..])).collect::<Vec<_>>(),
            [("a", &b"one"[..]), ("b", b""), ("a", b"three")]
        );
        assert!(data.as_ptr_range().contains(&records[0].1.as_ptr()));
    }

    #[test]
    fn an_empty_aggregate_has_no_records() {
        assert!(unpacked(&sealed(b"")).is_empty());
    }

    #[test]
    fn what_only_looks_like_an_aggregate_is_plain() {
        let good = aggregate(&["a"], &[], &[(0, None, b"x")]);
        let mut wrong_md5 = good.to_vec();
        *wrong_md5.last_mut().unwrap() ^= 1;
        // No data; a length past the end; a varint without an end; a group.
        let mut no_data = Vec::new();
        bytes(3, &[1 << 3, 0], &mut no_data);
        let mut group = Vec::new();
        varint(1 << 3 | 3, &mut group);
        for data in [
            Bytes::new(),
            good.slice(..10),
            good.slice(..good.len() - 1),
            good.slice(1..),
            wrong_md5.into(),
            sealed(&no_data),
            sealed(&[1 << 3 | 2, 9]),
            sealed(&[0xff; 11]),
            sealed(&group),
        ] {
            assert!(matches!(Payload::of(&data), Payload::Plain), "{data:?}");
        }
    }

    #[test]
    fn an_index_outside_its_table_is_bad() {
        for records in [&[(0, None, &b"x"[..]), (1, None, b"y")][..], &[(0, Some(0), b"x")], &[(u64::MAX, None, b"x")]]
        {
            assert!(matches!(Payload::of(&aggregate(&["a"], &[], records)), Payload::Bad), "{records:?}");
        }
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let mut message = Vec::new();
        bytes(1, b"key", &mut message);
        message.extend_from_slice(&[9 << 3, 1, 10 << 3 | 5, 1, 2, 3, 4, 11 << 3 | 1, 1, 2, 3, 4, 5, 6, 7, 8]);
        bytes(3, &[1 << 3, 0, 3 << 3 | 2, 1, b'd'], &mut message);
        assert_eq!(unpacked(&sealed(&message)), [("key".to_owned(), Bytes::from_static(b"d"))]);
    }

    proptest! {
        #[test]
        fn what_was_aggregated_comes_out(records: Vec<(String, Vec<u8>)>) {
            let keys: Vec<&str> = records.iter().map(|(key, _)| key.as_str()).collect();
            let entries: Vec<_> =
                records.iter().enumerate().map(|(at, (_, data))| (at as u64, None, data.as_slice())).collect();
            let unpacked = unpacked(&aggregate(&keys, &[], &entries));
            prop_assert_eq!(unpacked.len(), records.len());
            for (got, sent) in unpacked.iter().zip(&records) {
                prop_assert_eq!((&got.0, &got.1[..]), (&sent.0, &sent.1[..]));
            }
        }

        #[test]
        fn any_message_is_read_without_a_panic(message: Vec<u8>) {
            if let Payload::Aggregate(aggregate) = Payload::of(&sealed(&message)) {
                (0..aggregate.len()).for_each(|at| assert!(aggregate.record(at).is_some()));
            }
        }

        #[test]
        fn a_damaged_message_is_read_without_a_panic(at: prop::sample::Index, to: u8) {
            let good = aggregate(&["a", "bc"], &["1"], &[(0, Some(0), b"one"), (1, None, b"two")]);
            let mut message = good[4..good.len() - 16].to_vec();
            let at = at.index(message.len());
            message[at] = to;
            if let Payload::Aggregate(aggregate) = Payload::of(&sealed(&message)) {
                (0..aggregate.len()).for_each(|at| assert!(aggregate.record(at).is_some()));
            }
        }
    }
}
