//! What is asked for: the tenant's secret, in several ways.

use std::io;

use axum::Router;
use axum::routing::get;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tenant_schemas::Result;
use tenant_schemas::web::{Site, TenantDb};
use tokio::net::TcpListener;

use crate::tenants::{Client, rooms, secret_of};

pub(crate) fn serve(
    listener: TcpListener,
    site: &Site<Client>,
) -> impl Future<Output = io::Result<()>> + use<> {
    let tenants = Router::new()
        .route("/secret", get(secret))
        .route("/slow", get(slow))
        .route("/write", get(write))
        .route("/move", get(moves))
        .route("/leak", get(leak));
    let routes = site.routes(Router::new(), tenants);
    async move { axum::serve(listener, routes).await }
}

async fn secret(db: TenantDb) -> Result<String> {
    db.run(|conn| Ok(secret_of(conn)?)).await
}

/// Long enough to be killed, or left, in the middle.
async fn slow(db: TenantDb) -> Result<String> {
    db.run(|conn| {
        conn.batch_execute("SELECT pg_sleep(0.02)")?;
        Ok(secret_of(conn)?)
    })
    .await
}

/// Writes, and reads what it wrote to, in a transaction.
async fn write(db: TenantDb) -> Result<String> {
    db.transaction(|conn| {
        let name = diesel::update(rooms::table.find(1))
            .set(rooms::visits.eq(rooms::visits + 1))
            .returning(rooms::name)
            .get_result(conn)?;
        Ok(name)
    })
    .await
}

/// Moves the path to another tenant by hand, which must not count.
async fn moves(db: TenantDb) -> Result<String> {
    db.run(|conn| {
        conn.batch_execute("SET search_path TO staying_0")?;
        Ok(secret_of(conn)?)
    })
    .await
}

/// Another tenant's secret, on purpose: the control, of which each answer is wrong.
async fn leak(db: TenantDb) -> Result<String> {
    let other = match db.schema_name().as_str() {
        "staying_0" => "staying_1",
        _ => "staying_0",
    };
    let statement = format!("SELECT name FROM {other}.rooms WHERE id = 1");
    db.run(|conn| {
        let leaked: Leaked = diesel::sql_query(statement).get_result(conn)?;
        Ok(leaked.name)
    })
    .await
}

#[derive(QueryableByName)]
struct Leaked {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
}
