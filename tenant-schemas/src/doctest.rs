// What the examples of the documentation share. Each includes this file in a
// hidden line, in a module of its own; it is no module of the library.

use tenant_schemas::testing::TestTenancy;
use tenant_schemas::{SchemaName, TenantModel, shared_app, tenant_app};

pub use diesel::prelude::*;
pub use tenant_schemas::{Lifecycle, Tenancy};

#[shared_app(migrations = "migrations/customers")]
pub struct Customers;

#[tenant_app(migrations = "migrations/hotels")]
pub struct Hotels;

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, TenantModel)]
#[diesel(table_name = clients)]
pub struct Client {
    pub id: i32,
    pub schema_name: SchemaName,
    pub domain_url: String,
    pub name: String,
    #[tenant(default = true)]
    pub on_trial: bool,
}

diesel::table! {
    clients (id) {
        id -> Integer,
        schema_name -> Text,
        domain_url -> Text,
        name -> Text,
        on_trial -> Bool,
    }
}

diesel::table! {
    rooms (id) {
        id -> Integer,
        name -> Text,
    }
}

/// Lets all examples of a run use one server. Each runs in a process of its own,
/// so it becomes, once, one that knows what they have in common: their parent.
pub fn one_server() {
    use std::env::{args_os, current_exe, var_os};
    use std::os::unix::process::{CommandExt as _, parent_id};

    if var_os("NEXTEST_RUN_ID").is_none()
        && let Ok(this) = current_exe()
    {
        // It returns only if it fails, and then the example has a server of its own.
        let _ = std::process::Command::new(this)
            .args(args_os().skip(1))
            .env("NEXTEST_RUN_ID", format!("examples of {}", parent_id()))
            .exec();
    }
}

/// A tenancy over a database of its own, with the shared schema migrated, and no tenants.
pub fn tests() -> tenant_schemas::Result<TestTenancy<Client>> {
    TestTenancy::new(|builder| builder.app(Customers).app(Hotels))
}

/// A tenant that is saved and has its schema.
pub fn client(tenancy: &Tenancy<Client>, name: &str) -> tenant_schemas::Result<Client> {
    let mut client = Client::new(name.parse()?, format!("{name}.my-domain.com"));
    client.save(&mut *tenancy.public()?)?;
    Ok(client)
}
