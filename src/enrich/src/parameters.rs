//! Names and values of one request or event: what an adapter hands on (enrich-core 1.5, 2.2).

use std::borrow::Cow;
use std::collections::HashMap;

use crate::fields::FieldId;

/// Name and value of one pair; a name without `=` has no value.
pub type Pair<'a> = (Cow<'a, str>, Option<Cow<'a, str>>);

/// The parameters of one event: each name once, in order of first appearance.
#[derive(Debug, Clone, Default)]
pub struct Parameters<'a> {
    entries: Vec<Entry<'a>>,
    /// Place (plus one) in `entries` of each parameter that the tracker protocol knows.
    places: Places,
    unknown: usize,
    /// Places of unknown names, once there are too many to search one by one.
    index: Option<HashMap<Cow<'a, str>, usize>>,
}

/// With more unknown names than this they are found through a hash table: a request chooses how many it sends.
const SEARCHED_NAMES: usize = 64;

#[derive(Debug, Clone)]
struct Entry<'a> {
    field: Option<FieldId>,
    name: Cow<'a, str>,
    value: Option<Cow<'a, str>>,
}

#[derive(Debug, Clone)]
struct Places([u32; FieldId::COUNT]);

impl Default for Places {
    fn default() -> Self {
        Places([0; FieldId::COUNT])
    }
}

impl<'a> Parameters<'a> {
    /// No parameters, with room for some.
    pub fn with_capacity(capacity: usize) -> Self {
        Parameters { entries: Vec::with_capacity(capacity), ..Parameters::default() }
    }

    /// The parameters of a query string: of pairs with one name the last counts.
    pub fn from_pairs(pairs: &[Pair<'a>]) -> Self {
        let mut parameters = Self::with_capacity(pairs.len());
        parameters.extend(pairs);
        parameters
    }

    /// About how many bytes the parameters of one event take that has these and a few of its own.
    pub(crate) fn bytes_with(pairs: &[Pair<'_>]) -> usize {
        const OWN: usize = 8;
        let text = |(name, value): &Pair<'_>| name.len() + value.as_deref().map_or(0, str::len);
        let texts: usize = pairs.iter().map(text).sum();
        size_of::<Self>() + (pairs.len() + OWN) * size_of::<Entry<'_>>() + texts
    }

    /// Sets every pair in order.
    pub fn extend(&mut self, pairs: &[Pair<'a>]) {
        for (name, value) in pairs {
            self.set(name.clone(), value.clone());
        }
    }

    /// Sets a parameter, replacing the value it had.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: Option<Cow<'a, str>>) {
        let name = name.into();
        let field = FieldId::from_name(&name);
        if let Some(place) = self.place(field, &name) {
            self.entries[place].value = value;
            return;
        }
        let place = self.entries.len();
        match field {
            // A request holds fewer than 2^32 names: it is shorter than that.
            Some(id) => self.places.0[id.index()] = place as u32 + 1,
            None => self.note_unknown(name.clone(), place),
        }
        self.entries.push(Entry { field, name, value });
    }

    fn note_unknown(&mut self, name: Cow<'a, str>, place: usize) {
        self.unknown += 1;
        if let Some(index) = &mut self.index {
            index.insert(name, place);
        } else if self.unknown > SEARCHED_NAMES {
            let unknown = self.entries.iter().enumerate().filter(|(_, entry)| entry.field.is_none());
            let mut index: HashMap<_, _> = unknown.map(|(place, entry)| (entry.name.clone(), place)).collect();
            index.insert(name, place);
            self.index = Some(index);
        }
    }

    fn place(&self, field: Option<FieldId>, name: &str) -> Option<usize> {
        match (field, &self.index) {
            (Some(id), _) => (self.places.0[id.index()] as usize).checked_sub(1),
            (None, Some(index)) => index.get(name).copied(),
            (None, None) => self.entries.iter().position(|entry| entry.field.is_none() && entry.name == name),
        }
    }

    /// The value of a parameter; `None` when it is absent or has none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name)?.value.as_deref()
    }

    /// Whether the name is there, with or without a value.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<&Entry<'a>> {
        self.entries.get(self.place(FieldId::from_name(name), name)?)
    }

    /// The value of a parameter that the tracker protocol knows.
    #[inline]
    pub(crate) fn value_of(&self, field: FieldId) -> Option<&str> {
        let place = (self.places.0[field.index()] as usize).checked_sub(1)?;
        self.entries[place].value.as_deref()
    }

    /// Known parameters that have a value, in order.
    #[inline]
    pub(crate) fn known(&self) -> impl Iterator<Item = (FieldId, &str)> {
        self.entries.iter().filter_map(|entry| Some((entry.field?, entry.value.as_deref()?)))
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.entries.iter().map(|entry| (entry.name.as_ref(), entry.value.as_deref()))
    }

    /// Names that the tracker protocol does not know, with their values, in order.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let unknown = self.entries.iter().filter(|entry| entry.field.is_none());
        unknown.map(|entry| (entry.name.as_ref(), entry.value.as_deref()))
    }

    /// How many names the tracker protocol does not know.
    pub(crate) fn unknown_count(&self) -> usize {
        self.unknown
    }

    /// About how many bytes all names and values take, two separators each included.
    pub(crate) fn size_hint(&self) -> usize {
        let size = |entry: &Entry<'_>| entry.name.len() + entry.value.as_deref().unwrap_or_default().len() + 2;
        self.entries.iter().map(size).sum()
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
