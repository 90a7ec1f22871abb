//! What does a tenant for a test cost: provisioned, lent, or made ahead and renamed?
//!
//! ```text
//! cargo run --release -p tenant-schemas-tests --example tenants_for_tests [SHARED APP...]
//! ```
//!
//! `SHARED` is a directory of Diesel migrations that creates `public.tenants`,
//! each `APP` one of a tenant app. Without them: twenty tables with two indexes
//! each. The numbers are medians in milliseconds.

use std::env;
use std::error::Error;
use std::time::{Duration, Instant};

use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_migrations::FileBasedMigrations;
use tenant_schemas::testing::TestTenancy;
use tenant_schemas::{
    App, AppScope, DeleteOptions, Lifecycle as _, SchemaName, TenancyBuilder, TenantModel,
};

use schema::tenants;

mod schema {
    //! The table of tenants.

    diesel::table! {
        public.tenants (id) {
            id -> BigInt,
            schema_name -> Text,
            name -> Text,
            domain_url -> Nullable<Text>,
        }
    }
}

#[derive(Debug, Clone, Queryable, Selectable, TenantModel)]
#[diesel(table_name = tenants)]
struct Tenant {
    id: i64,
    schema_name: SchemaName,
    name: String,
    domain_url: Option<String>,
}

const ROUNDS: usize = 25;

fn main() -> Result<(), Box<dyn Error>> {
    let apps = apps(&env::args().skip(1).collect::<Vec<_>>())?;
    let tests =
        TestTenancy::<Tenant>::new(|builder| apps.into_iter().fold(builder, TenancyBuilder::app))?;
    let make = |schema: SchemaName, domain: String| {
        let name = schema.to_string();
        let mut tenant = Tenant::new(schema, name);
        tenant.domain_url = Some(domain);
        tenant
    };

    let mut provisioned = Vec::new();
    let mut dropped = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let tenant = tests.tenant(make)?;
        provisioned.push(begun.elapsed());
        let begun = Instant::now();
        drop(tenant);
        dropped.push(begun.elapsed());
    }
    print(
        "provisioned, as `TestTenancy::tenant` does",
        &mut provisioned,
    );
    print("  and deleted again", &mut dropped);

    drop(tests.lease(make)?);
    let mut lent = Vec::new();
    let mut returned = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let lease = tests.lease(make)?;
        lent.push(begun.elapsed());
        let begun = Instant::now();
        drop(lease);
        returned.push(begun.elapsed());
    }
    print("lent, as `TestTenancy::lease` does", &mut lent);
    print("  and rolled back", &mut returned);

    let mut renamed = Vec::new();
    let mut conn = tests.tenancy().public()?;
    for round in 0..ROUNDS {
        let mut ready = make(
            format!("ready_{round}").parse()?,
            format!("{round}.ready.test"),
        );
        ready.save(&mut conn)?;
        let begun = Instant::now();
        ready.rename(&mut conn, &format!("used_{round}").parse()?)?;
        renamed.push(begun.elapsed());
        ready.delete_with(&mut conn, DeleteOptions::new().auto_drop_schema(true))?;
    }
    print(
        "made ahead and renamed (made and deleted as above)",
        &mut renamed,
    );
    Ok(())
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let median = times[times.len() / 2].as_secs_f64() * 1000.0;
    println!("{median:8.2} ms  {what}");
}

fn apps(directories: &[String]) -> Result<Vec<App>, Box<dyn Error>> {
    let Some((shared, tenants)) = directories.split_first() else {
        return Ok(vec![
            App::new("shared", AppScope::Shared).migrations(Text(
                "CREATE TABLE public.tenants (id bigserial PRIMARY KEY, schema_name text NOT NULL, \
                 name text NOT NULL, domain_url text)"
                    .to_owned(),
            )),
            App::new("tables", AppScope::Tenant).migrations(Text(twenty_tables())),
        ]);
    };
    let app = |label: String, scope: AppScope, directory: &String| -> Result<App, Box<dyn Error>> {
        let migrations = FileBasedMigrations::from_path(directory)?;
        Ok(App::new(label, scope).migrations(migrations))
    };
    let mut apps = vec![app("shared".to_owned(), AppScope::Shared, shared)?];
    for (number, directory) in tenants.iter().enumerate() {
        apps.push(app(format!("app_{number}"), AppScope::Tenant, directory)?);
    }
    Ok(apps)
}

fn twenty_tables() -> String {
    let tables = (0..20).map(|table| {
        format!(
            "CREATE TABLE t{table} (id bigserial PRIMARY KEY, name text, at timestamptz);\
             CREATE INDEX ON t{table} (name); CREATE INDEX ON t{table} (at);"
        )
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// One migration.
struct Text(String);

mod text {
    //! What Diesel asks of a migration.

    use std::fmt;

    use diesel::connection::BoxableConnection;
    use diesel::migration::{
        Migration, MigrationMetadata, MigrationName, MigrationVersion, Result,
    };
    use diesel::pg::Pg;

    pub(super) struct One(pub(super) String);

    impl Migration<Pg> for One {
        fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> Result<()> {
            Ok(conn.batch_execute(&self.0)?)
        }

        fn revert(&self, _: &mut dyn BoxableConnection<Pg>) -> Result<()> {
            Err("there is no down.sql".into())
        }

        fn metadata(&self) -> &dyn MigrationMetadata {
            self
        }

        fn name(&self) -> &dyn MigrationName {
            self
        }
    }

    impl MigrationMetadata for One {}

    impl fmt::Display for One {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("1_one")
        }
    }

    impl MigrationName for One {
        fn version(&self) -> MigrationVersion<'_> {
            "1".into()
        }
    }
}

impl MigrationSource<Pg> for Text {
    fn migrations(
        &self,
    ) -> diesel::migration::Result<Vec<Box<dyn diesel::migration::Migration<Pg>>>> {
        Ok(vec![Box::new(text::One(self.0.clone()))])
    }
}
