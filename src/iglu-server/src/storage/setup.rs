//! Tables and triggers (iglu-server spec, section 14).

use sqlx::AssertSqlSafe;

use super::{LOCKS, Storage, StorageError, while_};

/// The original's types and tables, and the columns it added later.
const ORIGINAL: &str = "
DO $$ BEGIN
    IF to_regtype('key_action') IS NULL THEN
        CREATE TYPE key_action AS ENUM ('CREATE', 'DELETE');
    END IF;
    IF to_regtype('schema_action') IS NULL THEN
        CREATE TYPE schema_action AS ENUM ('READ', 'BUMP', 'CREATE', 'CREATE_VENDOR');
    END IF;
END $$;
CREATE TABLE IF NOT EXISTS iglu_permissions (
    apikey UUID NOT NULL,
    vendor VARCHAR(128),
    wildcard BOOL NOT NULL,
    schema_action schema_action,
    key_action key_action[] NOT NULL,
    PRIMARY KEY (apikey)
);
CREATE TABLE IF NOT EXISTS iglu_schemas (
    vendor VARCHAR(128) NOT NULL,
    name VARCHAR(128) NOT NULL,
    format VARCHAR(128) NOT NULL,
    model INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    addition INTEGER NOT NULL,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    is_public BOOLEAN NOT NULL,
    body JSON NOT NULL,
    superseded_by VARCHAR(32),
    supersedes VARCHAR(32)[]
);
ALTER TABLE iglu_schemas ADD COLUMN IF NOT EXISTS superseded_by VARCHAR(32);
ALTER TABLE iglu_schemas ADD COLUMN IF NOT EXISTS supersedes VARCHAR(32)[];
CREATE TABLE IF NOT EXISTS iglu_drafts (
    vendor VARCHAR(128) NOT NULL,
    name VARCHAR(128) NOT NULL,
    format VARCHAR(128) NOT NULL,
    version INTEGER NOT NULL,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    is_public BOOLEAN NOT NULL,
    body JSON NOT NULL
)";

/// Ours. Every change of schemas and keys, whoever makes it (the original too, or somebody by hand), takes the next
/// number, says what it touched, and is told to all who listen. The row of the number is locked until the change is
/// committed, so that numbers come in the order of the commits.
const OURS: &str = "
CREATE TABLE IF NOT EXISTS snowmelt_iglu_keys (
    key_hash BYTEA NOT NULL PRIMARY KEY,
    vendor VARCHAR(128),
    wildcard BOOL NOT NULL,
    schema_action schema_action,
    key_action key_action[] NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS snowmelt_iglu_state (
    only_row BOOL NOT NULL PRIMARY KEY DEFAULT TRUE CHECK (only_row),
    version BIGINT NOT NULL
);
INSERT INTO snowmelt_iglu_state (version) VALUES (0) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS snowmelt_iglu_changes (
    version BIGINT NOT NULL,
    what TEXT NOT NULL,
    vendor TEXT,
    name TEXT
);
CREATE INDEX IF NOT EXISTS snowmelt_iglu_changes_version ON snowmelt_iglu_changes (version);
CREATE OR REPLACE FUNCTION snowmelt_iglu_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    number BIGINT;
BEGIN
    UPDATE snowmelt_iglu_state SET version = version + 1 RETURNING version INTO number;
    IF TG_ARGV[0] = 'keys' THEN
        INSERT INTO snowmelt_iglu_changes VALUES (number, 'keys', NULL, NULL);
    ELSIF TG_OP = 'TRUNCATE' THEN
        INSERT INTO snowmelt_iglu_changes VALUES (number, 'all', NULL, NULL);
    ELSE
        IF TG_OP <> 'DELETE' THEN
            INSERT INTO snowmelt_iglu_changes VALUES (number, 'schemas', NEW.vendor, NEW.name);
        END IF;
        IF TG_OP <> 'INSERT' THEN
            INSERT INTO snowmelt_iglu_changes VALUES (number, 'schemas', OLD.vendor, OLD.name);
        END IF;
    END IF;
    DELETE FROM snowmelt_iglu_changes WHERE version < number - 5000;
    PERFORM pg_notify('snowmelt_iglu', number::text);
    RETURN NULL;
END $$;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'iglu_schemas'::regclass AND tgname = 'snowmelt_rows') THEN
        CREATE TRIGGER snowmelt_rows AFTER INSERT OR UPDATE OR DELETE ON iglu_schemas
            FOR EACH ROW EXECUTE FUNCTION snowmelt_iglu_changed('schemas');
        CREATE TRIGGER snowmelt_truncate AFTER TRUNCATE ON iglu_schemas
            FOR EACH STATEMENT EXECUTE FUNCTION snowmelt_iglu_changed('schemas');
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'iglu_permissions'::regclass AND tgname = 'snowmelt_rows') THEN
        CREATE TRIGGER snowmelt_rows AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON iglu_permissions
            FOR EACH STATEMENT EXECUTE FUNCTION snowmelt_iglu_changed('keys');
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'snowmelt_iglu_keys'::regclass AND tgname = 'snowmelt_rows') THEN
        CREATE TRIGGER snowmelt_rows AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON snowmelt_iglu_keys
            FOR EACH STATEMENT EXECUTE FUNCTION snowmelt_iglu_changed('keys');
    END IF;
END $$";

/// What the original lacks: without these, two of its servers can store one version twice.
const UNIQUE: [(&str, &str); 2] = [
    (
        "iglu_schemas",
        "CREATE UNIQUE INDEX IF NOT EXISTS iglu_schemas_identity
         ON iglu_schemas (vendor, name, format, model, revision, addition)",
    ),
    (
        "iglu_drafts",
        "CREATE UNIQUE INDEX IF NOT EXISTS iglu_drafts_identity ON iglu_drafts (vendor, name, format, version)",
    ),
];

impl Storage {
    /// Creates what is missing, alone among all who do so.
    pub(super) async fn set_up(&self) -> Result<(), StorageError> {
        let failed = while_("setting up the tables");
        let mut transaction = self.pool.begin().await.map_err(&failed)?;
        sqlx::query("SELECT pg_advisory_xact_lock($1, 0)")
            .bind(LOCKS)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        let found: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)")
            .bind(&self.schema)
            .fetch_one(&mut *transaction)
            .await
            .map_err(&failed)?;
        if !found {
            let create = format!("CREATE SCHEMA {}", snowmelt_iglu::ddl::quote_identifier(&self.schema));
            sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *transaction).await.map_err(&failed)?;
        }
        sqlx::raw_sql(ORIGINAL).execute(&mut *transaction).await.map_err(&failed)?;
        sqlx::raw_sql(OURS).execute(&mut *transaction).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        for (table, statement) in UNIQUE {
            match sqlx::raw_sql(statement).execute(&self.pool).await {
                Ok(_) => {}
                // The original has let duplicates in. Ours can't add any, and the latest of them counts.
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                    tracing::warn!(table, "holds rows with the same identity; remove all but one of each");
                }
                // Two servers that start at once.
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P07") => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}
