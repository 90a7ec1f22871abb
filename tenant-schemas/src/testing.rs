//! Databases and tenants for tests (feature `testing`).
//!
//! ```
//! use std::sync::LazyLock;
//!
//! use diesel::prelude::*;
//! use tenant_schemas::testing::TestTenancy;
//! use tenant_schemas::{SchemaName, TenantModel, shared_app, tenant_app};
//!
//! #[shared_app(migrations = "migrations/customers")]
//! struct Customers;
//!
//! #[tenant_app(migrations = "migrations/hotels")]
//! struct Hotels;
//! # diesel::table! { clients (id) { id -> Integer, schema_name -> Text, domain_url -> Text, name -> Text, on_trial -> Bool, } }
//! # diesel::table! { rooms (id) { id -> Integer, name -> Text, } }
//! # #[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
//! # #[diesel(table_name = clients)]
//! # struct Client { id: i32, schema_name: SchemaName, domain_url: String, name: String, #[tenant(default = true)] on_trial: bool }
//!
//! /// A database of its own, with the shared schema migrated: one for all tests of a program.
//! static TESTS: LazyLock<TestTenancy<Client>> = LazyLock::new(|| {
//!     TestTenancy::new(|builder| builder.app(Customers).app(Hotels)).expect("a database")
//! });
//!
//! fn client(schema: SchemaName, domain: String) -> Client {
//!     Client::new(schema, domain).name("Test")
//! }
//!
//! // #[test]
//! fn a_room_has_a_name() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut lease = TESTS.lease(client)?; // a tenant that is clean, and is again afterwards
//!     diesel::insert_into(rooms::table)
//!         .values((rooms::id.eq(1), rooms::name.eq("Blue")))
//!         .execute(lease.conn())?;
//!     assert_eq!(rooms::table.count().get_result(lease.conn()), Ok(1));
//!     Ok(())
//! }
//!
//! // #[test]
//! fn a_client_is_found_by_its_domain() -> Result<(), Box<dyn std::error::Error>> {
//!     use tenant_schemas::Lifecycle;
//!
//!     let acme = TESTS.tenant(client)?; // a tenant of the test's own, gone afterwards
//!     let mut conn = TESTS.tenancy().public()?;
//!     let found = Client::by_domain(&mut conn, &acme.domain_url)?;
//!     assert_eq!(found.map(|client| client.id), Some(acme.id));
//!     Ok(())
//! }
//! # a_room_has_a_name()?;
//! # a_room_has_a_name()?;
//! # a_client_is_found_by_its_domain()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which server
//!
//! The one that `DATABASE_URL` names, or a private one that all databases of
//! the process share and that is gone when the process is. Its role has to be
//! allowed to create databases. Databases that crashed tests left behind are
//! dropped when another process makes its first, once they are a minute old and
//! nobody is connected to them.
//!
//! # Which tenant
//!
//! [`TestTenancy::lease`] lends a tenant that was provisioned once, and a
//! connection in a transaction that is rolled back: for tests that need one
//! connection. [`TestTenancy::tenant`] provisions one and deletes it: for tests
//! that commit, use several connections, or are about tenants themselves.
//!
//! With 20 tables out of 12 migrations, on PostgreSQL 15 over a local socket:
//!
//! | a tenant | costs | and afterwards |
//! |---|---|---|
//! | provisioned | 137 ms | 16 ms |
//! | lent | 0.13 ms | 0.09 ms |
//! | provisioned ahead and renamed | 1.8 ms | 16 ms |
//!
//! Renaming ready-made schemas saves the wait and not the work: a used one is
//! dirty, and the next has to be provisioned. So it is not offered. The tables
//! are those of `tests/migrations/workload`, and this prints the numbers, also
//! for directories of yours:
//!
//! ```sh
//! cd tests/migrations/workload
//! cargo run --release -p tenant-schemas-tests --example tenants_for_tests shared crm billing projects
//! ```

use std::fmt;
use std::ops::Deref;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use diesel::Connection as _;
use diesel::pg::PgConnection;

use crate::builder::TenancyBuilder;
use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::pool::PooledConnection;
use crate::provision::{DeleteOptions, Lifecycle as _};
use crate::secret;
use crate::sql;
use crate::tenancy::Tenancy;

/// What the names of all databases for tests begin with.
const PREFIX: &str = "tenant_schemas_test_";

/// How old a database has to be, in seconds, before it can count as left behind.
const STALE: u64 = 60;

