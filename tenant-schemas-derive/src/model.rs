//! The derives' own view of a struct whose rows are tenants or domains.

use syn::ext::IdentExt as _;
use syn::{
    Data, DeriveInput, Expr, Fields, GenericArgument, Ident, Path, PathArguments, Type, Visibility,
};

use crate::attr::{self, Diesel};
use crate::errors::Errors;

mod marks;

use marks::{Marks, Options};

/// Which of the two derives reads the struct.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Derive {
    Tenant,
    Domain,
}

/// The methods of a tenant; a setter of such a name would hide one.
const METHODS: [&str; 37] = [
    "adopt",
    "all",
    "by_domain",
    "by_id",
    "by_schema",
    "clone",
    "clone_to",
    "delete",
    "delete_all",
    "delete_row",
    "delete_with",
    "domain_url",
    "domains",
    "dump_to",
    "fields",
    "forget_id",
    "from_text",
    "id",
    "insert_row",
    "new",
    "provision",
    "rename",
    "restore_from",
    "row",
    "row_by_domain",
    "row_by_id",
    "row_by_schema",
    "rows",
    "rows_with",
    "save",
    "save_with",
    "schema_name",
    "set_schema_name",
    "set_text",
    "table",
    "tenant_type",
    "update_row",
];

/// What a field is for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Role {
    Id,
    SchemaName,
    DomainUrl,
    TenantType,
    Domain,
    TenantId,
    IsPrimary,
    Plain,
}

/// A struct and its table.
pub(crate) struct Row<'a> {
    pub(crate) derive: Derive,
    pub(crate) ident: &'a Ident,
    pub(crate) vis: &'a Visibility,
    pub(crate) table: Path,
    pub(crate) options: Options,
    pub(crate) columns: Vec<Column<'a>>,
}

/// A field and its column.
pub(crate) struct Column<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a Type,
    pub(crate) name: Ident,
    pub(crate) help: String,
    pub(crate) role: Role,
    pub(crate) marks: Marks,
    pub(crate) diesel: Diesel,
}

impl Derive {
    /// The name of the derive and of its trait.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tenant => "TenantModel",
            Self::Domain => "DomainModel",
        }
    }

    /// The name of the derive's own attribute.
    pub(crate) fn helper(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Domain => "domain",
        }
    }

    pub(crate) fn roles(self) -> &'static [Role] {
        match self {
            Self::Tenant => &[
                Role::Id,
                Role::SchemaName,
                Role::DomainUrl,
                Role::TenantType,
            ],
            Self::Domain => &[Role::Id, Role::Domain, Role::TenantId, Role::IsPrimary],
        }
    }
}

impl Role {
    /// The key that marks the role, and the name of the field that has it unmarked.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::SchemaName => "schema_name",
            Self::DomainUrl => "domain_url",
            Self::TenantType => "tenant_type",
            Self::Domain => "domain",
            Self::TenantId => "tenant_id",
            Self::IsPrimary => "is_primary",
            Self::Plain => "",
        }
    }
}

impl<'a> Row<'a> {
    /// Reads `item`; `None` if it is nothing with named fields.
    pub(crate) fn read(derive: Derive, item: &'a DeriveInput, errors: &mut Errors) -> Option<Self> {
        let options = Options::read(derive, item, errors);
        let diesel = Diesel::read(&item.attrs, errors);
        if diesel.table_name.is_none() {
            let message = format!(
                "`{}` needs the table: add `#[diesel(table_name = ..)]`",
                derive.name()
            );
            errors.at(&item.ident, message);
        }
        if !item.generics.params.is_empty() {
            let message = format!(
                "`{}` can't be derived for a generic struct: write out the types of its fields",
                derive.name()
            );
            errors.at(&item.generics, message);
        }
        let Some(fields) = named_fields(item) else {
            let message = format!(
                "`{}` can only be derived for a struct with named fields",
                derive.name()
            );
            errors.at(&item.ident, message);
            return None;
        };
        let mut columns: Vec<_> = fields
            .named
            .iter()
            .filter_map(|field| Column::read(derive, field, errors))
            .collect();
        assign_roles(derive, &diesel.primary_key, &mut columns, errors);
        Some(Self {
            derive,
            ident: &item.ident,
            vis: &item.vis,
            // Without a table there is an error, and nothing is made from this path.
            table: diesel
                .table_name
                .unwrap_or_else(|| item.ident.clone().into()),
            options,
            columns,
        })
    }

