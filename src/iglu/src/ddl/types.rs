//! The type of a column (spec schema-ddl-postgres, section 4): the first rule that fits.

use std::fmt;

use serde_json::Value;

/// PostgreSQL's limit for the length of VARCHAR and CHAR.
const MAX_LENGTH: u64 = 10_485_760;

/// A column's type. `Display` writes it as in the statements of the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// Any JSON.
    Jsonb,
    /// Without time zone, holding UTC.
    Timestamp,
    /// A day.
    Date,
    /// 64 bits.
    BigInt,
    /// 32 bits.
    Integer,
    /// 64-bit float.
    Double,
    /// true or false.
    Boolean,
    /// Exactly so many characters.
    Char(u32),
    /// At most so many characters.
    Varchar(u32),
    /// 128 bits.
    Uuid,
    /// Text without a limit: never derived from a schema, but met in tables changed by hand.
    Text,
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jsonb => f.write_str("JSONB"),
            Self::Timestamp => f.write_str("TIMESTAMP"),
            Self::Date => f.write_str("DATE"),
            Self::BigInt => f.write_str("BIGINT"),
            Self::Integer => f.write_str("INTEGER"),
            Self::Double => f.write_str("DOUBLE PRECISION"),
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::Char(length) => write!(f, "CHAR({length})"),
            Self::Varchar(length) => write!(f, "VARCHAR({length})"),
            Self::Uuid => f.write_str("UUID"),
            Self::Text => f.write_str("TEXT"),
        }
    }
}

/// The JSON Schema types of a sub-schema, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const STRING: Self = Self(1);
    pub(super) const NUMBER: Self = Self(2);
    pub(super) const INTEGER: Self = Self(4);
    pub(super) const BOOLEAN: Self = Self(8);
    pub(super) const OBJECT: Self = Self(16);
    pub(super) const ARRAY: Self = Self(32);
    pub(super) const NULL: Self = Self(64);

    /// The set that the keyword `type` names; `None` for a wrong kind of value.
    pub(super) fn parse(value: &Value) -> Option<Self> {
        match value {
            Value::String(name) => Self::named(name),
            Value::Array(names) if !names.is_empty() => {
                names.iter().map(|name| Self::named(name.as_str()?)).try_fold(Self(0), |all, one| Some(all.with(one?)))
            }
            _ => None,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::STRING,
            "number" => Self::NUMBER,
            "integer" => Self::INTEGER,
            "boolean" => Self::BOOLEAN,
            "object" => Self::OBJECT,
            "array" => Self::ARRAY,
            "null" => Self::NULL,
            _ => return None,
        })
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn without_null(self) -> Self {
        Self(self.0 & !Self::NULL.0)
    }

    pub(super) fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Two or more types besides null, except exactly {integer, number}.
    pub(super) fn is_union(self) -> bool {
        let types = self.without_null();
        types.count() > 1 && types != Self::INTEGER.with(Self::NUMBER)
    }
}

/// The keywords of a leaf that decide its type.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Leaf<'a> {
    pub(super) types: Option<Types>,
    pub(super) values: Option<&'a [Value]>,
    pub(super) format: Option<&'a str>,
    pub(super) maximum: Option<&'a Value>,
    pub(super) multiple_of: Option<&'a Value>,
    pub(super) min_length: Option<u64>,
    pub(super) max_length: Option<u64>,
}

impl Leaf<'_> {
    /// The rules of section 4, in their order.
    pub(super) fn column_type(&self) -> ColumnType {
        let types = self.types.unwrap_or_default();
        let only = |one: Types| self.types.is_some() && types.without_null() == one;
        let values = || self.values.unwrap_or_default().iter().filter(|value| !value.is_null());

        let numbers = values().any(Value::is_number);
        let others = values().any(|value| !value.is_number());
        if values().any(Value::is_boolean) || (numbers && others) {
            return ColumnType::Jsonb;
        }
        if types.is_union() || types.contains(Types::ARRAY) {
            return ColumnType::Jsonb;
        }
        let string = only(Types::STRING);
        if string && self.format == Some("date-time") {
            return ColumnType::Timestamp;
        }
        if string && self.format == Some("date") {
            return ColumnType::Date;
        }
        let integers = |bits32: bool| {
            values().all(|value| value.as_i64().is_some_and(|value| !bits32 || i32::try_from(value).is_ok()))
        };
        if only(Types::INTEGER) {
            return match (self.maximum, self.values) {
                (Some(maximum), _) if exceeds_32_bits(maximum) => ColumnType::BigInt,
                (Some(_), _) => ColumnType::Integer,
                (None, None) => ColumnType::BigInt,
                (None, Some(_)) if integers(true) => ColumnType::Integer,
                (None, Some(_)) => ColumnType::BigInt,
            };
        }
        if self.types.is_none() && values().next().is_some() {
            if integers(true) {
                return ColumnType::Integer;
            }
            if integers(false) {
                return ColumnType::BigInt;
            }
        }
        if self.multiple_of.is_some_and(|value| whole(value).is_some()) {
            return ColumnType::Integer;
        }
        if only(Types::NUMBER) || only(Types::INTEGER.with(Types::NUMBER)) {
            return ColumnType::Double;
        }
        if only(Types::BOOLEAN) {
            return ColumnType::Boolean;
        }
        if string {
            match (self.min_length, self.max_length) {
                (Some(min), Some(max)) if min == max => return ColumnType::Char(length(max)),
                _ if self.format == Some("uuid") => return ColumnType::Uuid,
                (_, Some(max)) => return ColumnType::Varchar(length(max)),
                (_, None) if self.values.is_none() => return ColumnType::Varchar(4096),
                _ => {}
            }
        }
        if values().next().is_some()
            && let Some(longest) =
                values().try_fold(0, |longest, value| Some(value.as_str()?.encode_utf16().count().max(longest)))
        {
            return ColumnType::Varchar(length(longest as u64));
        }
        ColumnType::Jsonb
    }
}

/// A length that PostgreSQL accepts: 0 becomes 1, more than its limit the limit.
fn length(wanted: u64) -> u32 {
    u32::try_from(wanted.clamp(1, MAX_LENGTH)).unwrap_or(u32::MAX)
}

/// The value when it is a whole number (5 and 5.0 both are).
pub(super) fn whole(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.fract() == 0.0)
}

fn exceeds_32_bits(maximum: &Value) -> bool {
    whole(maximum).is_some_and(|maximum| maximum > f64::from(i32::MAX))
}
