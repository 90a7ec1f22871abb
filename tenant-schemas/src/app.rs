//! [`App`]: a named set of models and migrations, and where it lives.

use std::fmt;
use std::sync::Arc;

use diesel::migration::MigrationSource;
use diesel::pg::Pg;

/// Where the tables of an app live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AppScope {
    /// Once, in the shared schema.
    Shared,
    /// In the schema of every tenant.
    Tenant,
    /// In the shared schema and in the schema of every tenant.
    Both,
}

impl AppScope {
    /// Whether the tables live in the shared schema.
    #[must_use]
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Shared | Self::Both)
    }

    /// Whether the tables live in the schemas of tenants.
    #[must_use]
    pub fn is_tenant(self) -> bool {
        matches!(self, Self::Tenant | Self::Both)
    }
}

impl fmt::Display for AppScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Tenant => "tenant",
            Self::Both => "shared and tenant",
        })
    }
}

/// A named set of models and migrations.
///
/// [`shared_app`](crate::shared_app) and [`tenant_app`](crate::tenant_app)
/// make one out of a unit struct; this type is what they make, for
/// apps that are put together at run time.
///
/// ```
/// use tenant_schemas::{App, AppScope};
///
/// let app = App::new("hotels", AppScope::Tenant).after(["customers"]);
/// assert_eq!(app.label(), "hotels");
/// ```
#[derive(Clone)]
pub struct App {
    label: String,
    scope: AppScope,
    after: Vec<String>,
    types: Vec<String>,
    sees_shared: bool,
    pub(crate) sources: Vec<Source>,
}

/// Where an app's migrations come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// SQL that is read once in the life of the process and sent many times.
    Sql(Arc<dyn MigrationSource<Pg> + Send + Sync>),
    /// Rust code that runs for every schema.
    Rust(Arc<dyn MigrationSource<Pg> + Send + Sync>),
}

impl App {
    /// An app without migrations.
    pub fn new(label: impl Into<String>, scope: AppScope) -> Self {
        Self {
            label: label.into(),
            scope,
            after: Vec::new(),
            types: Vec::new(),
            sees_shared: false,
            sources: Vec::new(),
        }
    }

