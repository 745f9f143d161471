//! What a walk reads: JSON as a tree, or as a document that was never made into one.

use std::borrow::Cow;

use serde_json::Value;
use snowmelt_protocol::document::{Kind, MemberName, Node, name_hash};

use super::number::is_integer;
use super::program::Types;

/// One value of some JSON. Methods for one kind give something harmless for others.
pub(crate) trait Data<'d>: Copy {
    fn kind(self) -> Types;
    /// A string's text.
    fn text(self) -> Cow<'d, str>;
    /// A number as it is written.
    fn number(self) -> &'d str;
    /// How many items or members there are.
    fn len(self) -> usize;
    fn items(self) -> impl Iterator<Item = Self>;
    fn members(self) -> impl Iterator<Item = (impl Name<'d>, Self)>;
    /// Whether an object has a member of this name.
    fn has(self, name: &str) -> bool;
    /// The value as a tree, for what is rare.
    fn tree(self) -> Cow<'d, Value>;
}

/// The name of a member.
pub(crate) trait Name<'d>: Copy {
    /// Its [`name_hash`].
    fn hash(self) -> u32;
    fn bytes(self) -> Cow<'d, [u8]>;
    fn text(self) -> Cow<'d, str>;
}

impl<'d> Name<'d> for &'d str {
    #[inline]
    fn hash(self) -> u32 {
        name_hash(self.as_bytes())
    }

    #[inline]
    fn bytes(self) -> Cow<'d, [u8]> {
        Cow::Borrowed(self.as_bytes())
    }

    #[inline]
    fn text(self) -> Cow<'d, str> {
        Cow::Borrowed(self)
    }
}

impl<'d> Name<'d> for MemberName<'d> {
    #[inline(always)]
    fn hash(self) -> u32 {
        MemberName::hash(self)
    }

    #[inline(always)]
    fn bytes(self) -> Cow<'d, [u8]> {
        MemberName::bytes(self)
    }

    #[inline]
    fn text(self) -> Cow<'d, str> {
        MemberName::text(self)
    }
}

impl<'d> Data<'d> for &'d Value {
    #[inline]
    fn kind(self) -> Types {
        match self {
            Value::Null => Types::NULL,
            Value::Bool(_) => Types::BOOLEAN,
            Value::Number(number) if is_integer(number) => Types::INTEGER,
            Value::Number(_) => Types::NUMBER,
            Value::String(_) => Types::STRING,
            Value::Array(_) => Types::ARRAY,
            Value::Object(_) => Types::OBJECT,
        }
    }

    #[inline]
    fn text(self) -> Cow<'d, str> {
        self.as_str().unwrap_or_default().into()
    }

    #[inline]
    fn number(self) -> &'d str {
        match self {
            Value::Number(number) => number.as_str(),
            _ => "",
        }
    }

    #[inline]
    fn len(self) -> usize {
        match self {
            Value::Array(items) => items.len(),
            Value::Object(members) => members.len(),
            _ => 0,
        }
    }

    #[inline]
    fn items(self) -> impl Iterator<Item = Self> {
        self.as_array().into_iter().flatten()
    }

    #[inline]
    fn members(self) -> impl Iterator<Item = (impl Name<'d>, Self)> {
        self.as_object().into_iter().flatten().map(|(name, member)| (name.as_str(), member))
    }

    fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn tree(self) -> Cow<'d, Value> {
        Cow::Borrowed(self)
    }
}

impl<'d> Data<'d> for Node<'d> {
    #[inline]
    fn kind(self) -> Types {
        match Node::kind(&self) {
            Kind::Null => Types::NULL,
            Kind::Bool => Types::BOOLEAN,
            Kind::Number if self.is_written_as_integer() => Types::INTEGER,
            Kind::Number => Types::NUMBER,
            Kind::String => Types::STRING,
            Kind::Array => Types::ARRAY,
            Kind::Object => Types::OBJECT,
        }
    }

    #[inline]
    fn text(self) -> Cow<'d, str> {
        self.as_str().unwrap_or_default()
    }

    #[inline]
    fn number(self) -> &'d str {
        self.source()
    }

    #[inline]
    fn len(self) -> usize {
        Node::len(&self)
    }

    #[inline]
    fn items(self) -> impl Iterator<Item = Self> {
        self.elements()
    }

    #[inline]
    fn members(self) -> impl Iterator<Item = (impl Name<'d>, Self)> {
        self.named_members()
    }

    fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn tree(self) -> Cow<'d, Value> {
        Cow::Owned(self.to_value())
    }
}
