//! The derives and attributes, with what a user has to know of them.

/// Makes a struct whose rows are tenants a [`TenantModel`](trait@crate::TenantModel).
///
/// The struct also derives `Clone`, `Queryable` and `Selectable`, and names its
/// table with `#[diesel(table_name = ..)]`.
///
/// ```
/// use diesel::prelude::*;
/// use tenant_schemas::{SchemaName, TenantModel};
///
/// #[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
/// #[diesel(table_name = clients)]
/// #[tenant(auto_drop_schema = true)]
/// struct Client {
///     id: i32,
///     schema_name: SchemaName,
///     domain_url: String,
///     /// The name on the invoice.
///     name: String,
///     #[tenant(default = "basic")]
///     plan: String,
/// }
/// # diesel::table! {
/// #     clients (id) { id -> Integer, schema_name -> Text, domain_url -> Text, name -> Text, plan -> Text, }
/// # }
///
/// let client = Client::new("acme".parse()?, "acme.my-domain.com").name("Acme Inc.");
/// assert_eq!(client.plan, "basic");
/// assert_eq!(Client::fields()[3].help, "The name on the invoice.");
/// # Ok::<(), tenant_schemas::NameError>(())
/// ```
///
/// It writes a constructor `new` that takes the schema's name and the domain,
/// and a setter for each other field. One that would hide a method of a tenant
/// has `with_` before its name: `with_tenant_type`.
///
/// | on the struct | |
/// |---|---|
/// | `auto_create_schema = false` | saving a new tenant leaves its schema to be made later |
/// | `auto_drop_schema = true` | deleting a tenant drops its schema |
/// | `domains = Domain` | domains have a table of their own, see [`DomainModel`](derive@crate::DomainModel) |
/// | `constructor = false` | no `new` and no setters |
///
/// | on a field | |
/// |---|---|
/// | `id`, `schema_name`, `domain_url`, `tenant_type` | gives the field this role; a field of that name has it anyway |
/// | `default`, `default = expr` | the value that `new` and the command line start from |
/// | `generated` | the database fills it in: never written, read back |
/// | `not_from_text` | can't be given as text; needs a default, or to be an `Option` |
///
/// A field that is no `Option` and has no `default` starts from the `Default` of
/// its type, which it has to have; a `generated` one too, since the database
/// fills it in later.
///
/// The primary key is an integer or a UUID; its default value means that the
/// database chooses. `tenant_type` decides which apps a tenant has, see
/// [`App::types`](crate::App::types).
///
/// What the derives and attributes write finds this crate as `::tenant_schemas`:
/// don't rename it in `Cargo.toml`.
pub use tenant_schemas_derive::TenantModel;

/// Makes a struct whose rows are domains a [`DomainModel`](trait@crate::DomainModel).
///
/// ```
/// use diesel::prelude::*;
/// use tenant_schemas::{DomainModel, SchemaName, TenantModel};
///
/// #[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
/// #[diesel(table_name = clients)]
/// #[tenant(domains = Domain)]
/// struct Client {
///     id: i32,
///     schema_name: SchemaName,
/// }
///
/// #[derive(Debug, Clone, Queryable, Selectable, DomainModel)]
/// #[diesel(table_name = domains)]
/// struct Domain {
///     id: i32,
///     domain: String,
///     tenant_id: i32,
///     is_primary: bool,
/// }
/// # diesel::table! { clients (id) { id -> Integer, schema_name -> Text, } }
/// # diesel::table! {
/// #     domains (id) { id -> Integer, domain -> Text, tenant_id -> Integer, is_primary -> Bool, }
/// # }
///
/// let domain = Domain::new("acme.my-domain.com", 1).primary();
/// assert!(domain.is_primary);
/// ```
///
/// A field with another name is marked `#[domain(domain)]`, `#[domain(tenant_id)]`
/// or `#[domain(is_primary)]`. `default`, `generated` and `constructor = false`
/// mean what they mean for [`TenantModel`](derive@crate::TenantModel).
pub use tenant_schemas_derive::DomainModel;

/// Declares an app, or a model, that lives once, in the shared schema.
///
/// On a unit struct it makes an app:
///
/// ```
/// use tenant_schemas::{App, AppScope, shared_app};
///
/// #[shared_app(migrations = "migrations/customers")]
/// struct Customers;
///
/// let app = App::from(Customers);
/// assert_eq!((app.label(), app.scope()), ("customers", AppScope::Shared));
/// ```
///
/// | argument | |
/// |---|---|
/// | `migrations = "dir"` | embeds the migrations of a directory of the package |
/// | `source = expr` | more migrations, from any `MigrationSource<Pg>`: files, for one |
/// | `rust = expr` | migrations written in Rust, see [`App::rust_migrations`](crate::App::rust_migrations) |
/// | `label = "name"` | the app's name in the ledger; the type's in snake case if it is not given |
/// | `after = [Other]` | apps that are migrated before this one |
///
/// On a model, a struct with `#[diesel(table_name = ..)]`, it takes no argument
/// and declares where the table must exist; see [`DeclaredTable`](crate::DeclaredTable).
///
/// An app or a model with both attributes lives in both places. A migration
/// that is added to the directory is not seen until the file with the attribute
/// is compiled again: a `build.rs` that prints
/// `cargo:rerun-if-changed=migrations` takes care of it.
pub use tenant_schemas_derive::shared_app;

/// Declares an app, or a model, that lives in the schema of every tenant.
///
/// ```
/// use diesel::prelude::*;
/// use tenant_schemas::tenant_app;
///
/// #[tenant_app(migrations = "migrations/hotels", types = ["hotel"])]
/// struct Hotels;
///
/// #[tenant_app]
/// #[derive(Queryable)]
/// #[diesel(table_name = rooms)]
/// struct Room {
///     id: i32,
///     name: String,
/// }
/// # diesel::table! { rooms (id) { id -> Integer, name -> Text, } }
/// ```
///
/// It takes the arguments of [`shared_app`], and:
///
/// | argument | |
/// |---|---|
/// | `types = ["type"]` | the types of tenants that have the app; all, if it is not given |
/// | `sees_shared = true` | its migrations see the shared schema unqualified, see [`App::sees_shared`](crate::App::sees_shared) |
pub use tenant_schemas_derive::tenant_app;