    pub(crate) fn column(&self, role: Role) -> Option<&Column<'a>> {
        self.columns.iter().find(|column| column.role == role)
    }
}

impl<'a> Column<'a> {
    fn read(derive: Derive, field: &'a syn::Field, errors: &mut Errors) -> Option<Self> {
        let ident = field.ident.as_ref()?;
        let diesel = Diesel::read(&field.attrs, errors);
        Some(Self {
            ident,
            ty: &field.ty,
            name: diesel.column_name.clone().unwrap_or_else(|| ident.clone()),
            help: attr::docs(&field.attrs),
            role: Role::Plain,
            marks: Marks::read(derive, field, errors),
            diesel,
        })
    }

    /// The field's name without `r#`.
    pub(crate) fn field_name(&self) -> String {
        self.ident.unraw().to_string()
    }

    /// The name of the method that sets the field.
    pub(crate) fn setter(&self) -> Ident {
        let name = self.field_name();
        if METHODS.contains(&name.as_str()) {
            Ident::new(&format!("with_{name}"), self.ident.span())
        } else {
            self.ident.clone()
        }
    }

    /// Whether the field or its column has this name.
    fn is_called(&self, name: &Ident) -> bool {
        self.name == *name || self.ident == name
    }

    /// The `T` of an `Option<T>`.
    pub(crate) fn optional(&self) -> Option<&'a Type> {
        let last = path(self.ty)?.segments.last()?;
        if last.ident != "Option" {
            return None;
        }
        match &last.arguments {
            PathArguments::AngleBracketed(arguments) => match arguments.args.first()? {
                GenericArgument::Type(inner) => Some(inner),
                _ => None,
            },
            _ => None,
        }
    }

    /// The field's type, or the `T` of an `Option<T>`.
    pub(crate) fn inner(&self) -> &'a Type {
        self.optional().unwrap_or(self.ty)
    }

    /// The expression of `#[tenant(default = ..)]`.
    pub(crate) fn default_expr(&self) -> Option<&Expr> {
        self.marks
            .default
            .as_ref()
            .and_then(|default| default.value.as_ref())
    }

    /// Whether INSERT writes the column.
    pub(crate) fn is_inserted(&self) -> bool {
        self.is_written() && !self.diesel.skip_insertion
    }

    /// Whether UPDATE writes the column.
    pub(crate) fn is_updated(&self) -> bool {
        self.is_written() && !self.diesel.skip_update
    }

    /// Whether the program, not the database, gives the column its value.
    pub(crate) fn is_written(&self) -> bool {
        self.role != Role::Id && self.marks.generated.is_none()
    }

    /// Whether text can give the field its value.
    pub(crate) fn is_from_text(&self) -> bool {
        self.is_written() && self.marks.not_from_text.is_none()
    }
}

/// Whether `ty` is a path that ends in `name`.
pub(crate) fn is_type(ty: &Type, name: &str) -> bool {
    path(ty).is_some_and(|path| attr::last_segment_is(path, name))
}

/// The path that a type is, also where a macro wraps it in a group.
fn path(ty: &Type) -> Option<&Path> {
    match ty {
        Type::Path(ty) => Some(&ty.path),
        Type::Group(group) => path(&group.elem),
        Type::Paren(group) => path(&group.elem),
        _ => None,
    }
}

fn named_fields(item: &DeriveInput) -> Option<&syn::FieldsNamed> {
    match &item.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Some(fields),
            _ => None,
        },
        _ => None,
    }
}

/// Gives each role to the field that is marked for it, or else to the field of its name.
fn assign_roles(
    derive: Derive,
    primary_key: &[Ident],
    columns: &mut [Column<'_>],
    errors: &mut Errors,
) {
    if let [_, second, ..] = primary_key {
        errors.at(
            second,
            "the primary key must be a single column: name the one that identifies a row",
        );
    }
    for role in derive.roles() {
        let marked = |column: &Column<'_>| {
            column
                .marks
                .roles
                .first()
                .is_some_and(|(first, _)| first == role)
        };
        let key = primary_key.first().filter(|_| *role == Role::Id);
        let keyed = key.and_then(|key| columns.iter().position(|column| column.is_called(key)));
        if let (Some(key), None) = (key, keyed) {
            errors.at(
                key,
                "no field has this column: name the column of a field, or add one",
            );
        }
        let named = columns
            .iter()
            .position(|column| column.marks.roles.is_empty() && column.field_name() == role.name());
        if let Some(at) = columns.iter().position(marked).or(keyed).or(named) {
            columns[at].role = *role;
        }
    }
}
