//! `create_domain` and `delete_domain`, for models whose domains have a table of their own.

use clap::Parser;
use diesel::Connection as _;

use crate::connection::TenantConnection;
use crate::error::{BoxError, Error};
use crate::model::{DomainTable, TenantModel};
use crate::provision::Lifecycle as _;
use crate::sql::manage as sql;

use super::context::Context;
use super::fields::tenant_table;
use super::host::host;
use super::outcome::{Done, Exit, Failure};
use super::targets;
use super::ui;

/// Gives a tenant one more domain
///
/// A tenant's first domain is its primary one. With `--primary` the new one takes that place.
#[derive(Debug, Parser)]
pub(super) struct Create {
    /// The domain: a host name without scheme, port or path.
    #[arg(value_parser = host)]
    domain: String,
    /// The tenant's schema.
    #[arg(long, value_name = "NAME")]
    schema: String,
    /// Make it the primary one.
    #[arg(long)]
    primary: bool,
}

pub(super) fn create<T: TenantModel>(args: &Create, context: &Context<T>) -> Done {
    let domains = domain_table::<T>()?;
    let tenancy = context.tenancy()?;
    let tenant = targets::tenant(tenancy, &args.schema)?;
    let public = tenancy.registry().public();
    let tenants = tenant_table::<T>();
    let domain = (tenant.schema_name(), args.domain.as_str(), args.primary);
    tenancy.public()?.transaction(|conn| {
        free::<T>(&args.domain, conn)?;
        conn.own(|inner| sql::insert_domain(inner, public, &tenants, &domains, domain))
            .map_err(|error| Error::database(format!("creating domain {}", args.domain), error))?;
        Ok::<_, BoxError>(())
    })?;
    context.ui.note(&format!(
        "Tenant {} has the domain {} now.",
        args.schema, args.domain
    ));
    Ok(Exit::Done)
}

/// Takes a domain from its tenant
///
/// On a terminal the tenant's schema has to be typed to confirm; elsewhere `--noinput` has to be given.
#[derive(Debug, Parser)]
pub(super) struct Delete {
    /// The domain: a host name without scheme, port or path.
    #[arg(value_parser = host)]
    domain: String,
    /// Ask nothing.
    #[arg(long, alias = "no-input")]
    noinput: bool,
}

pub(super) fn delete<T: TenantModel>(args: &Delete, context: &Context<T>) -> Done {
    let table = domain_table::<T>()?;
    let tenancy = context.tenancy()?;
    let public = tenancy.registry().public();
    let tenants = tenant_table::<T>();
    let mut conn = tenancy.public()?;
    let all = conn.own(|inner| sql::domains(inner, public, &tenants, &table))?;
    let Some(found) = all.iter().find(|row| row.domain == args.domain) else {
        return Err(Failure::usage(format!(
            "no tenant has the domain {}; `list_tenants --format table` prints them",
            args.domain
        )));
    };
    let schema = &found.schema_name;
    let what = format!("Tenant {schema} will lose the domain {}", args.domain);
    context.ui.confirm(&what, schema, args.noinput)?;
    conn.own(|inner| sql::delete_domain(inner, public, &table, &args.domain))
        .map_err(|error| Error::database(format!("deleting domain {}", args.domain), error))?;
    context.ui.note(&format!(
        "Tenant {schema} no longer has the domain {}.",
        args.domain
    ));
    if found.is_primary {
        ui::warn(&format!(
            "it was the primary one: `create_domain --primary --schema {schema} DOMAIN` makes another so"
        ));
    }
    Ok(Exit::Done)
}

/// Refuses a domain that a tenant has.
pub(super) fn free<T: TenantModel>(
    domain: &str,
    conn: &mut TenantConnection,
) -> Result<(), BoxError> {
    taken::<T>(domain, conn)?.map_or(Ok(()), |mistake| Err(mistake.into()))
}

/// Why a domain can't be given to a tenant: it has one already.
pub(super) fn taken<T: TenantModel>(
    domain: &str,
    conn: &mut TenantConnection,
) -> Result<Option<String>, Error> {
    let owner = T::by_domain(conn, domain)?;
    Ok(owner.map(|tenant| {
        format!(
            "domain {domain} is tenant {}'s already: choose another, or take it from there with `delete_domain`",
            tenant.schema_name()
        )
    }))
}

fn domain_table<T: TenantModel>() -> Result<DomainTable, Failure> {
    T::domains().ok_or_else(|| {
        Failure::usage(format!(
            "a tenant has one domain here, in its row of {}: there is no table of domains",
            T::table()
        ))
    })
}