    /// Adds migrations that are files or embedded ones: SQL, the same for every schema.
    ///
    /// They are read once in the life of the process, so code with a mind of
    /// its own belongs to [`rust_migrations`](Self::rust_migrations).
    ///
    /// ```
    /// use diesel_migrations::FileBasedMigrations;
    /// use tenant_schemas::{App, AppScope};
    ///
    /// let files = FileBasedMigrations::from_path("migrations/hotels")?;
    /// let hotels = App::new("hotels", AppScope::Tenant).migrations(files);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn migrations(self, source: impl MigrationSource<Pg> + Send + Sync + 'static) -> Self {
        self.source(Source::Sql(Arc::new(source)))
    }

    /// Adds migrations that are written in Rust and run for every schema.
    ///
    /// They share one order with the others of the app: the order of versions.
    /// Each gets the [`PgConnection`](diesel::PgConnection) of its schema.
    ///
    /// ```
    /// use std::fmt;
    ///
    /// use diesel::connection::BoxableConnection;
    /// use diesel::migration::{self, Migration, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion};
    /// use diesel::pg::Pg;
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// use tenant_schemas::App;
    /// # use tenant_schemas::testing::TestTenancy;
    ///
    /// /// Gives every tenant its first room.
    /// struct FirstRoom;
    ///
    /// impl Migration<Pg> for FirstRoom {
    ///     fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> migration::Result<()> {
    ///         let conn = conn.as_any_mut().downcast_mut::<PgConnection>().ok_or("not PostgreSQL")?;
    ///         diesel::insert_into(rooms::table)
    ///             .values((rooms::id.eq(1), rooms::name.eq("Lobby")))
    ///             .execute(conn)?;
    ///         Ok(())
    ///     }
    ///
    ///     fn revert(&self, _: &mut dyn BoxableConnection<Pg>) -> migration::Result<()> {
    ///         Ok(())
    ///     }
    ///
    ///     fn metadata(&self) -> &dyn MigrationMetadata {
    ///         self
    ///     }
    ///
    ///     fn name(&self) -> &dyn MigrationName {
    ///         self
    ///     }
    /// }
    ///
    /// impl MigrationMetadata for FirstRoom {}
    ///
    /// impl MigrationName for FirstRoom {
    ///     fn version(&self) -> MigrationVersion<'_> {
    ///         "20240301000000".into()
    ///     }
    /// }
    ///
    /// impl fmt::Display for FirstRoom {
    ///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    ///         f.write_str("2024-03-01-000000_first_room")
    ///     }
    /// }
    ///
    /// struct InRust;
    ///
    /// impl MigrationSource<Pg> for InRust {
    ///     fn migrations(&self) -> migration::Result<Vec<Box<dyn Migration<Pg>>>> {
    ///         Ok(vec![Box::new(FirstRoom)])
    ///     }
    /// }
    ///
    /// let hotels = App::from(Hotels).rust_migrations(InRust);
    /// # let tests = TestTenancy::<Client>::new(|builder| builder.app(Customers).app(hotels))?;
    /// # let tenancy = tests.tenancy();
    /// # let acme = client(tenancy, "acme")?;
    /// // a tenant that was saved with this app:
    /// let mut conn = tenancy.tenant(&acme)?;
    /// assert_eq!(rooms::table.count().get_result(&mut conn), Ok(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn rust_migrations(self, source: impl MigrationSource<Pg> + Send + Sync + 'static) -> Self {
        self.source(Source::Rust(Arc::new(source)))
    }

    /// Names apps that have to be migrated before this one.
    ///
    /// Without it, apps keep the order in which they were given to the builder.
    ///
    /// ```
    /// use tenant_schemas::{App, AppScope};
    ///
    /// let bills = App::new("bills", AppScope::Tenant).after(["hotels"]);
    /// assert_eq!(bills.label(), "bills");
    /// ```
    #[must_use]
    pub fn after<L: Into<String>>(mut self, labels: impl IntoIterator<Item = L>) -> Self {
        self.after.extend(labels.into_iter().map(Into::into));
        self
    }

    /// Restricts the app to tenants of these types. Defaults to tenants of every type.
    ///
    /// ```
    /// use tenant_schemas::{App, AppScope};
    ///
    /// let spas = App::new("spas", AppScope::Tenant).types(["resort", "hotel"]);
    /// assert_eq!(spas.scope(), AppScope::Tenant);
    /// ```
    #[must_use]
    pub fn types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.types.extend(types.into_iter().map(Into::into));
        self
    }

    /// Lets the app's migrations see the shared schema unqualified. Defaults to `false`.
    ///
    /// Without it, a migration of a tenant has the tenant's schema alone (and
    /// the extra schemas) on its path, so that an unqualified `DROP TABLE x`
    /// can't reach the shared `x` when the tenant has none; shared tables are
    /// referenced as `public.plans`.
    #[must_use]
    pub fn sees_shared(mut self, sees_shared: bool) -> Self {
        self.sees_shared = sees_shared;
        self
    }

    /// The app's name, unique in a program; the ledger stores it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Where the app's tables live.
    #[must_use]
    pub fn scope(&self) -> AppScope {
        self.scope
    }

    /// The labels of the apps that are migrated before this one.
    #[must_use]
    pub fn migrated_after(&self) -> &[String] {
        &self.after
    }

    /// The types of tenants that have this app; empty means all.
    #[must_use]
    pub fn tenant_types(&self) -> &[String] {
        &self.types
    }

    /// Whether the app's migrations see the shared schema unqualified.
    #[must_use]
    pub fn can_see_shared(&self) -> bool {
        self.sees_shared
    }

    /// Whether a tenant of `tenant_type` has this app.
    #[must_use]
    pub fn is_for_tenant(&self, tenant_type: Option<&str>) -> bool {
        self.scope.is_tenant()
            && (self.types.is_empty()
                || tenant_type.is_some_and(|given| self.types.iter().any(|own| own == given)))
    }

    fn source(mut self, source: Source) -> Self {
        self.sources.push(source);
        self
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("label", &self.label)
            .field("scope", &self.scope)
            .field("after", &self.after)
            .field("types", &self.types)
            .field("sees_shared", &self.sees_shared)
            .finish_non_exhaustive()
    }
}
