//! The rules that a struct of tenants or domains has to keep, one function each.

use syn::{Expr, Lit};

use crate::errors::Errors;
use crate::model::{Column, Role, Row, is_type};

/// A row that keeps every rule of the tenant derive.
pub(crate) struct TenantRow<'r, 'a> {
    pub(crate) row: &'r Row<'a>,
    pub(crate) id: &'r Column<'a>,
    pub(crate) schema_name: &'r Column<'a>,
    pub(crate) domain_url: Option<&'r Column<'a>>,
    pub(crate) tenant_type: Option<&'r Column<'a>>,
}

/// A row that keeps every rule of the domain derive.
pub(crate) struct DomainRow<'r, 'a> {
    pub(crate) row: &'r Row<'a>,
    pub(crate) id: &'r Column<'a>,
    pub(crate) domain: &'r Column<'a>,
    pub(crate) tenant_id: &'r Column<'a>,
    pub(crate) is_primary: &'r Column<'a>,
}

impl<'r, 'a> TenantRow<'r, 'a> {
    pub(crate) fn check(row: &'r Row<'a>, errors: &mut Errors) -> Option<Self> {
        let id = required(row, Role::Id, errors);
        let schema_name = required(row, Role::SchemaName, errors);
        every_row(row, errors);
        schema_name_is_a_schema_name(row, errors);
        domains_or_domain_url(row, errors);
        opting_out_of_text_needs_a_value(row, errors);
        Some(Self {
            row,
            id: id?,
            schema_name: schema_name?,
            domain_url: row.column(Role::DomainUrl),
            tenant_type: row.column(Role::TenantType),
        })
        .filter(|_| errors.is_empty())
    }
}

impl<'r, 'a> DomainRow<'r, 'a> {
    pub(crate) fn check(row: &'r Row<'a>, errors: &mut Errors) -> Option<Self> {
        let id = required(row, Role::Id, errors);
        let domain = required(row, Role::Domain, errors);
        let tenant_id = required(row, Role::TenantId, errors);
        let is_primary = required(row, Role::IsPrimary, errors);
        every_row(row, errors);
        is_primary_is_a_bool(row, errors);
        Some(Self {
            row,
            id: id?,
            domain: domain?,
            tenant_id: tenant_id?,
            is_primary: is_primary?,
        })
        .filter(|_| errors.is_empty())
    }
}

fn every_row(row: &Row<'_>, errors: &mut Errors) {
    one_field_per_role(row, errors);
    one_role_per_field(row, errors);
    only_plain_fields_are_generated(row, errors);
    generated_fields_have_no_default(row, errors);
    keys_have_no_default(row, errors);
    text_is_no_default_of_numbers_and_bools(row, errors);
    nothing_is_embedded(row, errors);
    nothing_is_written_as_another_type(row, errors);
}

fn required<'r, 'a>(row: &'r Row<'a>, role: Role, errors: &mut Errors) -> Option<&'r Column<'a>> {
    let found = row.column(role);
    if found.is_none() {
        let (name, helper) = (role.name(), row.derive.helper());
        let message = format!(
            "`{}` needs a field `{name}`; mark one of another name with `#[{helper}({name})]`",
            row.ident
        );
        errors.at(row.ident, message);
    }
    found
}

fn one_field_per_role(row: &Row<'_>, errors: &mut Errors) {
    for role in row.derive.roles() {
        let marks = row.columns.iter().flat_map(|column| &column.marks.roles);
        for (_, mark) in marks.filter(|(own, _)| own == role).skip(1) {
            let (name, helper) = (role.name(), row.derive.helper());
            errors.at(mark, format!("only one field can be `#[{helper}({name})]`"));
        }
    }
}

fn one_role_per_field(row: &Row<'_>, errors: &mut Errors) {
    for column in &row.columns {
        if let [(first, _), (_, second), ..] = column.marks.roles.as_slice() {
            let message = format!("the field is `{}` already", first.name());
            errors.at(second, message);
        }
    }
}

fn only_plain_fields_are_generated(row: &Row<'_>, errors: &mut Errors) {
    for column in row
        .columns
        .iter()
        .filter(|column| column.role != Role::Plain)
    {
        if let Some(mark) = &column.marks.generated {
            let message = match column.role {
                Role::Id => "the database fills in an unset key anyway: remove `generated`",
                _ => "the program has to know this field: it can't be `generated`",
            };
            errors.at(mark, message);
        }
    }
}

