//! actix-web as a framework under test: the routes of the checks, and a server in a thread.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use actix_web::body::MessageBody;
use actix_web::dev::{ServerHandle, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use futures_util::stream;
use tenant_schemas::web::{PublicDb, Site, TenantDb, Visit};
use tenant_schemas::{Error, Result, TenantConnection};

use crate::support::{Client, insert_room, plans, rooms, rooms_of};
use crate::world::{Framework, Served};

/// More than one, so that a tenant may be served by any of them.
const WORKERS: usize = 2;

/// The routes of the checks behind [`Site::middleware`].
pub(crate) struct Actix;

impl Framework for Actix {
    fn serve(site: Site<Client>) -> Served {
        serve(move || App::new().wrap(site.middleware()).configure(routes))
    }
}

/// Serves an app on a port of its own.
pub(crate) fn serve<F, S, B>(app: F) -> Served
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

/// What [`Framework::serve`] says.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/whoami", web::get().to(whoami))
        .route("/plans", web::get().to(read_plans))
        .route("/rooms", web::get().to(read_rooms))
        .route("/panic", web::get().to(panic))
        .route("/panic-in-closure", web::get().to(panic_in_closure))
        .route("/add", web::get().to(add))
        .route("/add-and-fail", web::get().to(add_and_fail))
        .route("/hold", web::get().to(hold))
        .route("/move", web::get().to(move_away))
        .route("/stream", web::get().to(stream_rooms))
        .route("/spawn", web::get().to(spawn));
}

pub(crate) async fn whoami(visit: Visit<Client>, request: HttpRequest) -> String {
    let uri = request.uri();
    match visit {
        Visit::Tenant(client) => format!("tenant {} {uri}", client.schema_name),
        Visit::Public(_) => format!("public {uri}"),
        Visit::Bypassed => format!("bypassed {uri}"),
        other => format!("{other:?}"),
    }
}

pub(crate) async fn read_plans(db: PublicDb) -> Result<String> {
    db.run(|conn| {
        let names = plans::table.select(plans::name).order(plans::id);
        Ok(names.load::<String>(conn)?.join(","))
    })
    .await
}

pub(crate) async fn read_rooms(db: TenantDb) -> Result<String> {
    db.run(|conn| Ok(listed(conn))).await
}

pub(crate) async fn panic(db: TenantDb) -> Result<String> {
    db.run(|conn| Ok::<_, Error>(listed(conn))).await?;
    panic!("in the handler");
}

pub(crate) async fn panic_in_closure(db: TenantDb) -> Result<String> {
    db.transaction(|conn| {
        add_room(conn);
        panic!("in the closure");
    })
    .await
}

async fn add(db: TenantDb) -> Result<String> {
    db.transaction(|conn| {
        add_room(conn);
        Ok(listed(conn))
    })
    .await
}

async fn add_and_fail(db: TenantDb) -> Result<String> {
    db.transaction(|conn| {
        add_room(conn);
        Err(DieselError::RollbackTransaction.into())
    })
    .await
}

async fn hold(db: TenantDb) -> Result<String> {
    db.run(|conn| {
        conn.batch_execute("SELECT pg_advisory_lock(1); SELECT pg_advisory_unlock(1)")?;
        Ok(listed(conn))
    })
    .await
}

async fn move_away(db: TenantDb) -> Result<String> {
    db.run(|conn| {
        conn.batch_execute("SET search_path TO globex")?;
        Ok(listed(conn))
    })
    .await
}

async fn stream_rooms(db: TenantDb) -> HttpResponse {
    let each = stream::unfold((db, 0), |(db, offset)| async move {
        let next = db.run(move |conn| {
            let names = rooms::table.select(rooms::name).order(rooms::id);
            let next: Option<String> = names.offset(offset).first(conn).optional()?;
            Ok::<_, Error>(next)
        });
        let next = next.await.transpose()?;
        Some((next.map(Bytes::from), (db, offset + 1)))
    });
    HttpResponse::Ok().streaming(each)
}

async fn spawn(db: TenantDb) -> &'static str {
    rt::spawn(async move {
        let inserted = db.run(|conn| {
            insert_room(conn, 3, "spawned");
            Ok::<_, Error>(())
        });
        inserted.await.expect("inserted");
    });
    "at once"
}

fn listed(conn: &mut TenantConnection) -> String {
    rooms_of(conn).join(",")
}

fn add_room(conn: &mut TenantConnection) {
    insert_room(conn, 2, "added");
}
