//! The member names a schema speaks of, found without hashing a whole name.

use snowmelt_protocol::document::name_hash;

use super::program::Types;

/// What a schema says about members of one name.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) text: Box<str>,
    /// Index of the sub-schema when the name stands in `properties`.
    pub(crate) schema: Option<u32>,
    pub(crate) required: bool,
    /// Values of these types are surely valid to the sub-schema: it says nothing but their type.
    pub(crate) accepted: Types,
}

/// A fixed table with open addressing over [`name_hash`]. The names are the schema author's, so an event cannot make
/// chains longer.
#[derive(Debug, Default)]
pub(crate) struct Names {
    entries: Vec<Name>,
    /// Hash and index.
    slots: Vec<(u32, u32)>,
}

const EMPTY: u32 = u32::MAX;

impl Names {
    pub(crate) fn new(entries: Vec<Name>) -> Self {
        // At most half full.
        let size = (entries.len() * 2 + 1).next_power_of_two();
        let mut slots = vec![(0, EMPTY); size];
        for (index, name) in entries.iter().enumerate() {
            let hash = name_hash(name.text.as_bytes());
            let mut at = hash as usize & (size - 1);
            while slots[at].1 != EMPTY {
                at = (at + 1) & (size - 1);
            }
            slots[at] = (hash, index as u32);
        }
        Self { entries, slots }
    }

    /// The name with these bytes, of which `hash` is the [`name_hash`].
    #[inline]
    pub(crate) fn find(&self, hash: u32, bytes: &[u8]) -> Option<&Name> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let (known, index) = self.slots[at];
            if index == EMPTY {
                return None;
            }
            let name = &self.entries[index as usize];
            if known == hash && *name.text.as_bytes() == *bytes {
                return Some(name);
            }
            at = (at + 1) & mask;
        }
    }

    /// Sets what is accepted of each name, by its sub-schema.
    pub(crate) fn accept(&mut self, accepted: impl Fn(u32) -> Types) {
        for name in &mut self.entries {
            name.accepted = name.schema.map(&accepted).unwrap_or_default();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Name> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let texts: Vec<String> = (0..300).map(|i| "x".repeat(i % 20) + &i.to_string()).chain([String::new()]).collect();
        let name = |text: &String| Name {
            text: text.as_str().into(),
            schema: None,
            required: false,
            accepted: Types::default(),
        };
        let names = Names::new(texts.iter().map(name).collect());
        let find = |names: &Names, text: &str| {
            names.find(name_hash(text.as_bytes()), text.as_bytes()).map(|name| name.text.to_string())
        };
        assert!(texts.iter().all(|text| find(&names, text).as_ref() == Some(text)));
        assert!(find(&names, "y").is_none() && find(&names, "xxxxxxxxxxxxxxxxxxxxxxxx").is_none());
        assert!(find(&Names::default(), "a").is_none());
        assert!(find(&Names::new(vec![]), "").is_none());
    }
}
