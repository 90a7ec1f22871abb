//! The routes of the checks.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::OriginalUri;
use axum::response::Response;
use axum::routing::get;
use diesel::prelude::*;
use futures_util::stream;
use hyper::Uri;
use tenant_schemas::web::{PublicDb, Site, Tenant, TenantDb, Visit};
use tenant_schemas::{Error, Result};
use tower_http::catch_panic::CatchPanicLayer;

use crate::support::{Client, plans, room, rooms, rooms_of};
use crate::world::{Framework, Served};

pub(super) struct Axum;

impl Framework for Axum {
    fn serve(site: Site<Client>) -> Served {
        serve(
            site.routes(public(), tenants())
                .layer(CatchPanicLayer::new()),
        )
    }
}

/// Serves these routes on a port, and a runtime, of their own.
pub(super) fn serve(routes: Router) -> Served {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let at = listener.local_addr().expect("an address");
    runtime.spawn(std::future::IntoFuture::into_future(axum::serve(
        listener, routes,
    )));
    Served {
        at,
        server: Box::new(runtime),
    }
}

pub(super) fn public() -> Router {
    Router::new()
        .route("/whoami", get(whoami))
        .route("/plans", get(names_of_plans))
        .route("/rooms", get(names_of_rooms))
        .route("/log", get(logs))
}

pub(super) fn tenants() -> Router {
    Router::new()
        .route("/whoami", get(whoami))
        .route("/rooms", get(names_of_rooms))
        .route("/log", get(logs))
        .route("/panic", get(panics))
        .route("/panic-in-closure", get(panics_in_closure))
        .route("/add", get(add))
        .route("/add-and-fail", get(add_and_fail))
        .route("/hold", get(hold))
        .route("/move", get(moves))
        .route("/stream", get(streams))
        .route("/spawn", get(spawns))
        .route("/original", get(original))
}

async fn whoami(visit: Visit<Client>, tenant: Option<Tenant<Client>>, uri: Uri) -> String {
    let who = match (visit, tenant) {
        (Visit::Tenant(visitor), Some(tenant)) => {
            assert_eq!(*visitor, *tenant);
            format!("tenant {}", tenant.schema_name)
        }
        (Visit::Public(_), None) => "public".to_owned(),
        (Visit::Bypassed, None) => "bypassed".to_owned(),
        other => panic!("{other:?}"),
    };
    format!("{who} {uri}")
}

async fn names_of_rooms(db: TenantDb) -> Result<String> {
    db.run(|conn| Ok(rooms_of(conn).join(","))).await
}

async fn names_of_plans(db: PublicDb) -> Result<String> {
    let read = |conn: &mut _| plans::table.select(plans::name).order(plans::id).load(conn);
    Ok(db
        .run(move |conn| Ok::<Vec<String>, Error>(read(conn)?))
        .await?
        .join(","))
}

async fn logs(tenant: Option<TenantDb>, public: PublicDb, uri: Uri) -> Result<()> {
    let mark = uri.query().unwrap_or_default().to_owned();
    tracing::info!("{mark} in the handler");
    match tenant {
        None => {
            let in_closure = move |_: &mut _| {
                log::info!("{mark} in a closure");
                Ok(())
            };
            public.run(in_closure).await
        }
        Some(db) => {
            let afterwards = mark.clone();
            let in_closure = move |_: &mut _| {
                log::info!("{mark} in a closure");
                Ok::<_, Error>(())
            };
            db.run(in_closure).await?;
            let task = tokio::spawn(async move {
                db.run(move |_| {
                    log::info!("{afterwards} afterwards");
                    Ok::<_, Error>(())
                })
                .await
            });
            task.await.expect("no panic")
        }
    }
}

async fn panics(_: TenantDb) {
    panic!("a handler");
}

async fn panics_in_closure(db: TenantDb) -> Result<()> {
    db.transaction(|conn| {
        diesel::insert_into(rooms::table)
            .values(room(9, "lost"))
            .execute(conn)?;
        panic!("a closure")
    })
    .await
}

async fn add(db: TenantDb) -> Result<String> {
    db.transaction(|conn| {
        diesel::insert_into(rooms::table)
            .values(room(2, "added"))
            .execute(conn)?;
        Ok(rooms_of(conn).join(","))
    })
    .await
}

async fn add_and_fail(db: TenantDb) -> Result<String> {
    db.transaction(|conn| {
        diesel::insert_into(rooms::table)
            .values(room(2, "added"))
            .execute(conn)?;
        Err(diesel::result::Error::RollbackTransaction.into())
    })
    .await
}

async fn hold(db: TenantDb) -> Result<String> {
    db.run(|conn| {
        diesel::sql_query("SELECT pg_advisory_lock(1)").execute(conn)?;
        diesel::sql_query("SELECT pg_advisory_unlock(1)").execute(conn)?;
        Ok(rooms_of(conn).join(","))
    })
    .await
}

async fn moves(db: TenantDb) -> Result<String> {
    db.run(|conn| {
        diesel::sql_query("SET search_path TO globex").execute(conn)?;
        Ok(rooms_of(conn).join(","))
    })
    .await
}

async fn streams(db: TenantDb) -> Response {
    let rooms = stream::unfold((db, 0), |(db, after)| async move {
        let next = db
            .run(move |conn| {
                let next = rooms::table.filter(rooms::id.gt(after)).order(rooms::id);
                Ok::<_, Error>(next.first::<(i32, String)>(conn).optional()?)
            })
            .await
            .expect("read");
        next.map(|(id, name)| (Ok::<_, Infallible>(name + ","), (db, id)))
    });
    Response::new(Body::from_stream(rooms))
}

async fn spawns(db: TenantDb) {
    tokio::spawn(async move {
        db.run(|conn| {
            diesel::insert_into(rooms::table)
                .values(room(3, "spawned"))
                .execute(conn)?;
            Ok::<_, Error>(())
        })
        .await
        .expect("inserted");
    });
}

async fn original(OriginalUri(original): OriginalUri, uri: Uri) -> String {
    format!("{original} as {uri}")
}
