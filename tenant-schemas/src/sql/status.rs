//! The statement of [`Tenancy::status`](crate::Tenancy::status).

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::{STATE, within};
use crate::name::SchemaName;

/// When each schema's ledger last changed, by the schema's name.
pub(crate) fn last_migrated(
    conn: &mut PgConnection,
    public: &SchemaName,
) -> QueryResult<HashMap<String, SystemTime>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        schema_name: String,
        #[diesel(sql_type = BigInt)]
        microseconds: i64,
    }
    let rows: Vec<Row> = diesel::sql_query(format!(
        "SELECT s.schema_name, (EXTRACT(epoch FROM s.updated_at) * 1000000)::bigint AS microseconds \
         FROM {} AS s JOIN pg_catalog.pg_namespace AS n \
         ON n.nspname = s.schema_name AND n.oid = s.schema_oid",
        within(public, STATE)
    ))
    .load(conn)?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let since = Duration::from_micros(u64::try_from(row.microseconds).unwrap_or(0));
            (row.schema_name, SystemTime::UNIX_EPOCH + since)
        })
        .collect())
}
