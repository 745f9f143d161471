//! Making a lease table, and telling one from other tables. Spec: kinesis-leases 2.1, 18.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};
use snowmelt_leases::LeaseError;

use super::Table;
use crate::codec::attribute;
use crate::fault::Fault;

/// How long a table may take to become active.
const PATIENCE: Duration = Duration::from_secs(600);
/// Time between two looks at a table that is being made.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What there is under a table's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Described {
    /// Nothing.
    Missing,
    /// A lease table that can't be used yet.
    NotYet,
    /// A lease table.
    Ready,
    /// A table of something else: its keys.
    Other(String),
}

impl Table {
    /// Looks at the table.
    pub async fn describe(&self) -> Result<Described, Fault> {
        let table = match self.client.describe_table().table_name(&self.name).send().await {
            Ok(answer) => answer.table,
            Err(error) => match Fault::of(&self.name, &error) {
                Fault::NoTable { .. } => return Ok(Described::Missing),
                fault => return Err(fault),
            },
        };
        let Some(table) = table else { return Ok(Described::Missing) };
        let keys = table.key_schema.unwrap_or_default();
        let types = table.attribute_definitions.unwrap_or_default();
        let is_text = types
            .iter()
            .any(|known| known.attribute_name == attribute::KEY && known.attribute_type == ScalarAttributeType::S);
        let fits = matches!(&keys[..], [key] if key.attribute_name == attribute::KEY && key.key_type == KeyType::Hash);
        // An emulator may leave the keys out while the table is being made.
        if !keys.is_empty() && !(fits && is_text) {
            let names: Vec<String> = keys.into_iter().map(|key| key.attribute_name).collect();
            return Ok(Described::Other(names.join(", ")));
        }
        Ok(match table.table_status {
            Some(TableStatus::Active | TableStatus::Updating) => Described::Ready,
            _ => Described::NotYet,
        })
    }

    /// Makes sure that the lease table is there: makes it if it is missing and `create` says so, and waits until it can be used.
    ///
    /// # Errors
    /// [`LeaseError::Invalid`] for a table of something else, [`LeaseError::Unavailable`] when it is missing or stays unusable.
    pub async fn ensure(&self, app: &str, create: bool) -> Result<(), LeaseError> {
        let since = Instant::now();
        let mut asked = false;
        loop {
            match self.describe().await.map_err(|fault| fault.of_lease(app))? {
                Described::Ready => return Ok(()),
                Described::Other(keys) => {
                    let reason = format!(
                        "table {} is no lease table: its key is {keys}, not {} alone",
                        self.name,
                        attribute::KEY
                    );
                    return Err(LeaseError::Invalid { app: app.to_owned(), reason });
                }
                Described::Missing if !create => {
                    let reason = format!("table {} does not exist", self.name);
                    return Err(LeaseError::Unavailable { app: app.to_owned(), reason });
                }
                Described::Missing if !asked => {
                    self.make().await.map_err(|fault| fault.of_lease(app))?;
                    asked = true;
                    // Many emulators are ready at once.
                    continue;
                }
                Described::Missing | Described::NotYet => {}
            }
            if since.elapsed() > PATIENCE {
                let reason = format!("table {} is not active after {} s", self.name, PATIENCE.as_secs());
                return Err(LeaseError::Unavailable { app: app.to_owned(), reason });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Asks for the table; somebody else having done so is as good.
    async fn make(&self) -> Result<(), Fault> {
        let build = |error: aws_sdk_dynamodb::error::BuildError| Fault::Refused {
            table: self.name.clone(),
            reason: error.to_string(),
        };
        let key = KeySchemaElement::builder().attribute_name(attribute::KEY).key_type(KeyType::Hash);
        let kind = AttributeDefinition::builder().attribute_name(attribute::KEY).attribute_type(ScalarAttributeType::S);
        let made = self
            .client
            .create_table()
            .table_name(&self.name)
            .key_schema(key.build().map_err(build)?)
            .attribute_definitions(kind.build().map_err(build)?)
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await;
        match made {
            Ok(_) => {
                tracing::info!(table = self.name, "lease table made");
                Ok(())
            }
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => Ok(()),
            Err(error) => Err(Fault::of(&self.name, &error)),
        }
    }
}