/// Numbers the databases and the tenants of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A database of its own, dropped with this value.
pub struct TestDatabase {
    server: String,
    name: String,
    /// Shows others that the database is in use. In a `Mutex`, so that threads can share it.
    _keeper: Mutex<PgConnection>,
}

impl TestDatabase {
    /// Makes an empty database.
    ///
    /// # Errors
    ///
    /// If there is no server, or it makes no database.
    pub fn new() -> Result<Self> {
        static SWEEP: Once = Once::new();
        let server = server_url()?;
        let mut conn = secret::connect(&server)?;
        SWEEP.call_once(|| sweep(&mut conn));
        let name = format!("{PREFIX}{}_{}_{}", now(), process::id(), next());
        sql::databases::create_database(&mut conn, &name)
            .map_err(|error| Error::database("making a database for tests", error))?;
        let mut keeper = secret::connect(&url_of(&server, &name))?;
        let there = sql::databases::current_database(&mut keeper)
            .map_err(|error| Error::database("looking at a database for tests", error))?;
        let database = Self {
            server,
            name,
            _keeper: Mutex::new(keeper),
        };
        // What comes next is not for a database of somebody else.
        if there != database.name {
            let message = format!(
                "the URL of database {} leads to {there}: name a database in the path of DATABASE_URL, and \
                 nowhere else",
                database.name
            );
            return Err(Error::TestServer(message.into()));
        }
        Ok(database)
    }

    /// The URL of the database.
    #[must_use]
    pub fn url(&self) -> String {
        url_of(&self.server, &self.name)
    }

    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Ok(mut conn) = PgConnection::establish(&self.server) {
            let _ = sql::databases::drop_database(&mut conn, &self.name, true);
        }
    }
}

impl fmt::Debug for TestDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestDatabase")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A tenancy over a database of its own, with the shared schema migrated.
///
/// It can be shared by all tests of a program, in a `LazyLock`.
#[derive(Debug)]
pub struct TestTenancy<T: TenantModel> {
    tenancy: Tenancy<T>,
    /// Tenants that wait for the next [`lease`](Self::lease).
    ready: Mutex<Vec<T>>,
    database: TestDatabase,
}

impl<T: TenantModel> TestTenancy<T> {
    /// Makes a database, builds the tenancy, migrates the shared schema.
    ///
    /// # Errors
    ///
    /// Whatever fails of that.
    pub fn new(build: impl FnOnce(TenancyBuilder<T>) -> TenancyBuilder<T>) -> Result<Self> {
        let database = TestDatabase::new()?;
        let tenancy = build(Tenancy::builder(database.url())).build()?;
        tenancy.migrate().shared().run()?.into_result()?;
        Ok(Self {
            tenancy,
            ready: Mutex::default(),
            database,
        })
    }

    /// The tenancy.
    pub fn tenancy(&self) -> &Tenancy<T> {
        &self.tenancy
    }

    /// The database.
    pub fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// Saves a tenant that nobody else has; it is deleted, with its schema, when it is dropped.
    ///
    /// `make` gets a schema name and a domain that are not taken.
    ///
    /// # Errors
    ///
    /// As [`save`](crate::Lifecycle::save).
    pub fn tenant(&self, make: impl FnOnce(SchemaName, String) -> T) -> Result<TestTenant<'_, T>> {
        let tenant = self.save(make)?;
        Ok(TestTenant {
            tests: self,
            tenant,
        })
    }

    /// Lends a tenant that earlier tests have used, or makes one, with a
    /// connection in a transaction that is rolled back in the end.
    ///
    /// Sequences are not rolled back; identifiers differ from test to test. What
    /// waits for a commit, such as a [`listener`](TenancyBuilder::listener), waits
    /// in vain. A tenant whose test has committed is not lent again.
    ///
    /// # Errors
    ///
    /// As [`save`](crate::Lifecycle::save).
    pub fn lease(&self, make: impl FnOnce(SchemaName, String) -> T) -> Result<Lease<'_, T>> {
        let ready = self.stash().pop();
        let tenant = match ready {
            Some(tenant) => tenant,
            None => self.save(make)?,
        };
        let mut conn = self.tenancy.tenant(&tenant)?;
        conn.begin_test_transaction()
            .map_err(|error| Error::database("beginning the test's transaction", error))?;
        Ok(Lease {
            tests: self,
            tenant: Some(tenant),
            conn: Some(conn),
        })
    }

    fn save(&self, make: impl FnOnce(SchemaName, String) -> T) -> Result<T> {
        let name = format!("test_{}_{}", process::id(), next());
        let domain = format!("{}.test", name.replace('_', "-"));
        let mut tenant = make(name.parse()?, domain);
        tenant.save(&mut *self.tenancy.public()?)?;
        Ok(tenant)
    }

    fn stash(&self) -> std::sync::MutexGuard<'_, Vec<T>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tenant of a test, deleted with its schema when this value is dropped.
