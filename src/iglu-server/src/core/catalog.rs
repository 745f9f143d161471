//! All that the registry holds, as one immutable picture in memory: who may do what, and every schema's identity. The
//! schemas' bodies are loaded when they are asked for, and kept while there is room.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ahash::HashMap;
use bytes::Bytes;
use snowmelt_iglu::{SchemaKey, SchemaVer};

use super::api_key::KeyHash;
use super::permission::Permission;
use super::representation::{OVERHEAD, Representation, write};

/// Room for bodies, shared by all entries.
#[derive(Debug)]
pub struct Budget {
    left: AtomicUsize,
}

impl Budget {
    /// Room for this many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(bytes) })
    }

    fn take(&self, bytes: usize) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A schema's text that takes room as long as it is kept.
#[derive(Debug)]
struct Kept {
    /// As it is read most: the canonical text, with the members of the body at its end.
    canonical: Bytes,
    /// Where they are.
    members: Range<usize>,
    budget: Arc<Budget>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.budget.give_back(self.canonical.len());
    }
}

/// What the registry knows of one schema besides its body.
#[derive(Debug)]
pub struct Entry {
    /// Its identity.
    pub key: SchemaKey,
    /// When it was published, in microseconds since the epoch.
    pub created_us: i64,
    /// When it was last published or patched, in microseconds since the epoch.
    pub updated_us: i64,
    /// Whether everybody may read it.
    pub is_public: bool,
    /// The newer version to use instead.
    pub superseded_by: Option<SchemaVer>,
    /// The older versions it declares to replace.
    pub supersedes: Vec<SchemaVer>,
    /// Changes with every change of the row.
    pub row_version: i64,
    kept: OnceLock<Kept>,
}

impl Entry {
    /// An entry whose body is not loaded yet.
    #[must_use]
    pub fn new(key: SchemaKey, is_public: bool, created_us: i64, updated_us: i64, row_version: i64) -> Self {
        Self {
            key,
            created_us,
            updated_us,
            is_public,
            superseded_by: None,
            supersedes: Vec::new(),
            row_version,
            kept: OnceLock::new(),
        }
    }

    /// The members of the schema without the braces around them, when they are in memory.
    #[must_use]
    pub fn body(&self) -> Option<Bytes> {
        self.kept.get().map(|kept| kept.canonical.slice(kept.members.clone()))
    }

    /// The canonical text, when it is in memory.
    #[must_use]
    pub fn canonical(&self) -> Option<Bytes> {
        self.kept.get().map(|kept| kept.canonical.clone())
    }

    /// Keeps the members of the body if there is room.
    pub fn keep(&self, members: &str, budget: &Arc<Budget>) {
        if self.kept.get().is_some() {
            return;
        }
        let mut canonical = String::with_capacity(members.len() + OVERHEAD);
        write(&mut canonical, self, members, Representation::Canonical);
        // No more than is used: the room is counted by it.
        let canonical = Bytes::from(canonical.into_boxed_str().into_boxed_bytes());
        if budget.take(canonical.len()) {
            // Before the last brace.
            let end = canonical.len() - 1;
            let members = end - members.len()..end;
            // Whoever came first has put the same; ours gives its room back.
            drop(self.kept.set(Kept { canonical, members, budget: Arc::clone(budget) }));
        }
    }

    /// Whether this is public or within the rights.
    #[must_use]
    pub fn is_visible_to(&self, permission: &Permission) -> bool {
        self.is_public || permission.may_read(self.key.vendor())
    }
}

/// Entries of one vendor and name.
type Group = Vec<Arc<Entry>>;

/// What is different in a picture from the one before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Changed {
    /// No schema.
    #[default]
    NoSchema,
    /// Schemas of these vendors and names.
    Names(Arc<[(String, String)]>),
    /// Nobody knows.
    Anything,
}

/// The picture. A new one replaces it whenever the database changed; parts that did not change are shared.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Which state of the database it shows.
    pub version: i64,
    /// What the change that led to it was about.
    pub changed: Changed,
    /// By creation, then identity.
    entries: Vec<Arc<Entry>>,
    by_uri: HashMap<SchemaKey, Arc<Entry>>,
    /// By `vendor/name`, each by creation.
    groups: HashMap<Box<str>, Group>,
    permissions: Arc<HashMap<KeyHash, Permission>>,
}

impl Catalog {
    /// The picture before anything was read, which is that of no state of the database.
    #[must_use]
    pub fn unread() -> Self {
        Self { version: -1, ..Self::default() }
    }

    /// The schema of an Iglu URI.
    #[must_use]
    pub fn get(&self, uri: &str) -> Option<&Arc<Entry>> {
        self.by_uri.get(uri)
    }

