//! Keys: ours are stored as hashes; those of the original's table stay as they are and work.

use super::{Storage, StorageError, while_};
use crate::core::api_key::ApiKey;
use crate::core::permission::{Permission, SchemaAction, Scope};

impl Storage {
    /// Stores keys with their rights, all or none.
    ///
    /// # Errors
    /// [`StorageError`] when the database fails.
    pub async fn add_keys(&self, keys: &[(ApiKey, Permission)]) -> Result<(), StorageError> {
        let failed = while_("storing keys");
        let mut transaction = self.pool.begin().await.map_err(&failed)?;
        for (key, permission) in keys {
            let vendor = match &permission.scope {
                Scope::Nothing => None,
                scope => Some(scope.vendor()),
            };
            let key_actions: Vec<&str> = permission.keys.iter().map(|action| action.name()).collect();
            sqlx::query(
                "INSERT INTO snowmelt_iglu_keys (key_hash, vendor, wildcard, schema_action, key_action)
                 VALUES ($1, $2, $3, $4::text::schema_action, $5::text[]::key_action[])",
            )
            .bind(key.hash().0.as_slice())
            .bind(vendor)
            .bind(permission.scope != Scope::Nothing)
            .bind(permission.schema.map(SchemaAction::name))
            .bind(key_actions)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }

    /// Forgets a key, wherever it is kept. An unknown one is no mistake.
    ///
    /// # Errors
    /// [`StorageError`] when the database fails.
    pub async fn delete_key(&self, key: &ApiKey) -> Result<(), StorageError> {
        let failed = while_("deleting a key");
        let mut transaction = self.pool.begin().await.map_err(&failed)?;
        sqlx::query("DELETE FROM snowmelt_iglu_keys WHERE key_hash = $1")
            .bind(key.hash().0.as_slice())
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        sqlx::query("DELETE FROM iglu_permissions WHERE apikey = $1::text::uuid")
            .bind(key.reveal())
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)
    }
}
