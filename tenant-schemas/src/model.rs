//! [`TenantModel`]: the tenant's row, and what the derive knows of it.

use std::fmt;
use std::str::FromStr;

use diesel::result::QueryResult;

use crate::connection::TenantConnection;
use crate::name::SchemaName;
use crate::table::TableName;

/// The primary key of a tenant: an integer or a UUID.
///
/// Its default value (0, the nil UUID) means that the database chooses. Written
/// as text it can be read again: that is how messages name tenants.
pub trait RowId:
    Clone + fmt::Debug + fmt::Display + FromStr + Default + PartialEq + Send + Sync + 'static
{
    /// Whether the database has yet to choose a value.
    fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

impl<T> RowId for T where
    T: Clone + fmt::Debug + fmt::Display + FromStr + Default + PartialEq + Send + Sync + 'static
{
}

/// A struct whose rows are tenants. Derive it.
///
/// The methods here are about the row alone. What happens to the schema is in
/// [`Lifecycle`](crate::Lifecycle), which every tenant model has.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tenant model",
    note = "add `#[derive(TenantModel)]` and `#[diesel(table_name = ..)]` to `{Self}`"
)]
pub trait TenantModel: Clone + Send + Sync + 'static {
    /// The type of the primary key.
    type Id: RowId;

    /// Whether saving a new tenant creates its schema. Defaults to `true`.
    const AUTO_CREATE_SCHEMA: bool = true;

    /// Whether deleting a tenant drops its schema. Defaults to `false`.
    const AUTO_DROP_SCHEMA: bool = false;

    /// The table that holds the tenants.
    fn table() -> TableName;

    /// What is known of each field, in the order of the struct.
    fn fields() -> &'static [Field];

    /// The table of domains, if the tenant's domains have one of their own.
    #[must_use]
    fn domains() -> Option<DomainTable> {
        None
    }

    /// Makes a tenant out of text.
    ///
    /// `text` is asked once for each field that can be set; `None` takes the
    /// field's default.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// use tenant_schemas::TenantModel;
    ///
    /// let given = |field: &str| match field {
    ///     "schema_name" => Some("acme".to_owned()),
    ///     "domain_url" => Some("acme.my-domain.com".to_owned()),
    ///     "name" => Some("Acme Inc.".to_owned()),
    ///     _ => None,
    /// };
    /// let acme = Client::from_text(&mut |field| given(field.name)).unwrap();
    /// assert!(acme.on_trial); // its default
    ///
    /// let errors = Client::from_text(&mut |_| None).unwrap_err();
    /// let first = "field `schema_name` is required and has no default: give it a value of type `SchemaName`";
    /// assert_eq!((errors.len(), errors[0].to_string().as_str()), (3, first));
    /// ```
    ///
    /// # Errors
    ///
    /// Every field that is missing or can't be parsed, not just the first.
    fn from_text(text: &mut dyn FnMut(&Field) -> Option<String>) -> Result<Self, Vec<FieldError>>;

    /// Sets one field from text.
    ///
    /// ```
    /// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
    /// # use doctest::*; one_server();
    /// use tenant_schemas::TenantModel;
    ///
    /// let mut acme = Client::new("acme".parse()?, "acme.my-domain.com");
    /// acme.set_text("on_trial", "false")?;
    /// assert!(!acme.on_trial);
    /// assert!(acme.set_text("on_trial", "maybe").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns a [`FieldError`], and leaves the field alone, if there is no such
    /// field or the text can't be parsed.
    fn set_text(&mut self, field: &str, text: &str) -> Result<(), FieldError>;

    /// The primary key.
    fn id(&self) -> &Self::Id;

    /// Takes the primary key from this value, so that saving it inserts a row of its own.
    fn forget_id(&mut self);

    /// The schema where the tenant's data lives.
    fn schema_name(&self) -> &SchemaName;

    /// Changes the schema's name in this value; neither row nor schema change.
    fn set_schema_name(&mut self, schema: SchemaName);

    /// The tenant's domain, if the row has one.
    fn domain_url(&self) -> Option<&str>;

    /// The tenant's type, which decides which apps it gets.
    fn tenant_type(&self) -> Option<String>;

    /// Inserts the row and returns it as stored.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn insert_row(&self, conn: &mut TenantConnection) -> QueryResult<Self>;

    /// Updates the row and returns it as stored; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn update_row(&self, conn: &mut TenantConnection) -> QueryResult<Option<Self>>;

    /// Deletes the row and returns whether it was there.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn delete_row(&self, conn: &mut TenantConnection) -> QueryResult<bool>;

    /// The row with this key.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn row_by_id(conn: &mut TenantConnection, id: &Self::Id) -> QueryResult<Option<Self>>;

    /// The row of this schema.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn row_by_schema(conn: &mut TenantConnection, schema: &str) -> QueryResult<Option<Self>>;

    /// The row of the tenant that has this domain.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn row_by_domain(conn: &mut TenantConnection, domain: &str) -> QueryResult<Option<Self>>;

    /// All rows, in no particular order.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn rows(conn: &mut TenantConnection) -> QueryResult<Vec<Self>>;

    /// All rows, in no particular order, each with the value that an SQL expression has for it.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn rows_with(
        conn: &mut TenantConnection,
        value: &str,
    ) -> QueryResult<Vec<(Self, Option<String>)>>;
}

