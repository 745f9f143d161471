//! The member names a schema speaks of, found without hashing a whole name.

/// What a schema says about members of one name.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) text: Box<str>,
    /// Index of the sub-schema when the name stands in `properties`.
    pub(crate) schema: Option<u32>,
    pub(crate) required: bool,
}

/// A fixed table with open addressing over a cheap hash of length, first and last bytes. The names are the schema
/// author's, so an event cannot make chains longer.
#[derive(Debug, Default)]
pub(crate) struct Names {
    entries: Vec<Name>,
    slots: Vec<u32>,
}

const EMPTY: u32 = u32::MAX;

impl Names {
    pub(crate) fn new(entries: Vec<Name>) -> Self {
        // At most half full.
        let size = (entries.len() * 2 + 1).next_power_of_two();
        let mut slots = vec![EMPTY; size];
        for (index, name) in entries.iter().enumerate() {
            let mut at = hash(&name.text) & (size - 1);
            while slots[at] != EMPTY {
                at = (at + 1) & (size - 1);
            }
            slots[at] = index as u32;
        }
        Self { entries, slots }
    }

    #[inline]
    pub(crate) fn find(&self, text: &str) -> Option<&Name> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash(text) & mask;
        loop {
            let index = self.slots[at];
            if index == EMPTY {
                return None;
            }
            let name = &self.entries[index as usize];
            if *name.text == *text {
                return Some(name);
            }
            at = (at + 1) & mask;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Name> {
        self.entries.iter()
    }
}

/// Reads only the ends of a name: names of one length that share both are rare, and only cost a comparison.
#[inline]
fn hash(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (first, last) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            (Some(first), Some(last)) => (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into()),
            _ => (bytes.first().copied().unwrap_or(0).into(), bytes.last().copied().unwrap_or(0).into()),
        },
    };
    let mixed = (first ^ last.rotate_left(29) ^ bytes.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let texts: Vec<String> = (0..300).map(|i| "x".repeat(i % 20) + &i.to_string()).chain([String::new()]).collect();
        let name = |text: &String| Name { text: text.as_str().into(), schema: None, required: false };
        let names = Names::new(texts.iter().map(name).collect());
        assert!(texts.iter().all(|text| &*names.find(text).unwrap().text == text));
        assert!(names.find("y").is_none() && names.find("xxxxxxxxxxxxxxxxxxxxxxxx").is_none());
        assert!(Names::default().find("a").is_none());
        assert!(Names::new(vec![]).find("").is_none());
    }
}
