//! Looking for an application's table, and making it, apart from any claim.

use snowmelt_leases::LeaseError;

use crate::DynamoLeases;
use crate::ops::table::Described;

impl DynamoLeases {
    /// Whether the application's lease table is there.
    ///
    /// # Errors
    /// [`LeaseError::Invalid`] when there is a table of its name that is none of the Kinesis Client Library's;
    /// [`LeaseError::Unavailable`] when the service does not say.
    pub async fn table_exists(&self, app: &str) -> Result<bool, LeaseError> {
        let table = self.table_of(app);
        let name = app.to_owned();
        self.run(app, async move {
            match table.describe().await.map_err(|fault| fault.of_lease(&name))? {
                Described::Missing => Ok(false),
                _ => table.ensure(&name, false).await.map(|()| true),
            }
        })
        .await
    }

    /// Makes the application's lease table unless it is there, and waits until it can be used.
    ///
    /// # Errors
    /// As [`DynamoLeases::table_exists`].
    pub async fn create_table(&self, app: &str) -> Result<(), LeaseError> {
        let table = self.table_of(app);
        let name = app.to_owned();
        self.run(app, async move { table.ensure(&name, true).await }).await
    }
}
