//! The derives and attributes of `tenant-schemas`, which re-exports and documents them.

use proc_macro::TokenStream;

mod app;
mod attr;
mod check;
mod errors;
mod expand;
#[cfg(test)]
mod golden;
mod model;
mod row;
mod text;

/// Makes a struct a tenant; documented at `tenant_schemas::TenantModel`.
#[proc_macro_derive(TenantModel, attributes(tenant, diesel))]
pub fn tenant_model(item: TokenStream) -> TokenStream {
    row::expand(model::Derive::Tenant, item.into()).into()
}

/// Makes a struct a tenant's domain; documented at `tenant_schemas::DomainModel`.
#[proc_macro_derive(DomainModel, attributes(domain, diesel))]
pub fn domain_model(item: TokenStream) -> TokenStream {
    row::expand(model::Derive::Domain, item.into()).into()
}

/// Makes a unit struct a shared app, or a struct a shared model; documented at
/// `tenant_schemas::shared_app`.
#[proc_macro_attribute]
pub fn shared_app(arguments: TokenStream, item: TokenStream) -> TokenStream {
    app::expand(app::Scope::Shared, arguments.into(), &item.into()).into()
}

/// Makes a unit struct an app of tenants, or a struct a tenant model; documented at
/// `tenant_schemas::tenant_app`.
#[proc_macro_attribute]
pub fn tenant_app(arguments: TokenStream, item: TokenStream) -> TokenStream {
    app::expand(app::Scope::Tenant, arguments.into(), &item.into()).into()
}