    /// Every schema.
    #[must_use]
    pub fn all(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// The schemas of one vendor and name.
    #[must_use]
    pub fn group(&self, vendor: &str, name: &str) -> &[Arc<Entry>] {
        self.groups.get(format!("{vendor}/{name}").as_str()).map_or(&[], Vec::as_slice)
    }

    /// The rights of a stored key; `None` for a key nobody made.
    #[must_use]
    pub fn permission(&self, key: &KeyHash) -> Option<&Permission> {
        self.permissions.get(key)
    }

    /// Replaces all rights.
    pub fn set_permissions(&mut self, permissions: HashMap<KeyHash, Permission>) {
        self.permissions = Arc::new(permissions);
    }

    /// Replaces the schemas of some groups (all groups when `only` is `None`) by these. Entries whose row did not
    /// change stay, with the body they hold. Of rows with one identity, which only a database without our index can
    /// have, the latest counts.
    pub fn replace(&mut self, only: Option<&[(String, String)]>, rows: Vec<Entry>) {
        let mut fresh: HashMap<SchemaKey, Arc<Entry>> = HashMap::default();
        for row in rows {
            let row = match self.by_uri.get(row.key.uri()) {
                Some(known) if known.row_version == row.row_version => Arc::clone(known),
                _ => Arc::new(row),
            };
            let newest = fresh.get(row.key.uri()).is_none_or(|other| other.updated_us <= row.updated_us);
            if newest {
                fresh.insert(row.key.clone(), row);
            }
        }
        match only {
            None => {
                self.entries.clear();
                self.by_uri.clear();
                self.groups.clear();
            }
            Some(groups) => {
                let names: Vec<String> = groups.iter().map(|(vendor, name)| format!("{vendor}/{name}")).collect();
                let mut gone = ahash::HashSet::default();
                for entry in names.iter().filter_map(|name| self.groups.remove(name.as_str())).flatten() {
                    self.by_uri.remove(entry.key.uri());
                    gone.insert(entry.key.clone());
                }
                if !gone.is_empty() {
                    self.entries.retain(|entry| !gone.contains(entry.key.uri()));
                }
            }
        }
        for entry in fresh.into_values() {
            let name = format!("{}/{}", entry.key.vendor(), entry.key.name());
            self.groups.entry(name.into()).or_default().push(Arc::clone(&entry));
            self.entries.push(Arc::clone(&entry));
            self.by_uri.insert(entry.key.clone(), entry);
        }
        // Nearly sorted already, which a stable sort is quick with.
        self.entries.sort_by(by_creation);
        self.groups.values_mut().for_each(|group| group.sort_by(by_creation));
    }
}

fn by_creation(a: &Arc<Entry>, b: &Arc<Entry>) -> std::cmp::Ordering {
    (a.created_us, a.key.version(), &a.key).cmp(&(b.created_us, b.key.version(), &b.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(uri: &str, created_us: i64, row_version: i64) -> Entry {
        Entry::new(uri.parse().unwrap(), true, created_us, created_us, row_version)
    }

    fn uris(entries: &[Arc<Entry>]) -> Vec<&str> {
        entries.iter().map(|entry| entry.key.uri()).collect()
    }

    #[test]
    fn only_named_groups_are_replaced_and_unchanged_rows_keep_their_bodies() {
        let mut catalog = Catalog::default();
        let (a, b, c) = ("iglu:v/a/jsonschema/1-0-0", "iglu:v/a/jsonschema/1-0-1", "iglu:v/b/jsonschema/1-0-0");
        catalog.replace(None, vec![entry(b, 2, 2), entry(c, 3, 3), entry(a, 1, 1)]);
        assert_eq!(uris(catalog.all()), [a, b, c]);
        let budget = Budget::new(1_000);
        catalog.get(a).unwrap().keep("\"b\":1", &budget);

        let earlier = catalog.clone();
        catalog.replace(Some(&[("v".into(), "a".into())]), vec![entry(a, 1, 1), entry(b, 4, 4)]);
        assert_eq!(uris(catalog.all()), [a, c, b], "a patched version moves with its creation time");
        assert_eq!(catalog.get(a).unwrap().body().unwrap(), "\"b\":1");
        let canonical = catalog.get(a).unwrap().canonical().unwrap();
        assert!(canonical.starts_with(b"{\"$schema\":") && canonical.ends_with(b",\"b\":1}"), "{canonical:?}");
        assert_eq!(uris(catalog.group("v", "b")), [c]);
        assert_eq!(uris(earlier.all()), [a, b, c], "a picture never changes");

        catalog.replace(Some(&[("v".into(), "a".into())]), Vec::new());
        assert!(catalog.get(a).is_none() && catalog.group("v", "a").is_empty());
    }

    #[test]
    fn bodies_share_a_bounded_room() {
        let budget = Budget::new(250);
        let (one, two) = (entry("iglu:v/a/j/1-0-0", 1, 1), entry("iglu:v/a/j/1-0-1", 1, 1));
        one.keep("", &budget);
        two.keep("", &budget);
        assert!(one.body().is_some_and(|body| body.is_empty()) && two.body().is_none());
        drop(one);
        two.keep("", &budget);
        assert!(two.body().is_some());
    }

    #[test]
    fn of_two_rows_with_one_identity_the_latest_counts() {
        let mut catalog = Catalog::default();
        let uri = "iglu:v/a/jsonschema/1-0-0";
        catalog.replace(None, vec![entry(uri, 2, 7), entry(uri, 1, 6)]);
        assert_eq!((catalog.all().len(), catalog.get(uri).unwrap().row_version), (1, 7));
    }
}