/// What is known of a field of a tenant model.
///
/// ```
/// # mod doctest { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.rs")); }
/// # use doctest::*; one_server();
/// use tenant_schemas::TenantModel;
///
/// let required: Vec<&str> = Client::fields()
///     .iter()
///     .filter(|field| field.required())
///     .map(|field| field.name)
///     .collect();
/// assert_eq!(required, ["schema_name", "domain_url", "name"]);
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Field {
    /// The field's name in Rust.
    pub name: &'static str,
    /// The column's name.
    pub column: &'static str,
    /// The field's type, as written.
    pub type_name: &'static str,
    /// The field's doc comment.
    pub help: &'static str,
    /// What the field is for.
    pub role: FieldRole,
    /// Whether `None` is a value of the field.
    pub optional: bool,
    /// Writes down the field's default, if it has one.
    pub default: Option<fn() -> String>,
}

/// What a field of a tenant model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldRole {
    /// The primary key.
    Id,
    /// The name of the tenant's schema.
    SchemaName,
    /// The tenant's domain.
    DomainUrl,
    /// The tenant's type.
    TenantType,
    /// The database fills the field in.
    Generated,
    /// Anything else.
    Plain,
}

impl Field {
    /// Describes a field; the derive calls it.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(
        name: &'static str,
        column: &'static str,
        type_name: &'static str,
        help: &'static str,
        role: FieldRole,
        optional: bool,
        default: Option<fn() -> String>,
    ) -> Self {
        Self {
            name,
            column,
            type_name,
            help,
            role,
            optional,
            default,
        }
    }

    /// Whether a value can be given for the field.
    #[must_use]
    pub fn can_be_set(&self) -> bool {
        !matches!(self.role, FieldRole::Id | FieldRole::Generated)
    }

    /// Whether a value has to be given for the field.
    #[must_use]
    pub fn required(&self) -> bool {
        self.can_be_set() && !self.optional && self.default.is_none()
    }

    /// The default as text.
    #[must_use]
    pub fn default_text(&self) -> Option<String> {
        self.default.map(|write| write())
    }
}

/// Why a field can't be set from text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// The field needs a value and none was given.
    #[error(
        "field `{field}` is required and has no default: give it a value of type `{type_name}`"
    )]
    Missing {
        /// The field's name.
        field: String,
        /// The field's type.
        type_name: String,
    },
    /// The text is no value of the field's type.
    #[error("field `{field}` takes a value of type `{type_name}`, not {text:?}: {reason}")]
    Invalid {
        /// The field's name.
        field: String,
        /// The field's type.
        type_name: String,
        /// The text that was given.
        text: String,
        /// What the type's parser said.
        reason: String,
    },
    /// There is no such field, or it can't be set.
    #[error("`{field}` is no field that can be set; there are {known}")]
    Unknown {
        /// The name that was given.
        field: String,
        /// The fields that can be set.
        known: String,
    },
}

/// The table of domains that belongs to a tenant model.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DomainTable {
    /// The table.
    pub table: TableName,
    /// The column with the domain's name.
    pub domain: &'static str,
    /// The column with the tenant's key.
    pub tenant_id: &'static str,
    /// The column that marks a tenant's primary domain.
    pub is_primary: &'static str,
}

impl DomainTable {
    /// Describes a table of domains; the derive calls it.
    #[doc(hidden)]
    #[must_use]
    pub fn new(
        table: TableName,
        domain: &'static str,
        tenant_id: &'static str,
        is_primary: &'static str,
    ) -> Self {
        Self {
            table,
            domain,
            tenant_id,
            is_primary,
        }
    }
}

/// A struct whose rows are domains of tenants. Derive it.
///
/// A tenant has any number of domains, and at most one is its primary one.
/// [`Migrate`](crate::Migrate) keeps both rules in the database, as unique indexes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a domain model",
    note = "add `#[derive(DomainModel)]` and `#[diesel(table_name = ..)]` to `{Self}`"
)]
pub trait DomainModel: Clone + Send + Sync + 'static {
    /// The type of the primary key.
    type Id: RowId;
    /// The type of the tenant's primary key.
    type TenantId: RowId;

    /// The table and its columns.
    fn domain_table() -> DomainTable;

    /// The primary key.
    fn id(&self) -> &Self::Id;

    /// The domain: a host name without scheme, port or path.
    fn domain(&self) -> &str;

    /// The key of the tenant that has the domain.
    fn tenant_id(&self) -> &Self::TenantId;

    /// Whether this is the tenant's primary domain.
    fn is_primary(&self) -> bool;

    /// Marks this value as primary or not; the row does not change.
    fn set_primary(&mut self, primary: bool);

    /// Inserts the row and returns it as stored.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn insert_row(&self, conn: &mut TenantConnection) -> QueryResult<Self>;

    /// Updates the row and returns it as stored; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn update_row(&self, conn: &mut TenantConnection) -> QueryResult<Option<Self>>;

    /// Deletes the row and returns whether it was there.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn delete_row(&self, conn: &mut TenantConnection) -> QueryResult<bool>;

    /// Makes every domain of a tenant a secondary one.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn demote_rows_of(conn: &mut TenantConnection, tenant: &Self::TenantId) -> QueryResult<()>;

    /// The row with this domain.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn row_by_domain(conn: &mut TenantConnection, domain: &str) -> QueryResult<Option<Self>>;

    /// The domains of a tenant, in no particular order.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    fn rows_of(conn: &mut TenantConnection, tenant: &Self::TenantId) -> QueryResult<Vec<Self>>;
}