#[derive(Debug)]
pub struct TestTenant<'a, T: TenantModel> {
    tests: &'a TestTenancy<T>,
    tenant: T,
}

impl<T: TenantModel> Deref for TestTenant<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.tenant
    }
}

impl<T: TenantModel> Drop for TestTenant<'_, T> {
    fn drop(&mut self) {
        if let Ok(mut conn) = self.tests.tenancy.public() {
            let options = DeleteOptions::new().auto_drop_schema(true);
            let _ = self.tenant.delete_with(&mut conn, options);
        }
    }
}

/// A tenant on loan, and a connection whose work is rolled back when this value is dropped.
#[derive(Debug)]
pub struct Lease<'a, T: TenantModel> {
    tests: &'a TestTenancy<T>,
    /// `None` once it is given back.
    tenant: Option<T>,
    conn: Option<PooledConnection>,
}

impl<T: TenantModel> Lease<'_, T> {
    /// The tenant.
    ///
    /// # Panics
    ///
    /// Never: the tenant is there until the lease ends.
    pub fn tenant(&self) -> &T {
        self.tenant.as_ref().expect("the lease has not ended")
    }

    /// The connection, in its transaction.
    ///
    /// # Panics
    ///
    /// Never: the connection is there until the lease ends.
    pub fn conn(&mut self) -> &mut TenantConnection {
        self.conn.as_mut().expect("the lease has not ended")
    }
}

impl<T: TenantModel> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        use diesel::connection::TransactionManager as _;

        let Some(mut conn) = self.conn.take() else {
            return;
        };
        // There is nothing to roll back if the test has committed.
        let rolled_back =
            crate::connection::TenantTransactionManager::rollback_transaction(&mut conn).is_ok();
        let clean = rolled_back && !conn.in_transaction();
        if clean {
            self.tests.stash().extend(self.tenant.take());
        } else {
            conn.condemn();
        }
    }
}

/// The server for tests: `DATABASE_URL`, or the private one of this process.
fn server_url() -> Result<String> {
    match std::env::var("DATABASE_URL") {
        Ok(url) if !url.is_empty() => Ok(url),
        _ => private_postgres::shared()
            .map(private_postgres::Server::url)
            .map_err(|error| Error::TestServer(error.into())),
    }
}

/// The URL of another database on the same server.
fn url_of(server: &str, database: &str) -> String {
    let Some((scheme, rest)) = server.split_once("://") else {
        // Key and value pairs: of two of a kind, libpq takes the last.
        return format!("{server} dbname={database}");
    };
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let host = address.split_once('/').map_or(address, |(host, _)| host);
    // That of the query would win.
    let others: Vec<&str> = query
        .split('&')
        .filter(|setting| !setting.is_empty() && !setting.starts_with("dbname="))
        .collect();
    let mark = if others.is_empty() { "" } else { "?" };
    format!("{scheme}://{host}/{database}{mark}{}", others.join("&"))
}

/// Drops the databases that crashed tests left behind: old ones to which nobody is connected.
fn sweep(conn: &mut PgConnection) {
    let Ok(names) = sql::databases::databases(conn, PREFIX) else {
        return;
    };
    for name in names {
        let made: Option<u64> = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('_').next()?.parse().ok());
        if made.is_some_and(|made| made + STALE < now()) {
            let _ = sql::databases::drop_database(conn, &name, false);
        }
    }
}

fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::url_of;

    #[test]
    fn another_database_of_the_same_server() {
        for (server, expected) in [
            ("postgres://u@h/a", "postgres://u@h/b"),
            ("postgres://u@h", "postgres://u@h/b"),
            ("postgres://u@%2Ftmp:5/a?x=1", "postgres://u@%2Ftmp:5/b?x=1"),
            (
                "postgres:///?host=/tmp&dbname=a&x=1",
                "postgres:///b?host=/tmp&x=1",
            ),
            ("postgres://u@h?dbname=a", "postgres://u@h/b"),
            ("host=h dbname=a", "host=h dbname=a dbname=b"),
        ] {
            assert_eq!(url_of(server, "b"), expected);
        }
    }
}
