//! What a walk reads: JSON as a tree, or as a document that was never made into one.

use std::borrow::Cow;

use serde_json::Value;
use snowmelt_protocol::document::{Kind, Node};

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
    fn members(self) -> impl Iterator<Item = (Cow<'d, str>, Self)>;
    /// Whether an object has a member of this name.
    fn has(self, name: &str) -> bool;
    /// The value as a tree, for what is rare.
    fn tree(self) -> Cow<'d, Value>;
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
    fn members(self) -> impl Iterator<Item = (Cow<'d, str>, Self)> {
        self.as_object().into_iter().flatten().map(|(name, member)| (Cow::Borrowed(name.as_str()), member))
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
    fn members(self) -> impl Iterator<Item = (Cow<'d, str>, Self)> {
        Node::members(&self)
    }

    fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn tree(self) -> Cow<'d, Value> {
        Cow::Owned(self.to_value())
    }
}
