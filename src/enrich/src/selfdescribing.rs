//! Reading values that name their schema (enrich-core 5.2).

use std::collections::HashMap;

use snowmelt_iglu::{ParseError, SchemaKey};
use snowmelt_protocol::document::Node;

/// Keys by the text of their URI: events name the same few schemas over and over.
#[derive(Debug, Default)]
pub(crate) struct KeyCache {
    keys: HashMap<Box<str>, SchemaKey, ahash::RandomState>,
}

/// More URIs than any site has schemas; beyond it somebody makes them up.
const MAX_KEYS: usize = 4_096;

impl KeyCache {
    pub(crate) fn parse(&mut self, uri: &str) -> Result<SchemaKey, ParseError> {
        if let Some(key) = self.keys.get(uri) {
            return Ok(key.clone());
        }
        let key: SchemaKey = uri.parse()?;
        if self.keys.len() >= MAX_KEYS {
            self.keys.clear();
        }
        self.keys.insert(uri.into(), key.clone());
        Ok(key)
    }

    /// Schema and data of a self-describing value.
    pub(crate) fn read<'n>(&mut self, value: Node<'n>) -> Result<(SchemaKey, Node<'n>), ParseError> {
        // Both members are looked for in one walk; `data` counts first.
        let (mut schema, mut data) = (None, None);
        for (name, member) in value.named_members() {
            match name.bytes().as_ref() {
                b"schema" => schema = Some(member),
                b"data" => data = Some(member),
                _ => {}
            }
        }
        let data = data.ok_or(ParseError::DataPayload)?;
        let uri = schema.and_then(|schema| schema.as_str()).ok_or(ParseError::DataPayload)?;
        Ok((self.parse(&uri)?, data))
    }
}