fn generated_fields_have_no_default(row: &Row<'_>, errors: &mut Errors) {
    for column in &row.columns {
        if let (Some(_), Some(default)) = (&column.marks.generated, &column.marks.default) {
            errors.at(
                &default.key,
                "the database fills in a `generated` field: remove `default`",
            );
        }
    }
}

fn keys_have_no_default(row: &Row<'_>, errors: &mut Errors) {
    for column in &row.columns {
        let is_key = !matches!(
            column.role,
            Role::DomainUrl | Role::TenantType | Role::Plain
        );
        if let (true, Some(default)) = (is_key, &column.marks.default) {
            let message = format!("`{}` can't have a default", column.role.name());
            errors.at(&default.key, message);
        }
    }
}

/// What the compiler would say depends on whatever else the program links.
fn text_is_no_default_of_numbers_and_bools(row: &Row<'_>, errors: &mut Errors) {
    for column in &row.columns {
        let text = column.default_expr().filter(|value| is_text(value));
        let known = PRIMITIVES.iter().find(|name| is_type(column.inner(), name));
        if let (Some(text), Some(name)) = (text, known) {
            errors.at(
                text,
                format!("this is text, and the field is of type `{name}`"),
            );
        }
    }
}

/// The types of which no text literal is a value.
const PRIMITIVES: [&str; 9] = [
    "bool", "i16", "i32", "i64", "u16", "u32", "u64", "f32", "f64",
];

fn is_text(value: &Expr) -> bool {
    matches!(value, Expr::Lit(literal) if matches!(literal.lit, Lit::Str(_)))
}

fn nothing_is_embedded(row: &Row<'_>, errors: &mut Errors) {
    for embed in row
        .columns
        .iter()
        .filter_map(|column| column.diesel.embed.as_ref())
    {
        let message = format!(
            "`{}` does not read embedded structs: write their fields here",
            row.derive.name()
        );
        errors.at(embed, message);
    }
}

fn nothing_is_written_as_another_type(row: &Row<'_>, errors: &mut Errors) {
    for key in row
        .columns
        .iter()
        .filter_map(|column| column.diesel.serialize_as.as_ref())
    {
        let message = format!(
            "`{}` writes a field as it is: give it a type that Diesel can write",
            row.derive.name()
        );
        errors.at(key, message);
    }
}

fn schema_name_is_a_schema_name(row: &Row<'_>, errors: &mut Errors) {
    if let Some(column) = row.column(Role::SchemaName)
        && !is_type(column.ty, "SchemaName")
    {
        errors.at(
            column.ty,
            "the schema's name must be a `tenant_schemas::SchemaName`",
        );
    }
}

fn domains_or_domain_url(row: &Row<'_>, errors: &mut Errors) {
    if let (Some(domains), Some(column)) = (&row.options.domains, row.column(Role::DomainUrl)) {
        let message = format!(
            "domains are either rows of `domains` or the field `{}`: remove one of them",
            column.field_name()
        );
        errors.at(domains, message);
    }
}

fn opting_out_of_text_needs_a_value(row: &Row<'_>, errors: &mut Errors) {
    for column in &row.columns {
        let Some(mark) = &column.marks.not_from_text else {
            continue;
        };
        // Whatever needs domains, an index or a directory, knows their column by this role.
        if matches!(column.role, Role::Id | Role::SchemaName | Role::DomainUrl) {
            let message = format!(
                "`{}` can't be `not_from_text`: remove it",
                column.role.name()
            );
            errors.at(mark, message);
        } else if column.is_written()
            && column.optional().is_none()
            && column.marks.default.is_none()
        {
            errors.at(
                mark,
                "a field without text needs `default`, or a type `Option<..>`",
            );
        }
    }
}

fn is_primary_is_a_bool(row: &Row<'_>, errors: &mut Errors) {
    if let Some(column) = row.column(Role::IsPrimary)
        && !is_type(column.ty, "bool")
    {
        errors.at(
            column.ty,
            "whether a domain is the primary one must be a `bool`",
        );
    }
}
