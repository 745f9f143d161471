//! Names of tables and columns (spec schema-ddl-postgres, section 2), and their quoting.

/// PostgreSQL cuts identifiers to this many bytes.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// `userID` to `user_id`: an underscore before the last capital of a run that a lower-case letter follows and between
/// lower-case letter or digit and capital; `-` becomes `_`; all lower case. Only ASCII letters are split.
#[must_use]
pub fn snake_case(name: &str) -> String {
    let mut split = String::with_capacity(name.len() + 8);
    let mut before: Option<char> = None;
    let mut chars = name.chars().peekable();
    while let Some(char) = chars.next() {
        if let Some(before) = before
            && char.is_ascii_uppercase()
        {
            let after_word = before.is_ascii_lowercase() || before.is_ascii_digit();
            let starts_word = before.is_ascii_uppercase() && chars.peek().is_some_and(char::is_ascii_lowercase);
            if after_word || starts_word {
                split.push('_');
            }
        }
        split.push(if char == '-' { '_' } else { char });
        before = Some(char);
    }
    split.to_lowercase()
}

/// Name of the table that all versions of one model share, uncut: `com_acme_ad_click_1`.
#[must_use]
pub fn table_name(vendor: &str, name: &str, model: u32) -> String {
    let vendor = vendor.replace(['.', '-'], "_").to_lowercase();
    format!("{vendor}_{}_{model}", snake_case(name))
}

/// Name of the column of a property, uncut: the path in snake case, joined with dots.
#[must_use]
pub fn column_name<S: AsRef<str>>(path: &[S]) -> String {
    let mut name = String::new();
    for (depth, property) in path.iter().enumerate() {
        if depth > 0 {
            name.push('.');
        }
        name.push_str(&snake_case(property.as_ref()));
    }
    name
}

/// The name as PostgreSQL keeps it: its first 63 bytes, never half a character. When `taken` says that another owner
/// has that name, the end is replaced by a hash of the whole name.
#[must_use]
pub fn stored_name(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let cut = cut(name, MAX_IDENTIFIER_BYTES);
    if !taken(cut) {
        return cut.to_owned();
    }
    let hash = fnv1a(name.as_bytes());
    format!("{}_{hash:08x}", self::cut(name, MAX_IDENTIFIER_BYTES - 9))
}

fn cut(name: &str, bytes: usize) -> &str {
    &name[..name.floor_char_boundary(bytes)]
}

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// `"name"`, with quotes inside doubled: safe for every text without U+0000.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The name as it stands where the original quotes nothing; quoted only when it has to be.
#[must_use]
pub fn quote_if_needed(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && RESERVED.binary_search(&name).is_err() { name.to_owned() } else { quote_identifier(name) }
}

/// Words that PostgreSQL 15 takes as no table or schema name, sorted.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "binary",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "natural",
    "not",
    "notnull",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "overlaps",
    "placing",
    "primary",
    "references",
    "returning",
    "right",
    "select",
    "session_user",
    "similar",
    "some",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_where_words_begin() {
        for (name, expected) in [
            ("userId", "user_id"),
            ("userID", "user_id"),
            ("pageURLPath", "page_url_path"),
            ("kebab-case", "kebab_case"),
            ("HTTPServer2xx", "http_server2xx"),
            ("iPhone", "i_phone"),
            ("ABTest", "ab_test"),
            ("v2Name", "v2_name"),
            ("With Space", "with space"),
            ("ÄpfelBaum", "äpfel_baum"),
        ] {
            assert_eq!(snake_case(name), expected);
        }
    }

    #[test]
    fn long_names_are_cut_between_characters_and_hashed_when_taken() {
        let long = "ä".repeat(40);
        assert_eq!(stored_name(&long, |_| false), "ä".repeat(31));
        let hashed = stored_name(&long, |name| name == "ä".repeat(31));
        assert!(hashed.len() <= 63 && hashed.starts_with("ää") && hashed != "ä".repeat(31));
        assert_eq!(stored_name("short", |_| false), "short");
    }

    #[test]
    fn only_names_that_need_it_are_quoted() {
        assert_eq!(quote_if_needed("atomic"), "atomic");
        assert_eq!(quote_if_needed("user"), "\"user\"");
        assert_eq!(quote_if_needed("My\"s"), "\"My\"\"s\"");
        assert!(RESERVED.is_sorted());
    }
}
