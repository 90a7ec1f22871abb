//! actix-web as a framework under test: the routes of the checks, and a server in a thread.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use actix_web::body::MessageBody;
use actix_web::dev::{ServerHandle, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{App, HttpMessage as _, HttpRequest, HttpResponse, HttpServer, rt};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use futures_util::stream;
use tenant_schemas::web::actix::{OriginalUri, public_only, tenants_only};
use tenant_schemas::web::{PublicDb, Site, Tenant, TenantDb, Visit};
use tenant_schemas::{Error, Result, TenantConnection};

use crate::support::{Client, plans, room, rooms, rooms_of};
use crate::world::{Framework, Served};

/// More than one, so that a tenant may be served by any of them.
const WORKERS: usize = 2;

/// A scope for the public, and one for tenants, behind [`Site::middleware`].
pub(super) struct Actix;

impl Framework for Actix {
    fn serve(site: Site<Client>) -> Served {
        serve(move || App::new().wrap(site.middleware()).configure(scopes))
    }
}

/// Serves an app on a port of its own.
pub(super) fn serve<F, S, B>(app: F) -> Served
where
    F: Fn() -> App<S> + Clone + Send + 'static,
    S: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let (started, is_started) = mpsc::channel();
    let thread = thread::spawn(move || {
        rt::System::new().block_on(async {
            let server = HttpServer::new(app)
                .workers(WORKERS)
                .disable_signals()
                .bind_auto_h2c(("127.0.0.1", 0))
                .expect("a port");
            let at = server.addrs()[0];
            let server = server.run();
            started.send((at, server.handle())).expect("awaited");
            server.await.expect("it served");
        });
    });
    let (at, handle): (SocketAddr, ServerHandle) = is_started.recv().expect("it started");
    let server = Running {
        handle,
        thread: Some(thread),
    };
    Served {
        at,
        server: Box::new(server),
    }
}

struct Running {
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.handle.stop(false)); // it is told already, and the thread waits
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ended well");
        }
    }
}

/// What [`Framework::serve`] says, in a scope for the public and one for tenants.
pub(super) fn scopes(config: &mut ServiceConfig) {
    let public = web::scope("").guard(public_only()).configure(public);
    let tenants = web::scope("").guard(tenants_only()).configure(tenants);
    config.service(public).service(tenants);
}

pub(super) fn public(config: &mut ServiceConfig) {
    config
        .route("/whoami", web::get().to(whoami))
        .route("/plans", web::get().to(names_of_plans))
        .route("/rooms", web::get().to(names_of_rooms))
        .route("/log", web::get().to(logs));
}

pub(super) fn tenants(config: &mut ServiceConfig) {
    config
        .route("/whoami", web::get().to(whoami))
        .route("/rooms", web::get().to(names_of_rooms))
        .route("/log", web::get().to(logs))
        .route("/panic", web::get().to(panics))
        .route("/panic-in-closure", web::get().to(panics_in_closure))
        .route("/add", web::get().to(add))
        .route("/add-and-fail", web::get().to(add_and_fail))
        .route("/hold", web::get().to(hold))
        .route("/move", web::get().to(moves))
        .route("/stream", web::get().to(streams))
        .route("/spawn", web::get().to(spawns))
        .route("/original", web::get().to(original))
        .route("/echo", web::post().to(echo));
}

async fn whoami(
    visit: Visit<Client>,
    tenant: Option<Tenant<Client>>,
    request: HttpRequest,
) -> String {
    let who = match (visit, tenant) {
        (Visit::Tenant(visitor), Some(tenant)) => {
            assert_eq!(*visitor, *tenant);
            format!("tenant {}", tenant.schema_name)
        }
        (Visit::Public(_), None) => "public".to_owned(),
        (Visit::Bypassed, None) => "bypassed".to_owned(),
        other => panic!("{other:?}"),
    };
    format!("{who} {}", request.uri().path_and_query().expect("a path"))
}

async fn names_of_plans(db: PublicDb) -> Result<String> {
    db.run(|conn| {
        let names = plans::table.select(plans::name).order(plans::id);
        Ok(names.load::<String>(conn)?.join(","))
    })
    .await
}

async fn names_of_rooms(db: TenantDb) -> Result<String> {
    db.run(|conn| Ok(rooms_of(conn).join(","))).await
}

async fn logs(visit: Visit<Client>, public: PublicDb, request: HttpRequest) -> Result<String> {
    let mark = request.query_string().to_owned();
    tracing::info!("{mark} in the handler");
    let Visit::Tenant(_) = visit else {
        let in_closure = move |_: &mut TenantConnection| {
            log::info!("{mark} in a closure");
            Ok(String::new())
        };
        return public.run(in_closure).await;
    };
    let db = request.extensions().get::<TenantDb>().cloned();
    let db = db.expect("a tenant's");
    let afterwards = mark.clone();
    db.run(move |_| {
        log::info!("{mark} in a closure");
        Ok::<_, Error>(())
    })
    .await?;
    let task = rt::spawn(async move {
        db.run(move |_| {
            log::info!("{afterwards} afterwards");
            Ok::<_, Error>(String::new())
        })
        .await
    });
    task.await.expect("no panic")
}

async fn panics(_: TenantDb) -> String {
    panic!("a handler");
}

async fn panics_in_closure(db: TenantDb) -> Result<String> {
    db.transaction(|conn| {
        insert(conn, 9, "lost")?;
        panic!("a closure");
    })
    .await
}

async fn add(db: TenantDb) -> Result<String> {
    db.transaction(|conn| {
        insert(conn, 2, "added")?;
        Ok(rooms_of(conn).join(","))
    })
    .await
}

async fn add_and_fail(db: TenantDb) -> Result<String> {
    db.transaction(|conn| {
        insert(conn, 2, "added")?;
        Err(DieselError::RollbackTransaction.into())
    })
    .await
}

async fn hold(db: TenantDb) -> Result<String> {
    db.run(|conn| {
        conn.batch_execute("SELECT pg_advisory_lock(1); SELECT pg_advisory_unlock(1)")?;
        Ok(rooms_of(conn).join(","))
    })
    .await
}

async fn moves(db: TenantDb) -> Result<String> {
    db.run(|conn| {
        conn.batch_execute("SET search_path TO globex")?;
        Ok(rooms_of(conn).join(","))
    })
    .await
}

async fn streams(db: TenantDb) -> HttpResponse {
    let rooms = stream::unfold((db, 0), |(db, after)| async move {
        let next = db.run(move |conn| {
            let next = rooms::table.filter(rooms::id.gt(after)).order(rooms::id);
            Ok::<_, Error>(next.first::<(i32, String)>(conn).optional()?)
        });
        match next.await.transpose()? {
            Ok((id, name)) => Some((Ok(Bytes::from(name + ",")), (db, id))),
            Err(error) => Some((Err(error), (db, after))),
        }
    });
    HttpResponse::Ok().streaming(rooms)
}

async fn spawns(db: TenantDb) -> &'static str {
    rt::spawn(async move {
        let inserted = db.run(|conn| insert(conn, 3, "spawned"));
        inserted.await.expect("inserted");
    });
    ""
}

async fn original(original: OriginalUri, request: HttpRequest) -> String {
    format!("{} as {}", *original, request.uri())
}

async fn echo(tenant: Tenant<Client>, body: String) -> String {
    format!("{} got {body}", tenant.schema_name)
}

fn insert(conn: &mut TenantConnection, id: i32, name: &str) -> Result<()> {
    diesel::insert_into(rooms::table)
        .values(room(id, name))
        .execute(conn)?;
    Ok(())
}
