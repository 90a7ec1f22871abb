//! Two hotels with the same keys, a site over them, a server for each test.

use std::any::Any;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tenant_schemas::TenancyBuilder;
use tenant_schemas::web::{Site, SiteBuilder};

use crate::http::{self, Answer};
use crate::support::{Client, Db, client, customers, hotels, insert_room, rooms_of};

/// The connections of a world's pool.
pub(crate) const POOL: u32 = 4;

/// A web framework under test.
pub(crate) trait Framework {
    /// Serves the routes of the checks, on a port of its own.
    ///
    /// Where a tenant is, with its schema and the path as it was routed:
    ///
    /// - `/whoami` answers `tenant acme /whoami?query`;
    /// - `/rooms` the names of the tenant's rooms, read through `TenantDb`, with `,` between them;
    /// - `/panic` panics in the handler, `/panic-in-closure` in the closure that has a connection;
    /// - `/add` inserts the room 2, `added`, and reads all of them, in one transaction;
    /// - `/add-and-fail` inserts it and fails with `diesel::result::Error::RollbackTransaction`, in one;
    /// - `/hold` takes the lock 1 (`pg_advisory_lock`), gives it back, and answers with the rooms;
    /// - `/move` sends `SET search_path TO globex` of its own and answers with the rooms;
    /// - `/stream` streams the rooms: a query for each, after the handler returned;
    /// - `/spawn` answers at once, and a task of its own then inserts the room 3, `spawned`.
    ///
    /// Where none is:
    ///
    /// - `/whoami` answers `public /whoami?query`, or `bypassed /whoami?query`;
    /// - `/plans` the names of the plans, read through `PublicDb`, with `,` between them;
    /// - `/rooms` is what the framework answers where `TenantDb` is asked for and is not there.
    fn serve(site: Site<Client>) -> Served;
}

/// A server. It ends when dropped.
pub(crate) struct Served {
    pub(crate) at: SocketAddr,
    #[expect(dead_code, reason = "to be dropped")]
    pub(crate) server: Box<dyn Any>,
}

impl Served {
    #[track_caller]
    pub(crate) fn get(&self, host: &str, path: &str) -> Answer {
        http::get(self.at, host, path)
    }
}

/// A database with the hotels `acme` and `globex`, and the public tenant at `my-domain.com`.
///
/// Each hotel has the room 1, of which the name is its own.
pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) acme: Client,
    pub(crate) globex: Client,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(
        build: impl FnOnce(TenancyBuilder<Client>) -> TenancyBuilder<Client>,
    ) -> Self {
        let db = Db::with(|builder| build(builder.app(customers()).app(hotels()).pool_size(POOL)));
        let mut public = client("public");
        "my-domain.com".clone_into(&mut public.domain_url);
        tenant_schemas::Lifecycle::save(&mut public, &mut db.tenancy.public().expect("public"))
            .expect("the public tenant is saved");
        let [acme, globex] = db.tenants(["acme", "globex"]);
        for tenant in [&acme, &globex] {
            let mut conn = db.tenancy.tenant(tenant).expect("a connection");
            insert_room(&mut conn, 1, &secret(tenant));
        }
        Self { db, acme, globex }
    }

    pub(crate) fn site(&self) -> SiteBuilder<Client> {
        Site::builder(&self.db.tenancy)
    }

    /// Waits until every connection is back, and expects each to be usable for each tenant.
    #[track_caller]
    pub(crate) fn pool_is_clean(&self) {
        let pool = self.db.tenancy.pool();
        let patience = Instant::now() + Duration::from_mins(1);
        loop {
            let state = pool.state();
            if state.idle_connections == state.connections {
                break;
            }
            assert!(Instant::now() < patience, "not all came back: {state:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        for tenant in [&self.acme, &self.globex, &self.acme] {
            let mut all: Vec<_> = (0..pool.max_size())
                .map(|_| self.db.tenancy.tenant(tenant).expect("a connection"))
                .collect();
            for conn in &mut all {
                let rooms = rooms_of(conn);
                assert_eq!(rooms[0], secret(tenant), "{rooms:?}");
                assert!(
                    !rooms.contains(&secret(self.other_than(tenant))),
                    "{rooms:?}"
                );
            }
        }
    }

    fn other_than(&self, tenant: &Client) -> &Client {
        if *tenant == self.acme {
            &self.globex
        } else {
            &self.acme
        }
    }
}

/// The name of the room 1 of a hotel.
pub(crate) fn secret(tenant: &Client) -> String {
    format!("{}'s own", tenant.schema_name)
}
