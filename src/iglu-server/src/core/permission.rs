//! What a key may do (iglu-server spec, section 2.2).

use serde::Serialize;

/// What may be done with schemas, weakest first. The original draws no line between the last three, nor do we.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SchemaAction {
    /// Read.
    Read,
    /// Add versions.
    Bump,
    /// Add schemas.
    Create,
    /// Add vendors.
    CreateVendor,
}

impl SchemaAction {
    /// The name in the database and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Bump => "BUMP",
            Self::Create => "CREATE",
            Self::CreateVendor => "CREATE_VENDOR",
        }
    }

    /// The action of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Read, Self::Bump, Self::Create, Self::CreateVendor].into_iter().find(|action| action.name() == name)
    }
}

/// What may be done with keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KeyAction {
    /// Make keys.
    Create,
    /// Delete keys.
    Delete,
}

impl KeyAction {
    /// The name in the database and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Delete => "DELETE",
        }
    }

    /// The action of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Create, Self::Delete].into_iter().find(|action| action.name() == name)
    }
}

/// Whose schemas a key is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Nobody's.
    Nothing,
    /// Those of this vendor and of the vendors below it: `com.acme` covers `com.acme.team`, not `com.acmecorp`.
    Below(Box<str>),
    /// Everybody's.
    Everything,
}

impl Scope {
    /// The scope that a vendor prefix asks for: `*` or blank is everything.
    #[must_use]
    pub fn of_prefix(prefix: &str) -> Self {
        match prefix.trim() {
            "" | "*" => Self::Everything,
            prefix => Self::Below(prefix.into()),
        }
    }

    /// The scope of a row in the database. Any vendor counts as a prefix whatever `wildcard` says.
    #[must_use]
    pub fn of_row(vendor: Option<&str>, wildcard: bool) -> Self {
        match vendor {
            Some(vendor) => Self::of_prefix(vendor),
            None if wildcard => Self::Everything,
            None => Self::Nothing,
        }
    }

    /// Whether the vendor's schemas are in it.
    #[must_use]
    pub fn covers(&self, vendor: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Below(prefix) => {
                vendor.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }
        }
    }

    /// Whether all of the other scope is in it.
    #[must_use]
    pub fn covers_scope(&self, other: &Self) -> bool {
        match other {
            Self::Nothing => true,
            Self::Everything => *self == Self::Everything,
            Self::Below(prefix) => self.covers(prefix),
        }
    }

    /// As the server tells it: the prefix, or nothing.
    #[must_use]
    pub fn vendor(&self) -> &str {
        match self {
            Self::Below(prefix) => prefix,
            Self::Nothing | Self::Everything => "",
        }
    }
}

/// The rights of one key, or of a caller without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// Whose schemas it is for.
    pub scope: Scope,
    /// What may be done with them.
    pub schema: Option<SchemaAction>,
    /// What may be done with keys; each at most once, in order.
    pub keys: Vec<KeyAction>,
}

impl Permission {
    /// Without a key: nothing but what is public.
    #[must_use]
    pub const fn anonymous() -> Self {
        Self { scope: Scope::Nothing, schema: None, keys: Vec::new() }
    }

    /// All rights.
    #[must_use]
    pub fn super_user() -> Self {
        Self {
            scope: Scope::Everything,
            schema: Some(SchemaAction::CreateVendor),
            keys: vec![KeyAction::Create, KeyAction::Delete],
        }
    }

    /// The read key of a prefix.
    #[must_use]
    pub const fn read_only(scope: Scope) -> Self {
        Self { scope, schema: Some(SchemaAction::Read), keys: Vec::new() }
    }

    /// The write key of a prefix.
    #[must_use]
    pub const fn write(scope: Scope) -> Self {
        Self { scope, schema: Some(SchemaAction::CreateVendor), keys: Vec::new() }
    }

    /// Whether schemas of the vendor that are not public may be read.
    #[must_use]
    pub fn may_read(&self, vendor: &str) -> bool {
        self.may_validate() && self.scope.covers(vendor)
    }

    /// Whether schemas of the vendor may be published and patched. A key action is enough.
    #[must_use]
    pub fn may_create(&self, vendor: &str) -> bool {
        let writes = self.schema.is_some_and(|action| action != SchemaAction::Read) || !self.keys.is_empty();
        writes && self.scope.covers(vendor)
    }

    /// Whether keys may be made at all.
    #[must_use]
    pub fn may_create_keys(&self) -> bool {
        self.keys.contains(&KeyAction::Create)
    }

    /// Whether keys may be deleted, of whatever scope.
    #[must_use]
    pub fn may_delete_keys(&self) -> bool {
        self.keys.contains(&KeyAction::Delete)
    }

    /// Whether the validation endpoints may be used.
    #[must_use]
    pub fn may_validate(&self) -> bool {
        self.schema.is_some() || !self.keys.is_empty()
    }

    /// Whether schemas may be deleted: exactly all rights.
    #[must_use]
    pub fn is_super(&self) -> bool {
        *self == Self::super_user()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_whole_parts_only() {
        let scope = Scope::of_prefix("com.acme");
        for (vendor, covered) in [("com.acme", true), ("com.acme.team", true), ("com.acmecorp", false), ("com", false)]
        {
            assert_eq!(scope.covers(vendor), covered, "{vendor}");
        }
        assert!(scope.covers_scope(&Scope::of_prefix("com.acme.x")) && !scope.covers_scope(&Scope::Everything));
        assert!(Scope::of_prefix(" * ").covers("anything"));
    }

    #[test]
    fn a_row_reads_as_in_the_original() {
        assert_eq!(Scope::of_row(None, false), Scope::Nothing);
        assert_eq!(Scope::of_row(None, true), Scope::Everything);
        assert_eq!(Scope::of_row(Some(""), false), Scope::Everything);
        assert!(Scope::of_row(Some("com.acme"), false).covers("com.acme.sub"), "the column does not count");
    }

    #[test]
    fn rights_follow_the_table() {
        let acme = || Scope::of_prefix("com.acme");
        let read = Permission::read_only(acme());
        assert!(read.may_read("com.acme") && read.may_validate() && !read.may_create("com.acme"));
        assert!(!read.may_read("com.other") && !read.may_create_keys() && !read.may_delete_keys());
        let write = Permission::write(acme());
        assert!(write.may_create("com.acme.x") && !write.may_create("com.other") && !write.is_super());
        let keys = Permission { scope: acme(), schema: None, keys: vec![KeyAction::Create] };
        assert!(keys.may_read("com.acme") && keys.may_create("com.acme") && keys.may_create_keys());
        let nobody = Permission::anonymous();
        assert!(!nobody.may_read("com.acme") && !nobody.may_create("com.acme") && !nobody.may_validate());
        assert!(Permission::super_user().is_super() && !Permission::write(Scope::Everything).is_super());
    }
}
