//! What the console shows of the fleet, in a constant number of statements.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text};
use serde::Serialize;
use tenant_schemas::web::PublicDb;
use tenant_schemas::{BoxError, TenantConnection};

use crate::error::PageError;
use crate::models::Hotel;
use crate::progress::in_words;
use crate::public::Sign;
use crate::state::App;

/// The fleet as the console shows it.
#[derive(Debug, Serialize)]
pub(super) struct Fleet {
    hotels: Vec<Line>,
    suspended: usize,
    bytes: i64,
    /// How many hotels lack something.
    behind: usize,
    /// What some of them lack: the migration in words, and how many lack it.
    pending: Vec<(String, usize)>,
}

/// A hotel as the console shows it.
#[derive(Debug, Serialize)]
struct Line {
    schema: String,
    sign: Sign,
    bytes: i64,
    applied: usize,
    pending: usize,
    exists: bool,
    last_migrated: Option<String>,
}

#[derive(QueryableByName)]
struct Size {
    #[diesel(sql_type = Text)]
    schema: String,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

/// One statement for all schemas, whatever their number.
const SIZES: &str = "\
    SELECT n.nspname::text AS schema, sum(pg_total_relation_size(c.oid))::bigint AS bytes \
    FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'm') \
    GROUP BY n.nspname";

fn sizes(conn: &mut TenantConnection, schemas: &[String]) -> QueryResult<HashMap<String, i64>> {
    let sizes: Vec<Size> = diesel::sql_query(SIZES)
        .bind::<Array<Text>, _>(schemas)
        .load(conn)?;
    let pairs = sizes.into_iter().map(|size| (size.schema, size.bytes));
    Ok(pairs.collect())
}

pub(super) async fn look(app: &App, db: &PublicDb) -> Result<Fleet, PageError> {
    let tenancy = app.tenancy.clone();
    // It takes connections of its own, and blocks.
    let status = tokio::task::spawn_blocking(move || tenancy.status())
        .await
        .map_err(|died| PageError::Failed(BoxError::from(died)))??;
    let schemas: Vec<_> = status
        .tenants
        .iter()
        .map(|t| t.schema.to_string())
        .collect();
    let (mut hotels, sizes) = db
        .run(move |conn| {
            let hotels = crate::schema::hotels::table
                .select(Hotel::as_select())
                .load(conn)?;
            let hotels = hotels.into_iter().map(|h| (h.schema_name.to_string(), h));
            let hotels: HashMap<String, Hotel> = hotels.collect();
            Ok::<_, PageError>((hotels, sizes(conn, &schemas)?))
        })
        .await?;
    let lines: Vec<Line> = status
        .tenants
        .iter()
        .filter_map(|tenant| {
            let schema = tenant.schema.to_string();
            let hotel = hotels.remove(&schema)?; // one that was opened just now is shown the next time
            let time = tenant.last_migrated.map(DateTime::<Utc>::from);
            Some(Line {
                sign: Sign::of(&hotel, &app.address),
                bytes: sizes.get(&schema).copied().unwrap_or_default(),
                applied: tenant.applied,
                pending: tenant.pending.len(),
                exists: tenant.exists,
                last_migrated: time.map(|time| time.format("%-d %b, %H:%M").to_string()),
                schema,
            })
        })
        .collect();
    let pending = status.pending().into_iter();
    Ok(Fleet {
        suspended: lines.iter().filter(|line| line.sign.suspended).count(),
        bytes: lines.iter().map(|line| line.bytes).sum(),
        behind: lines.iter().filter(|line| line.pending > 0).count(),
        pending: pending
            .map(|(id, lack)| (in_words(&id.name), lack))
            .collect(),
        hotels: lines,
    })
}
