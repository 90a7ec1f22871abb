//! Models whose declarations contradict each other. They hold for a whole program, so this is one of its own.

use tenant_schemas::{Error, SchemaName, Tenancy, TenantModel, shared_app, tenant_app};

use schema::{clients, invoices, notes, plans};

mod schema {
    //! The tables of the models below.

    diesel::table! {
        clients (id) {
            id -> Integer,
            schema_name -> Text,
        }
    }

    diesel::table! {
        notes (id) {
            id -> Integer,
        }
    }

    diesel::table! {
        billing.invoices (id) {
            id -> Integer,
        }
    }

    diesel::table! {
        public.plans (id) {
            id -> Integer,
        }
    }
}

/// A tenant.
#[shared_app]
#[derive(Debug, Clone, diesel::Queryable, diesel::Selectable, TenantModel)]
#[diesel(table_name = clients)]
pub struct Client {
    /// The key.
    pub id: i32,
    /// The schema.
    pub schema_name: SchemaName,
}

/// A tenant's note.
#[tenant_app]
#[derive(Debug, diesel::Queryable)]
#[diesel(table_name = notes)]
pub struct Note {
    /// The key.
    pub id: i32,
}

/// The same note, shared by mistake.
#[shared_app]
#[derive(Debug, diesel::Queryable)]
#[diesel(table_name = notes)]
pub struct SharedNote {
    /// The key.
    pub id: i32,
}

/// A tenant's invoice in a schema for everyone.
#[tenant_app]
#[derive(Debug, diesel::Queryable)]
#[diesel(table_name = invoices)]
pub struct Invoice {
    /// The key.
    pub id: i32,
}

/// A plan that is said to be everywhere, and stands in one schema.
#[shared_app]
#[tenant_app]
#[derive(Debug, diesel::Queryable)]
#[diesel(table_name = plans)]
pub struct Plan {
    /// The key.
    pub id: i32,
}

#[test]
fn every_contradiction_is_reported_before_anything_is_connected() {
    let built = Tenancy::<Client>::builder("postgres://u@127.0.0.1:1/nowhere").build();
    let Err(Error::Config { problems, .. }) = built else {
        panic!("{built:?}");
    };
    let all = problems.join("\n");
    assert_eq!(problems.len(), 3, "{all}");
    let find = |parts: &[&str]| {
        assert!(
            problems
                .iter()
                .any(|problem| parts.iter().all(|part| problem.contains(part))),
            "{all}\nlacks {parts:?}"
        );
    };
    find(&[
        "table notes is declared",
        "by model Note (",
        "by model SharedNote (",
        "contradiction.rs:",
        "use the same attribute on both",
    ]);
    find(&[
        "model Invoice (",
        "is declared for tenants, but its table billing.invoices is in schema billing for everyone",
        "declare it with `#[shared_app]`, or drop the schema from `table!`",
    ]);
    find(&[
        "model Plan (",
        "is declared shared and for tenants, but its table public.plans names the shared schema",
    ]);
}
